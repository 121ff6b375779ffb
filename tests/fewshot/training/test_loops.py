import csv
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fewshot.hardware import Hardware
from fewshot.training.keeping import RESUME, Saver
from fewshot.training.loops import NamedProgressBar, _surroundings, run_stage
from tests.fewshot.training.test_stages import Numbers, Recorder
from tests.fewshot.training_cases import CPU


class Interrupted(Exception):
    """What stops a stage in these tests."""


class Interruption(Callback):
    """Stops a stage as it begins a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, *arguments: object) -> None:
        if arguments[3] == self.step:
            raise Interrupted


def run(stage: Recorder, folder: Path | None = None, *callbacks: Callback, resume: bool = True) -> None:
    if folder is not None:
        saver = Saver(folder, lambda path: None, steps=5, every=2, keep_every=None, fresh=not resume)
        callbacks = (*callbacks, saver)
    run_stage(stage, hardware=CPU, folder=folder, callbacks=callbacks, description="Counting", resume=resume)


def interrupt(folder: Path, step: int) -> None:
    with pytest.raises(Interrupted):
        run(Recorder(), folder, Interruption(step))


def read_log(folder: Path, number: int) -> list[dict[str, str]]:
    with (folder / "logs" / f"version_{number}" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_stage_leaves_the_random_generator_as_it_was() -> None:
    state = torch.get_rng_state()
    run(Recorder())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_stage_leaves_gpus_alone_that_it_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: object = "cuda") -> None:
        raise AssertionError(f"{device} was touched")

    monkeypatch.setattr("torch.cuda.get_rng_state", refuse)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with _surroundings():
        torch.manual_seed(0)


def test_processes_that_the_configuration_knows_nothing_of_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"Found 4 by `WORLD_SIZE`, and `devices = 1` .*\. Set `hardware\.devices`"):
        run(Recorder())


def test_what_has_no_deterministic_algorithm_is_told_and_not_refused() -> None:
    class Look(Callback):
        modes: ClassVar[list[bool]] = []

        def on_train_batch_start(self, *_: object) -> None:
            self.modes.append(torch.is_deterministic_algorithms_warn_only_enabled())

    hardware = Hardware(accelerator="cpu", deterministic=True)
    run_stage(Recorder(), hardware=hardware, folder=None, callbacks=[Look()], description="Counting")
    assert Look.modes == [True] * 5
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_stage_leaves_the_choice_of_algorithms_as_it_was() -> None:
    run_stage(Recorder(), hardware=Hardware(accelerator="cpu", deterministic=True), folder=None, description="Counting")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_stage_without_a_folder_keeps_nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(Recorder())
    assert not list(tmp_path.iterdir())


def test_a_stage_shows_a_bar_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    run(Recorder())
    said = capsys.readouterr()
    assert "Counting: 100%" in said.err
    assert said.out == ""
    assert NamedProgressBar("Counting").train_description == "Counting"


def test_a_resumed_stage_shows_what_was_done_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt(tmp_path, 3)
    capsys.readouterr()
    run(Recorder(), tmp_path)
    shown = capsys.readouterr().err
    assert "Counting:  40%|████      | 2/5" in shown
    assert "Counting: 100%" in shown
    assert "v_num" not in shown


def test_a_resumed_stage_learns_only_what_is_left_and_ends_as_if_uninterrupted(tmp_path: Path) -> None:
    whole, resumed = Recorder(), Recorder()
    run(whole)
    interrupt(tmp_path, 3)
    run(resumed, tmp_path)
    assert resumed.seen == [2.0, 3.0, 4.0]
    assert resumed.drawn == whole.drawn[2:]
    assert resumed.losses == whole.losses
    assert torch.equal(resumed.weight, whole.weight)


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    first, again = Recorder(), Recorder()
    run(first, tmp_path)
    run(again, tmp_path)
    assert again.seen == []
    assert again.losses == first.losses
    assert torch.equal(again.weight, first.weight)


def test_a_stage_that_starts_anew_forgets_what_was_there_at_once(tmp_path: Path) -> None:
    run(Recorder(), tmp_path)
    stage = Recorder()
    with pytest.raises(Interrupted):
        run(stage, tmp_path, Interruption(1), resume=False)
    assert stage.seen == [0.0]
    assert not (tmp_path / RESUME).exists(), "it would be taken for a state of the new training"


def test_a_stage_is_not_resumed_on_other_data(tmp_path: Path) -> None:
    interrupt(tmp_path, 3)
    with pytest.raises(ValueError, match=r"Found another value of `source\.count` in .*\. Restore it, choose another"):
        run(Recorder(source=Numbers({1: 7.0})), tmp_path)


def test_losses_rates_and_diagnostics_are_logged(tmp_path: Path) -> None:
    stage = Recorder()
    run(stage, tmp_path)
    rows = read_log(tmp_path, 0)
    steps = {row["step"]: row for row in rows if row["loss"]}
    assert float(steps["4"]["loss"]) == pytest.approx(stage.losses[4])
    assert float(steps["4"]["first"]) + float(steps["4"]["second"]) == pytest.approx(stage.losses[4])
    assert float(steps["4"]["look"]) > 0
    assert [float(row["lr/weight"]) for row in rows if row["lr/weight"]] == pytest.approx([0.002])


def test_losses_go_to_tensorboard_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stage = Recorder()
    run(stage, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "version_0"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(4, pytest.approx(stage.losses[4]))]
    assert [one.value for one in events.Scalars("lr/weight")] == [pytest.approx(0.002)]


def test_logs_are_written_without_tensorboard_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.training.loops.find_spec", lambda _: None)
    run(Recorder(), tmp_path)
    assert read_log(tmp_path, 0)
    assert not (tmp_path / "tensorboard").exists()


def test_each_start_has_a_log_of_its_own(tmp_path: Path) -> None:
    interrupt(tmp_path, 3)
    run(Recorder(), tmp_path)
    assert [row["step"] for row in read_log(tmp_path, 1) if row["loss"]] == ["4"]


def test_nothing_is_said_about_what_does_not_apply() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        run(Recorder())
    assert not heard
