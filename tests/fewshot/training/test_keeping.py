from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fewshot.training.keeping import RESUME, Saver, Selector, WholeFiles
from fewshot.training.loops import run_stage
from tests.fewshot.training.test_loops import Interrupted, Interruption
from tests.fewshot.training.test_stages import Recorder
from tests.fewshot.training_cases import CPU

SCORES = {2: 30.0, 4: 50.0, 5: 50.0}


class Judge:
    """Gives the scores of a list, one after another, and notes the weights it gave them to."""

    def __init__(self, stage: Recorder) -> None:
        self.stage = stage
        self.weights: list[float] = []
        self.training: list[bool] = []

    def __call__(self) -> float:
        self.weights.append(self.stage.weight.item())
        self.training.append(self.stage.training)
        return SCORES[self.stage.global_step]


def make_selector(stage: Recorder, judge: Judge, path: Path | None = None) -> Selector:
    return Selector(stage, judge, steps=5, every=2, path=path, save=None if path is None else _mark)


def _mark(path: Path) -> None:
    path.write_bytes(b"weights")


def make_saver(folder: Path, *, every: int = 2, keep_every: int | None = None) -> Saver:
    return Saver(folder, _mark, steps=5, every=every, keep_every=keep_every, fresh=False)


def run(stage: Recorder, folder: Path | None, callbacks: Sequence[Callback]) -> None:
    run_stage(stage, hardware=CPU, folder=folder, callbacks=callbacks, description="A stage")


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_state_and_the_last_weights_are_left(tmp_path: Path) -> None:
    run(Recorder(), tmp_path, [make_saver(tmp_path)])
    assert list_files(tmp_path) == ["last.safetensors", RESUME]


def test_the_state_is_that_of_the_last_step_even_between_two_turns(tmp_path: Path) -> None:
    run(Recorder(), tmp_path, [make_saver(tmp_path, every=4)])
    assert torch.load(tmp_path / RESUME, weights_only=True)["global_step"] == 5


def test_weights_of_every_so_many_steps_stay(tmp_path: Path) -> None:
    run(Recorder(), tmp_path, [make_saver(tmp_path, keep_every=2)])
    kept = [name for name in list_files(tmp_path) if name.startswith("step")]
    assert kept == ["step-0000002.safetensors", "step-0000004.safetensors"]


def test_what_killed_trainings_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{RESUME}.123.part").write_bytes(b"half")
    run(Recorder(), tmp_path, [make_saver(tmp_path)])
    assert list_files(tmp_path) == ["last.safetensors", RESUME]


def test_a_state_holds_no_code(tmp_path: Path) -> None:
    stage = Recorder()
    run(stage, tmp_path, [make_selector(stage, Judge(stage)), make_saver(tmp_path)])
    state = torch.load(tmp_path / RESUME, weights_only=True)
    assert state["fewshot"]["losses"].tolist() == stage.losses


def test_an_interrupted_write_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / RESUME
    WholeFiles().save_checkpoint({"step": torch.tensor(1)}, path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="the disk is full"):
        WholeFiles().save_checkpoint({"step": torch.tensor(2)}, path)
    assert torch.load(path, weights_only=True)["step"] == 1


def test_options_that_plain_files_have_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"must be None .* Found 'fast'\. Leave it out"):
        WholeFiles().save_checkpoint({}, tmp_path / RESUME, storage_options="fast")


def test_scores_are_taken_every_so_many_steps_and_at_the_end_in_eval_mode() -> None:
    stage = Recorder()
    judge = Judge(stage)
    selector = make_selector(stage, judge)
    run(stage, None, [selector])
    assert selector.scores == SCORES
    assert judge.training == [False, False, False]
    assert stage.training


def test_the_earliest_of_the_best_weights_are_restored() -> None:
    stage = Recorder()
    judge = Judge(stage)
    selector = make_selector(stage, judge)
    run(stage, None, [selector])
    selector.restore_best()
    assert selector.best_step == 4
    assert stage.weight.item() == judge.weights[1] != judge.weights[2]


def test_the_best_weights_are_written_when_they_are_found(tmp_path: Path) -> None:
    stage = Recorder()
    run(stage, tmp_path, [make_selector(stage, Judge(stage), tmp_path / "best.safetensors")])
    assert list_files(tmp_path) == ["best.safetensors"]


def test_a_resumed_training_still_knows_the_best_weights(tmp_path: Path) -> None:
    first, stage = Recorder(), Recorder()
    judge = Judge(first)
    with pytest.raises(Interrupted):
        run(first, tmp_path, [make_selector(first, judge), make_saver(tmp_path), Interruption(4)])
    selector = make_selector(stage, Judge(stage))
    run(stage, tmp_path, [selector, make_saver(tmp_path)])
    assert selector.scores == SCORES
    selector.restore_best()
    assert stage.weight.item() == judge.weights[1]


def test_without_a_score_there_is_nothing_to_restore() -> None:
    stage = Recorder()
    selector = make_selector(stage, Judge(stage))
    selector.restore_best()
    assert selector.best_step is None
    assert stage.weight.item() == 1.0
