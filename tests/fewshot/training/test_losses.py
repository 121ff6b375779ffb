import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fewshot.episode import IGNORED
from fewshot.model.prediction import Prediction
from fewshot.training.losses import Average, cross_entropy, dice_loss, map_loss, segmentation_loss

ROUNDING = 1e-6


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(4, 2, 6, 6, requires_grad=True)


@pytest.fixture
def truth() -> Tensor:
    """Unevenly labelled: the first images hold many unknown pixels, the last ones none."""
    truth = torch.randint(0, 2, (4, 6, 6))
    truth[0, :5] = truth[1, :2] = IGNORED
    return truth


def share(value: float) -> Average:
    """Be one of several processes, over which a number has this mean."""
    return lambda *_: torch.tensor(value, dtype=torch.float64)


def test_cross_entropy_is_the_mean_over_labelled_pixels(logits: Tensor, truth: Tensor) -> None:
    expected = functional.cross_entropy(logits, truth, ignore_index=IGNORED)
    torch.testing.assert_close(cross_entropy(logits, truth), expected)


def test_loss_adds_weighted_auxiliary_losses(logits: Tensor, truth: Tensor) -> None:
    other = torch.randn(4, 2, 6, 6)
    loss = segmentation_loss(Prediction(logits, auxiliary=(other,), auxiliary_weights=(0.25,)), truth)
    torch.testing.assert_close(loss, cross_entropy(logits, truth) + 0.25 * cross_entropy(other, truth))


@pytest.mark.parametrize("name", ["cross entropy", "dice", "map"])
def test_what_is_unknown_changes_nothing(name: str, logits: Tensor, truth: Tensor) -> None:
    changed = torch.where((truth == IGNORED).unsqueeze(1), 50 * torch.randn(4, 2, 6, 6), logits)
    if name == "map":
        # Nodes of 2 x 2 pixels: two rows of nodes of image 0 are unknown throughout.
        maps = torch.rand(4, 3, 3)
        other = maps.clone()
        other[0, :2] = torch.rand(2, 3)
        assert map_loss(maps, truth) == map_loss(other, truth)
        return
    loss = {"cross entropy": cross_entropy, "dice": dice_loss}[name]
    torch.testing.assert_close(loss(changed, truth), loss(logits, truth), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("name", ["cross entropy", "map"])
def test_shares_of_a_batch_add_up_to_the_whole_batch(name: str, logits: Tensor, truth: Tensor) -> None:
    """The mean over two processes is the loss of one, though the shares have unequally many labelled pixels."""
    known = (truth != IGNORED).float()
    if name == "map":
        inputs, loss = torch.softmax(logits, 1)[:, 1, ::2, ::2], map_loss
        count = functional.adaptive_avg_pool2d(known, (3, 3)).sum()
    else:
        inputs, loss, count = logits, cross_entropy, known.sum()
    average = share(count.item() / 2)
    counted: list[float] = []
    whole = loss(inputs, truth, average=lambda count, truth: counted.append(count(truth).item()) or count(truth))
    assert counted == [pytest.approx(count.item(), abs=ROUNDING)], "what is averaged is what the loss is divided by"
    parts = [loss(inputs[part], truth[part], average=average) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, atol=ROUNDING, rtol=0)
    uneven = [loss(inputs[part], truth[part]) for part in (slice(0, 2), slice(2, 4))]
    assert ((uneven[0] + uneven[1]) / 2 - whole).abs() > 100 * ROUNDING


@pytest.mark.parametrize("name", ["cross entropy", "dice", "map"])
def test_a_batch_without_a_labelled_pixel_costs_nothing(name: str) -> None:
    logits, truth = torch.randn(1, 2, 4, 4, requires_grad=True), torch.full((1, 4, 4), IGNORED)
    losses = {
        "cross entropy": lambda: cross_entropy(logits, truth),
        "dice": lambda: dice_loss(logits, truth),
        "map": lambda: map_loss(torch.sigmoid(logits[:, 0, ::2, ::2]), truth),
    }
    loss = losses[name]()
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_dice_loss_of_a_hand_computed_example() -> None:
    """Probability 1/2 everywhere, one of four pixels on the object, none unknown.

    Background: 1 - 2 · 1.5 / (1 + 3) = 1/4; object: 1 - 2 · 0.5 / (1 + 1) = 1/2.
    """
    truth = torch.tensor([[[1, 0], [0, 0]]])
    torch.testing.assert_close(dice_loss(torch.zeros(1, 2, 2, 2), truth), torch.tensor(0.75))


def test_dice_loss_of_the_truth_is_nothing() -> None:
    truth = torch.tensor([[[1, 0], [0, 0]], [[0, 0], [0, 0]]])
    sure = torch.stack([1 - 2 * truth, 2 * truth - 1], dim=1) * 100.0
    assert dice_loss(sure, truth) == 0


def test_map_loss_compares_with_the_share_of_a_node_that_the_object_covers() -> None:
    truth = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, IGNORED]]])
    maps = torch.tensor([[[0.75, 0.5]]])
    # The second node is labelled by 3 of 4 pixels, all background.
    torch.testing.assert_close(map_loss(maps, truth), torch.tensor(0.75 * 0.25 / 1.75))


def test_map_loss_has_a_gradient_where_the_map_is_exactly_zero_or_one() -> None:
    maps = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    map_loss(maps, torch.tensor([[[1, 0]]])).backward()
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad, torch.tensor([[[-1.0, 1.0]]]))
