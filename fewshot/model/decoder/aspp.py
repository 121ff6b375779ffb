"""The light decoder: atrous spatial pyramid pooling."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.model.decoder.base import Convolution, Decoded, Decoder, stack_inputs
from fewshot.model.grids import extend_over_padding


class _ResidualPair(nn.Module):
    """Two 3x3 convolutions whose result is added to the features; `extra` channels are read beside them."""

    def __init__(self, channels: int, extra: int = 0) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels + extra, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, valid: Tensor, extra: Tensor | None = None) -> Tensor:
        change = self.convolve[:2](stack_inputs(x, extra, valid=valid)) * valid.unsqueeze(1)
        return x + self.convolve[2:](change) * valid.unsqueeze(1)


class ASPPDecoder(Decoder):
    """Merge, three residual pairs and atrous spatial pyramid pooling, in the manner of CANet.

    The logits of valid nodes are those of a grid that ends where the padding begins.

    Args:
        channels: Length of query features, prototype and everything inside.
        maps: How many maps (prior, transport) come beside them.
        history: Channels of the history mask, read by the first residual pair; 0 when masks are not refined.
        dilations: Of the 3x3 branches; (6, 12, 18) suits 60 x 60 nodes, (1, 2, 4) suits 16 x 16.
        dropout: Chance that a channel is dropped before the last convolution, in training.

    References:
        Zhang et al. (2019), CANet: Class-Agnostic Segmentation Networks, section 3.
    """

    def __init__(self, channels: int, *, maps: int, history: int, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.merge = Convolution(2 * channels + maps, channels, 3)
        self.first = _ResidualPair(channels, history)
        self.residual = nn.ModuleList([_ResidualPair(channels), _ResidualPair(channels)])
        self.overall = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU())
        self.branches = nn.ModuleList(
            [Convolution(channels, channels, 1), *(Convolution(channels, channels, 3, rate) for rate in dilations)]
        )
        self.fuse = Convolution((len(dilations) + 2) * channels, channels, 1)
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, 2, 1))

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        valid: Bool[Tensor, "batch h w"],
        history: Float[Tensor, "batch 2 h w"] | None = None,
    ) -> Decoded:
        """Decode; see `Decoder.forward`."""
        x = self.first(self.merge(stack_inputs(query, prototype, maps, valid=valid), valid), valid, history)
        for pair in self.residual:
            x = pair(x, valid)
        x = torch.relu(x)
        mean = x.sum((-2, -1), keepdim=True) / valid.sum((-2, -1))[:, None, None, None]
        overall = self.overall(mean).expand_as(x)
        x = self.fuse(torch.cat([overall, *(branch(x, valid) for branch in self.branches)], dim=1), valid)
        return Decoded(extend_over_padding(self.classify(x), valid))
