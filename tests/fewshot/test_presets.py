"""Every preset of the package is a configuration that can be run, once the data are named."""

from pathlib import Path

import pytest

from fewshot.data.pools import DrawRule
from fewshot.presets import expand_presets, is_base, list_presets, locate_preset
from tests.fewshot.preset_cases import BASES, read_presets


def test_there_are_presets_for_every_data_set_and_every_row() -> None:
    rows = [name for name in list_presets() if name.startswith("rows/")]
    assert set(list_presets()) == {*BASES, *rows, "on_top/low_memory", "on_top/pfenet_compat"}
    assert len(rows) == 14


def test_bases_are_told_from_what_goes_on_top() -> None:
    assert {name for name in list_presets() if is_base(name)} == set(BASES)
    assert not is_base("own.yaml")


@pytest.mark.parametrize("base", BASES)
def test_a_base_is_a_whole_configuration(base: str) -> None:
    config = read_presets(base)
    assert type(config.data).__name__.lower() == {"photographs": "folder"}.get(base, base)
    assert config.output == Path("run")


@pytest.mark.parametrize("name", [name for name in list_presets() if name not in BASES])
def test_every_other_preset_changes_a_base(name: str) -> None:
    # The whole network is what `pascal` leaves the defaults at, so that its row alone changes nothing.
    assert (read_presets("pascal", name) == read_presets("pascal")) == (name == "rows/cmnet")


@pytest.mark.parametrize(
    ("base", "epochs", "batch_size", "learning_rate", "size"),
    [("pascal", 200, 4, 0.0025, 473), ("coco", 50, 32, 0.02, 641), ("fss1000", 100, 4, 0.0025, 225)],
)
def test_bases_train_as_the_paper_says(
    base: str, epochs: int, batch_size: int, learning_rate: float, size: int
) -> None:
    config = read_presets(base)
    training = config.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (epochs, batch_size, learning_rate)
    assert (training.optimizer, training.lr_multiplier, training.select) == ("sgd", 1.0, "last")
    assert (config.network.backbone, config.network.decoder) == ("resnet50", "fem")
    assert config.augmentation is not None
    assert config.augmentation.size == config.evaluation.fit.size == size
    assert config.evaluation.shots == (1, 5)
    assert (config.convention, config.pretraining.convention) == ("keep", "exclude")


def test_pfenets_traps_are_on_in_their_preset_only() -> None:
    clean, trapped = read_presets("pascal"), read_presets("pascal", "on_top/pfenet_compat")
    assert clean.rule is None
    assert trapped.rule == trapped.evaluation.rule == DrawRule(legacy_class_draw=True)
    assert (clean.network.backbone_bn, trapped.network.backbone_bn) == ("eval", "train")
    assert (clean.training.lr_multiplier, trapped.training.lr_multiplier) == (1.0, 10.0)
    assert (clean.training.select, trapped.training.select) == ("last", "test")
    assert (clean.evaluation.fit.mode, trapped.evaluation.fit.mode) == ("pad", "pfenet")
    assert trapped.augmentation == clean.augmentation, "what is not named stays"


def test_little_memory_is_a_pooled_grid_on_any_base() -> None:
    assert read_presets("coco", "on_top/low_memory").network.matching.grid == 30
    assert read_presets("coco").network.matching.grid is None


def test_a_preset_is_a_file_of_its_name() -> None:
    assert locate_preset("rows/cmnet").read_text(encoding="utf-8").startswith("# Table I")


@pytest.mark.parametrize("name", ["pascla", "rows/partail", "tables", "rows", "../configs/pascal"])
def test_an_unknown_preset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Found '{name}'\. Correct the path, or name one of: coco, .*rows/baseline"):
        locate_preset(name)


def test_names_of_presets_become_paths(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.touch()
    words = ["train", "--config", "pascal", f"--config={own}", "--config=rows/full", "--output", "coco"]
    pascal, full = str(locate_preset("pascal")), locate_preset("rows/full")
    assert expand_presets(words) == [
        "train",
        "--config",
        pascal,
        f"--config={own}",
        f"--config={full}",
        "--output",
        "coco",
    ]


def test_a_file_hides_a_preset_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pascal").touch()
    assert expand_presets(["--config", "pascal"]) == ["--config", "pascal"]
