"""What commands ask for: presets and files one on top of another, single options on top of those, nothing unknown."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.commands.bases import WITHOUT_PRESETS, add_base_preset
from fewshot.commands.options import dump_run, format_scores, parse_run, read_run
from fewshot.data.augmentation import Augmentation
from fewshot.evaluation.results import Result, read_result
from fewshot.presets import expand_presets
from fewshot.records import RESULT
from fewshot.run_config import RunConfig
from tests.fewshot.commands.conftest import OwnRun
from tests.fewshot.preset_cases import PASCAL

GIVEN = (*PASCAL, "--output=run")


def read(*words: str) -> RunConfig:
    return read_run(parse_run(expand_presets(words)))


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text("seed: 4\naugmentation:\n  size: 99\ntraining:\n  learning_rate: 0.5\n", encoding="utf-8")
    return str(path)


def test_a_preset_is_named_and_a_file_is_a_path(own: str) -> None:
    preset, file = read("--config=pascal", *GIVEN), read("--config", own, *GIVEN)
    assert (preset.training.epochs, preset.training.learning_rate) == (200, 0.0025)
    assert (file.seed, file.training.epochs, file.training.learning_rate) == (4, None, 0.5)


def test_later_configurations_override_what_they_name_and_nothing_else(own: str) -> None:
    config = read("--config=pascal", "--config", own, "--config=rows/full", *GIVEN)
    assert (config.seed, config.training.learning_rate, config.training.epochs) == (4, 0.5, 200)
    assert config.augmentation == Augmentation(size=99, scale=(0.9, 1.1))
    assert (config.network.transport, config.network.decoder) == ("full", "fem")
    assert read("--config", own, "--config=pascal", *GIVEN).training.learning_rate == 0.0025


def test_options_override_configurations_before_them(own: str) -> None:
    config = read("--config", own, *GIVEN, "--training.learning_rate=0.1", "--augmentation.size=33")
    assert config.training.learning_rate == 0.1
    assert config.augmentation == Augmentation(size=33)


def test_what_was_read_is_written_as_what_reads_the_same(tmp_path: Path) -> None:
    presets = ["--config=pascal", "--config=on_top/pfenet_compat", "--config=rows/boxes"]
    options = parse_run([*expand_presets(presets), *GIVEN])
    (tmp_path / "config.yaml").write_text(dump_run(options), encoding="utf-8")
    again = parse_run(["--config", str(tmp_path / "config.yaml")])
    assert read_run(again) == read_run(options)
    assert dump_run(again) == dump_run(options)


def test_what_was_none_stays_none_on_top_of_another_preset(tmp_path: Path) -> None:
    options = parse_run([*expand_presets(["--config=synthetic"]), "--output=run"])
    (tmp_path / "config.yaml").write_text(dump_run(options), encoding="utf-8")
    found = read("--config=pascal", "--config", str(tmp_path / "config.yaml"))
    assert (found.augmentation, found.training.epochs, found.training.steps) == (None, None, 700)
    assert found == read_run(options)


@pytest.mark.parametrize(
    ("text", "key"),
    [("sede: 4\n", "sede"), ("training:\n  stesp: 3\n", "stesp"), ("network:\n  matching:\n    rge: 1\n", "rge")],
)
def test_an_unknown_key_of_a_file_is_refused(
    text: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit):
        read("--config=pascal", f"--config={tmp_path / 'own.yaml'}", *GIVEN)
    assert key in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--sede=1", "sede"),
        ("--training.stesp=1", "stesp"),
        ("--training.step=1", "step"),
        ("--training.epochs=many", "many"),
        ("--network.transport=half", "half"),
        ("--data=Pascla", "Pascla"),
        ("--data.rot=x", "rot"),
    ],
)
def test_unknown_options_and_values_of_the_wrong_kind_are_refused(
    option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read("--config=pascal", *GIVEN, option)
    assert said in capsys.readouterr().err


def test_a_value_outside_its_range_is_refused_by_what_it_configures() -> None:
    with pytest.raises(ValueError, match=r"`batch_size` must be positive\. Found `batch_size = 0`\. Pass a number"):
        read("--config=pascal", *GIVEN, "--training.batch_size=0")


def test_steps_on_top_of_a_preset_with_epochs_must_say_which_holds() -> None:
    words = ["--config=pascal", *GIVEN, "--training.steps=5"]
    with pytest.raises(ValueError, match=r"`epochs = 200`.*`steps = 5`"):
        read(*words)
    assert read(*words, "--training.epochs=null").training.steps == 5


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["demo"], ["demo", "--config", "synthetic"]),
        (["demo", "--seed=1"], ["demo", "--config", "synthetic", "--seed=1"]),
        (["demo", "--config=own.yaml"], ["demo", "--config", "synthetic", "--config=own.yaml"]),
        (["demo", "--config", "own.yaml"], ["demo", "--config", "synthetic", "--config", "own.yaml"]),
        (["demo", "--config", "photographs"], ["demo", "--config", "photographs"]),
        (
            ["reproduce", "--table=I", "--config=on_top/low_memory"],
            ["reproduce", "--config", "pascal", "--table=I", "--config=on_top/low_memory"],
        ),
        (["reproduce", "--table", "V"], ["reproduce", "--config", "coco", "--table", "V"]),
        (["reproduce", "--table=VII"], ["reproduce", "--config", "fss1000", "--table=VII"]),
        (["reproduce", "--table=III", "--config=synthetic"], ["reproduce", "--table=III", "--config=synthetic"]),
        (["reproduce", "--table=IX"], ["reproduce", "--table=IX"]),
        (["reproduce"], ["reproduce"]),
        (["train", "--table=I"], ["train", "--table=I"]),
        ([], []),
    ],
    ids=str,
)
def test_demo_and_tables_start_from_a_preset_of_their_own_unless_another_is_named(
    words: list[str], expected: list[str]
) -> None:
    assert add_base_preset(words) == expected


@pytest.mark.parametrize("command", WITHOUT_PRESETS)
@pytest.mark.parametrize(
    "words", [["--config=pascal"], ["--config", "rows/cmnet"], ["--config=own.yaml", "--config=coco"]]
)
def test_commands_that_are_no_runs_take_no_presets(command: str, words: list[str]) -> None:
    message = (
        rf"`--config` of `fewshot {command}` must be .*\. Found the preset '.*', which .*\. Put those of its options"
    )
    with pytest.raises(ValueError, match=message):
        add_base_preset([command, *words])
    assert add_base_preset([command, "--config=own.yaml"]) == [command, "--config=own.yaml"]


@pytest.fixture
def result(own_run: OwnRun) -> Result:
    """A result with a single list of episodes for each of 1 and 2 shots."""
    return read_result(own_run.output / RESULT)


def test_scores_are_laid_out_as_a_table_with_their_spread_over_lists(result: Result) -> None:
    more = (replace(run, scores=replace(run.scores, miou=run.scores.miou + 2)) for run in result.runs)
    twice = replace(result, runs=(*result.runs, *more))
    lines = format_scores({"baseline": twice, "partial transport": twice}).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    columns = ["mIoU, 1-shot", "FB-IoU, 1-shot", "mIoU, 2-shot", "FB-IoU, 2-shot"]
    assert re.split("  +", lines[0].strip()) == columns
    assert f"{result.runs[0].scores.miou + 1:.1f} ± 1.4" in lines[2]


def test_a_single_list_of_episodes_has_no_spread(result: Result) -> None:
    said = format_scores({"CMNet": result})
    assert f"{result.runs[0].scores.miou:.1f}" in said
    assert "±" not in said
