"""What every decoder reads and gives, and the convolution that they are made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

DecoderName = Literal["aspp", "fem"]


@dataclass(frozen=True)
class Decoded:
    """Logits of one decoding pass; on padding those of the nodes beside it, so that they can be interpolated.

    Attributes:
        logits: At the query's nodes.
        scales: Logits of each scale of a feature-enrichment decoder, for the auxiliary loss; empty for ASPP.
    """

    logits: Float[Tensor, "batch 2 h w"]
    scales: tuple[Float[Tensor, "batch 2 _ _"], ...] = ()


class Decoder(nn.Module, ABC):
    """Tells object from background at every query node."""

    @abstractmethod
    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        valid: Bool[Tensor, "batch h w"],
        history: Float[Tensor, "batch 2 h w"] | None = None,
    ) -> Decoded:
        """Compare every query node with the prototype, guided by the maps and the previous prediction.

        Args:
            query: Features of the query.
            prototype: Mean feature of the object.
            maps: Prior and transport map, as far as there are any.
            valid: False on padding, where everything else may hold anything finite.
            history: Probabilities of the previous pass; None in a decoder built without.
        """


class Convolution(nn.Sequential):
    """A convolution that keeps the grid, and ReLU; padding is zero afterwards, in spite of the bias."""

    def __init__(self, inputs: int, outputs: int, size: int, dilation: int = 1) -> None:
        padding = dilation * (size // 2)
        super().__init__(nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation), nn.ReLU())

    def forward(
        self, x: Float[Tensor, "batch inputs h w"], valid: Bool[Tensor, "batch h w"]
    ) -> Float[Tensor, "batch outputs h w"]:
        """Convolve what is zero on padding, and leave it so."""
        convolve, rectify = self
        # Before the rectifier, which keeps its result for the backward pass anyway.
        return rectify(convolve(x) * valid.unsqueeze(1))


def stack_inputs(*inputs: Tensor | None, valid: Bool[Tensor, "batch h w"]) -> Float[Tensor, "batch inputs h w"]:
    """Put what is there into one stack of channels, spreading vectors over the grid; zero on padding."""
    grid = valid.shape[-2:]
    spread = [x if x.ndim > 2 else x[..., None, None].expand(-1, -1, *grid) for x in inputs if x is not None]
    return torch.cat(spread, dim=1) * valid.unsqueeze(1)
