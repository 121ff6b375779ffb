"""`fewshot demo`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fewshot.cli import main
from fewshot.commands.bases import add_base_preset
from fewshot.commands.options import parse_run, read_run
from fewshot.demo import PAGE
from fewshot.evaluation.results import Result, read_result
from fewshot.presets import expand_presets
from fewshot.records import CONFIGURATION, RESULT
from fewshot.run_config import RunConfig
from tests.fewshot.commands.conftest import OwnRun
from tests.fewshot.preset_cases import read_presets


def test_without_options_it_is_the_preset_for_synthetic_data() -> None:
    words = expand_presets(add_base_preset(["demo", "--output=run"]))
    assert read_run(parse_run(words[1:])) == read_presets("synthetic")


def test_it_says_what_both_networks_scored_and_where_the_report_is(
    own_run: OwnRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = read_result(own_run.output / RESULT)

    def answer(config: RunConfig, *, commands: Sequence[str]) -> dict[str, Result]:
        assert config.training.steps == 5
        assert commands == [f"fewshot demo --output={tmp_path} --training.steps=5"]
        return {"prototype only": result, "partial transport": result}

    monkeypatch.setattr("fewshot.commands.demo.run_demo", answer)
    words = ["demo", f"--output={tmp_path}", "--training.steps=5"]
    main(words)
    header, baseline, partial, place = capsys.readouterr().out.splitlines()
    assert header.endswith("FB-IoU, 2-shot")
    assert baseline.startswith("prototype only")
    assert partial.startswith("partial transport")
    assert f"{result.summarise(1).mean:.1f}" in baseline
    assert place == f"Report: {tmp_path / PAGE}"
    assert (tmp_path / CONFIGURATION).is_file()
    with pytest.raises(SystemExit, match=r"`seed` is 0 where 3 is asked for"):
        main([*words, "--seed=3"])
