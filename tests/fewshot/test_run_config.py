import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewshot.run_config import RunConfig
from tests.fewshot.run_cases import LIGHT, make_run


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return make_run(tmp_path / "run", tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stage1": Path("backbone.safetensors"), "multi_task": False},
            r"`stage1` must go with `multi_task`\. Found `stage1 = backbone\.safetensors` and .* Turn `multi_task` on",
        ),
        (
            {"network": replace(LIGHT, backbone_bn="train")},
            r"`augmentation` must be given where `network\.backbone_bn` is 'train'\. Found None, .* Give both, or",
        ),
        ({"seed": -1}, r"at least 0\. Found `seed = -1`, `stage1_seed = 4`\. Pass non-negative integers"),
        ({"stage1_seed": -2}, r"at least 0\. Found `seed = 1`, `stage1_seed = -2`\. Pass non-negative integers"),
    ],
)
def test_contradictions_are_refused(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)


def test_an_unknown_convention_is_refused(config: RunConfig) -> None:
    object.__setattr__(config, "convention", "drop")
    with pytest.raises(ValueError, match=r"one of keep, exclude, ignore\. Found `convention = 'drop'`\. Correct its"):
        config.__post_init__()


def test_a_description_is_json_and_says_everything_but_folders(config: RunConfig) -> None:
    described = config.describe()
    assert json.loads(json.dumps(described)) == described
    assert described.keys() == config.__dataclass_fields__.keys() - {"output", "cache"}
    assert described["data"]["type"] == "Synthetic"
    assert described["network"]["width"] == 16
    assert replace(config, output=Path("elsewhere"), cache=Path("other")).describe() == described
    assert replace(config, seed=2).describe() != described
