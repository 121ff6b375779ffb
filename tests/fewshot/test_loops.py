from collections.abc import Iterator

import lightning
import pytest
import torch
from torch import Tensor, nn

from fewshot.loops import NamedProgressBar, NonFiniteLossError, require_finite, require_positive, run_stage


class Batches:
    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.arange(5.0)


class Recorder(lightning.LightningModule):
    """Notes what it was given and what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[float] = []
        self.drawn: list[float] = []

    def training_step(self, batch: Tensor) -> Tensor:
        self.seen.append(batch.item())
        self.drawn.append(torch.rand(()).item())
        return self.weight * batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_every_batch_is_trained_on_once_and_in_order() -> None:
    stage = Recorder()
    run_stage(stage, Batches(), seed=0, description="A stage")
    assert stage.seen == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert stage.weight.item() == pytest.approx(1 - 0.1 * 10, abs=1e-6)


def test_what_is_random_in_a_stage_follows_its_seed() -> None:
    first, same, other = Recorder(), Recorder(), Recorder()
    for stage, seed in ((first, 1), (same, 1), (other, 2)):
        run_stage(stage, Batches(), seed=seed, description="A stage")
    assert first.drawn == same.drawn != other.drawn


def test_a_stage_leaves_the_random_generator_as_it_was() -> None:
    state = torch.get_rng_state()
    run_stage(Recorder(), Batches(), seed=1, description="A stage")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_stage_shows_a_bar_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(Recorder(), Batches(), seed=0, description="Learning to count")
    assert "Learning to count: 100%" in capsys.readouterr().out
    assert NamedProgressBar("Learning").train_description == "Learning"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_loss_that_is_no_number_stops_the_training(value: float) -> None:
    message = r"Found -?(nan|inf) at step 12 of the test\. Lower the learning rate"
    with pytest.raises(NonFiniteLossError, match=message):
        require_finite(torch.tensor(value), 12, "the test")


def test_finite_loss_passes() -> None:
    require_finite(torch.tensor(1e30), 0, "the test")


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan")], ids=str)
def test_settings_that_are_not_positive_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`steps` must be positive\. Found `steps = .*`\. Pass a number above 0"):
        require_positive("steps", value)
