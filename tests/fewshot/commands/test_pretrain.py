"""`fewshot pretrain`: the supervised stage by itself, for the runs of one fold."""

from pathlib import Path

import pytest

from fewshot.cli import main
from fewshot.data.storage import hash_tensors, load_tensors, save_tensors
from fewshot.evaluation.results import read_result
from fewshot.pretraining.stage1 import read_notes
from fewshot.records import RESULT
from tests.fewshot.commands.conftest import OwnRun
from tests.fewshot.pretraining_cases import make_backbone

# As the preset for photographs has it, cut to the same size as the run of the other tests.
STAGE = (
    "--pretraining.steps=1",
    "--pretraining.batch_size=2",
    "--pretraining.learning_rate=0.005",
    "--pretraining.head_learning_rate=0.05",
    "--pretraining.head=linear",
    "--pretraining.batch_norm=frozen",
    "--pretraining.augmentation.size=32",
    "--pretraining.augmentation.fit=true",
    "--pretraining.augmentation.scale=[1.0,1.5]",
    "--pretraining.check_images=100",
)


def pretrain(run: OwnRun, output: Path, *options: str) -> Path:
    """Type the command; give the file that it leaves."""
    words = ["pretrain", "--backbone=small", *run.data, *STAGE, "--hardware.accelerator=cpu", f"--output={output}"]
    main([*words, *options])
    (path,) = output.glob("backbone-*/backbone.safetensors")
    return path


def train_on(path: Path, run: OwnRun, output: Path, *options: str) -> str:
    """Train a head on a backbone; give the hash of the backbone in the result."""
    main([*run.words, f"--output={output}", f"--stage1={path}", *options])
    return read_result(output / RESULT).network["backbone_sha256"]


def test_a_backbone_says_what_it_was_trained_on_and_how_to_use_it(
    own_run: OwnRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pretrain(own_run, tmp_path)
    supervision = read_notes(path)["supervision"]
    assert (supervision["held_in"], supervision["held_out"]) == (["blue", "grey"], ["red", "green"])
    assert f"Use it by `fewshot train --multi_task true --stage1 {path}`." in capsys.readouterr().out


def test_it_is_the_backbone_that_a_run_would_train_itself(own_run: OwnRun, tmp_path: Path) -> None:
    path = pretrain(own_run, tmp_path / "cache")
    expected = read_result(own_run.output / RESULT).network["backbone_sha256"]
    assert hash_tensors(load_tensors(path)) == expected
    assert train_on(path, own_run, tmp_path / "run") == expected


def test_the_same_command_finds_it_trained(own_run: OwnRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = pretrain(own_run, tmp_path).stat().st_mtime_ns
    said = capsys.readouterr().out
    assert pretrain(own_run, tmp_path).stat().st_mtime_ns == written
    assert said
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("option", ["--seed=5", "--fold=1", "--pretraining.convention=keep"])
def test_whatever_it_depends_on_makes_another_one(option: str, own_run: OwnRun, tmp_path: Path) -> None:
    first, other = pretrain(own_run, tmp_path / "1"), pretrain(own_run, tmp_path / "2", option)
    assert first.parent.name != other.parent.name


def test_a_backbone_of_another_fold_is_refused(own_run: OwnRun, tmp_path: Path) -> None:
    path = pretrain(own_run, tmp_path / "cache", "--fold=1")
    with pytest.raises(SystemExit, match=r"must be of the run's data set, lists, fold .* Found `fold = 1` in .*where"):
        train_on(path, own_run, tmp_path / "run")
    assert not (tmp_path / "run" / RESULT).exists()


def test_weights_are_where_it_starts(own_run: OwnRun, tmp_path: Path) -> None:
    weights = make_backbone(seed=12).state_dict()
    save_tensors(tmp_path / "imagenet.safetensors", weights)
    options = [f"--weights={tmp_path / 'imagenet.safetensors'}", "--pretraining.learning_rate=1e-9"]
    trained = load_tensors(pretrain(own_run, tmp_path / "cache", *options))
    assert max(float((trained[name] - value).abs().max()) for name, value in weights.items()) < 1e-4
