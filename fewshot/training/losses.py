"""What training minimises, normalised over the batches of all processes together."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fewshot.episode import IGNORED
from fewshot.model.prediction import Prediction

Count = Callable[[Tensor], Tensor]
"""Counts something in a truth, as a number in float64."""

Average = Callable[[Count, Tensor], Tensor]
"""The mean of a count over all parts of a batch, in other processes and in other passes; the truth is this part's."""


def count_alone(count: Count, truth: Tensor) -> Tensor:
    """Be the average where the batch is whole."""
    return count(truth)


def segmentation_loss(
    prediction: Prediction, truth: Int[Tensor, "batch height width"], *, average: Average = count_alone
) -> Float[Tensor, ""]:
    """Give the cross-entropy of the logits and of what is supervised beside them; `IGNORED` pixels do not count.

    Args:
        prediction: What the network answered.
        truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        average: Mean over the parts of the batch.

    Returns:
        A number whose mean over the parts, as DDP and the accumulation of gradients take it, is the mean over all
        labelled pixels of the whole batch, however they are spread. 0 where no pixel is labelled.
    """
    loss = cross_entropy(prediction.logits, truth, average=average)
    for weight, logits in zip(prediction.auxiliary_weights, prediction.auxiliary, strict=True):
        loss = loss + weight * cross_entropy(logits, truth, average=average)
    return loss


def cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    truth: Int[Tensor, "batch height width"],
    *,
    ignored: int = IGNORED,
    average: Average = count_alone,
) -> Float[Tensor, ""]:
    """Give the cross-entropy per labelled pixel of the whole batch; see `segmentation_loss`."""
    total = functional.cross_entropy(logits.float(), truth, ignore_index=ignored, reduction="sum")
    # float64 counts the pixels of any batch exactly.
    labelled = average(lambda labels: (labels != ignored).sum().double(), truth)
    return total / labelled.clamp(min=1.0).float()


def dice_loss(
    logits: Float[Tensor, "batch 2 height width"], truth: Int[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """Give the Dice losses of background and object, added, mean over the batch; `IGNORED` pixels do not count.

        1 - 2 Σ p·t / (Σ p² + Σ t²)        p: probability of the class, t: 1 where the class is

    As CyCTR adds it to its cross-entropy, save that p is the softmax of both logits, not the sigmoid of each.

    References:
        Milletari, Navab and Ahmadi (2016), V-Net, section 3.
        Zhang, Kang, Yang and Wei (2021), Few-Shot Segmentation via Cycle-Consistent Transformer.
    """
    known = (truth != IGNORED).unsqueeze(1).float()
    classes = torch.stack([truth == 0, truth == 1], dim=1).float()
    probability = torch.softmax(logits.float(), dim=1) * known
    overlap = (probability * classes).sum((-2, -1))
    size = (probability.square() + classes).sum((-2, -1))
    # A class that is neither there nor found, to the last bit, is found perfectly.
    dice = torch.where(size > 0, 2 * overlap / torch.where(size > 0, size, 1.0), 1.0)
    return (1 - dice).sum(1).mean()


def map_loss(
    transport_map: Float[Tensor, "batch h w"],
    truth: Int[Tensor, "batch height width"],
    *,
    average: Average = count_alone,
) -> Float[Tensor, ""]:
    """Give the squared distance of the transport map to the share of each node that the object covers.

    Nodes count as far as their pixels are labelled. Squares, not logarithms: a map stretched to [0, 1] holds exact
    zeros and ones, where the gradient of a logarithm is infinite.

    Args:
        transport_map: In [0, 1].
        truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        average: Mean over the parts of the batch.
    """
    grid = (transport_map.shape[-2], transport_map.shape[-1])
    known = _labelled_share(truth, grid)
    covered = functional.adaptive_avg_pool2d((truth == 1).float(), grid)
    share = covered / torch.where(known > 0, known, 1.0)
    total = (known * (transport_map.float() - share).square()).sum()
    nodes = average(lambda labels: _labelled_share(labels, grid).sum().double(), truth).float()
    return total / torch.where(nodes > 0, nodes, 1.0)


def _labelled_share(truth: Int[Tensor, "batch height width"], grid: tuple[int, int]) -> Float[Tensor, "batch h w"]:
    return functional.adaptive_avg_pool2d((truth != IGNORED).float(), grid)
