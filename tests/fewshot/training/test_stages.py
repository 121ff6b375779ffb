from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fewshot.data.storage import load_tensors
from fewshot.hardware import Hardware
from fewshot.training.loops import run_stage
from fewshot.training.stages import NonFiniteLossError, Outcome, Plan, Stage, seed_step
from tests.fewshot.training_cases import CPU

PLAN = Plan(name="the test", steps=5, batch_size=1, seed=0, power=1.0)


@dataclass(frozen=True)
class Number:
    """A batch that is a number."""

    value: Tensor

    def to(self, device: torch.device) -> "Number":
        return Number(self.value.to(device))


class Numbers:
    """Item n is n, or what `special` says."""

    def __init__(self, special: dict[int, float] | None = None) -> None:
        self.special = special or {}

    def __getitem__(self, numbers: Sequence[int]) -> Number:
        return Number(torch.tensor([self.special.get(number, float(number)) for number in numbers]))

    def describe(self) -> dict[str, float]:
        return {"count": float(len(self.special))}


class Recorder(Stage):
    """Learns to be small, and notes what it is given and what it draws."""

    def __init__(self, plan: Plan = PLAN, source: Numbers | None = None, *, folder: Path | None = None) -> None:
        super().__init__(plan, source or Numbers(), folder=folder)
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[float] = []
        self.drawn: list[float] = []

    def learn_from(self, batch: Number) -> Outcome:
        self.seen += batch.value.tolist()
        self.drawn.append(torch.rand(()).item())
        return Outcome(
            {"first": self.weight * batch.value.sum(), "second": self.weight.square()}, {"look": self.weight}
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self.weight], "name": "weight"}], 0.01)


def run(stage: Stage, folder: Path | None = None, hardware: Hardware = CPU) -> None:
    run_stage(stage, hardware=hardware, folder=folder, description="A stage")


def test_every_item_is_learnt_from_once_and_in_order() -> None:
    stage = Recorder(Plan(name="the test", steps=3, batch_size=2, seed=0, power=1.0))
    run(stage)
    assert stage.seen == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_loss_of_every_step_is_the_sum_of_its_parts() -> None:
    stage, weight, losses = Recorder(), 1.0, []
    run(stage)
    for step in range(5):
        losses.append(weight * step + weight**2)
        weight -= 0.01 * (1 - step / 5) * (step + 2 * weight)
    assert stage.losses == pytest.approx(losses, abs=1e-6)
    assert stage.weight.item() == pytest.approx(weight, abs=1e-6)


def test_what_is_random_in_a_step_follows_from_seed_step_and_rank() -> None:
    first, same, other = (
        Recorder(),
        Recorder(),
        Recorder(Plan(name="the test", steps=5, batch_size=1, seed=1, power=1.0)),
    )
    for stage in (first, same, other):
        run(stage)
        torch.manual_seed(9)
    assert first.drawn == same.drawn
    assert len({*first.drawn, *other.drawn}) == 10
    torch.manual_seed(seed_step(0, 3, rank=0))
    assert torch.rand(()).item() == first.drawn[3]


def test_seeds_of_steps_and_ranks_differ_and_that_of_all_ranks_is_none_of_theirs() -> None:
    seeds = [seed_step(seed, step, rank=rank) for seed in (0, 1) for step in (0, 1) for rank in (None, 0, 1)]
    assert len(set(seeds)) == 12


def test_long_gradients_are_shortened_and_short_ones_left() -> None:
    stage = Recorder(Plan(name="the test", steps=5, batch_size=1, seed=0, power=1.0, max_gradient_norm=2.0))
    for length, expected in ((10.0, 2.0), (1.0, 1.0)):
        stage.weight.grad = torch.tensor(length)
        stage.on_before_optimizer_step(stage.make_optimizer())
        assert stage.weight.grad.item() == pytest.approx(expected, rel=1e-4)


def test_gradients_are_left_as_they_are_without_a_limit() -> None:
    stage = Recorder()
    stage.weight.grad = torch.tensor(1e6)
    stage.on_before_optimizer_step(stage.make_optimizer())
    assert stage.weight.grad.item() == 1e6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(value: float) -> None:
    stage = Recorder(source=Numbers({2: value}))
    with pytest.raises(NonFiniteLossError, match=rf"Found {value} at step 2 of the test\. Lower the learning rate"):
        run(stage)
    assert len(stage.losses) == 2
    assert stage.weight.isfinite()


def test_a_gradient_that_is_no_number_stops_too() -> None:
    stage = Recorder()
    stage.weight.grad = torch.tensor(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"of the test, in the length of the gradient\. Lower the learning"):
        stage.on_before_optimizer_step(stage.make_optimizer())


def test_a_batch_whose_loss_is_no_number_is_kept_and_named(tmp_path: Path) -> None:
    stage = Recorder(source=Numbers({2: float("nan")}), folder=tmp_path)
    path = tmp_path / "nonfinite-step2-rank0.safetensors"
    with pytest.raises(NonFiniteLossError, match=rf"its batch is in {path}\. Lower"):
        run(stage, tmp_path)
    assert load_tensors(path)["value"].isnan().all()


def test_batches_are_moved_by_their_own_method() -> None:
    moved = Recorder().transfer_batch_to_device(Number(torch.zeros(1)), torch.device("meta"), 0)
    assert moved.value.is_meta
