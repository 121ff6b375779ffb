"""Decoders: from query features, prototype and maps to two logits per node. No batch normalisation anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

DecoderName = Literal["aspp", "fem"]

_FEM_RATIOS = (1.0, 0.5, 0.25, 0.125)
_FEM_DROPOUT = 0.1


@dataclass(frozen=True)
class Decoded:
    """Logits of one decoding pass.

    Attributes:
        logits: At the query's nodes.
        scales: Logits of each scale of a feature-enrichment decoder, for the auxiliary loss; empty for ASPP.
    """

    logits: Float[Tensor, "batch 2 h w"]
    scales: tuple[Float[Tensor, "batch 2 _ _"], ...] = ()


def _convolve(inputs: int, outputs: int, size: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation), nn.ReLU())


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

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        return x + self.convolve(x if extra is None else torch.cat([x, extra], dim=1))


class ASPPDecoder(nn.Module):
    """Merge, three residual pairs and atrous spatial pyramid pooling, in the manner of CANet.

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
        self.merge = _convolve(2 * channels + maps, channels, 3)
        self.first = _ResidualPair(channels, history)
        self.residual = nn.Sequential(_ResidualPair(channels), _ResidualPair(channels))
        self.overall = _convolve(channels, channels, 1)
        self.branches = nn.ModuleList(
            [_convolve(channels, channels, 1), *(_convolve(channels, channels, 3, dilation) for dilation in dilations)]
        )
        self.fuse = _convolve((len(dilations) + 2) * channels, channels, 1)
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, 2, 1))

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        history: Float[Tensor, "batch 2 h w"] | None = None,
    ) -> Decoded:
        """Compare every query node with the prototype, guided by the maps and the previous prediction."""
        x = self.merge(torch.cat([query, prototype[..., None, None].expand_as(query), maps], dim=1))
        x = torch.relu(self.residual(self.first(x, history)))
        overall = self.overall(x.mean((-2, -1), keepdim=True)).expand_as(x)
        x = self.fuse(torch.cat([overall, *(branch(x) for branch in self.branches)], dim=1))
        return Decoded(self.classify(x))


class _Head(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(*_convolve(channels, channels, 3), nn.Dropout2d(_FEM_DROPOUT), nn.Conv2d(channels, 2, 1))


class FEMDecoder(nn.Module):
    """Feature enrichment module of PFENet: four scales, finer ones informing coarser ones, then fused.

    Args:
        channels: Length of query features, prototype and everything inside.
        maps: How many maps (prior, transport) come beside them.
        history: Channels of the history mask, read as further maps; 0 when masks are not refined.

    References:
        Tian et al. (2020), Prior Guided Feature Enrichment Network for Few-Shot Segmentation, section 3.3.
    """

    def __init__(self, channels: int, *, maps: int, history: int) -> None:
        super().__init__()
        scales = range(len(_FEM_RATIOS))
        self.merge = nn.ModuleList(_convolve(2 * channels + maps + history, channels, 1) for _ in scales)
        self.pass_down = nn.ModuleList(_convolve(2 * channels, channels, 1) for _ in scales[1:])
        self.enrich = nn.ModuleList(
            nn.Sequential(*_convolve(channels, channels, 3), *_convolve(channels, channels, 3)) for _ in scales
        )
        self.heads = nn.ModuleList(_Head(channels) for _ in scales)
        self.fuse = _convolve(len(_FEM_RATIOS) * channels, channels, 1)
        self.refine = nn.Sequential(*_convolve(channels, channels, 3), *_convolve(channels, channels, 3))
        self.classify = _Head(channels)

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        history: Float[Tensor, "batch 2 h w"] | None = None,
    ) -> Decoded:
        """Compare query and prototype at four scales, guided by the maps and the previous prediction."""
        maps = maps if history is None else torch.cat([maps, history], dim=1)
        grid = (query.shape[-2], query.shape[-1])
        features: list[Tensor] = []
        for scale, ratio in enumerate(_FEM_RATIOS):
            size = (max(1, round(grid[0] * ratio)), max(1, round(grid[1] * ratio)))
            x = self._merge_at(scale, size, query, prototype, maps)
            if features:
                finer = _resize(features[-1], size)
                x = x + self.pass_down[scale - 1](torch.cat([x, finer], dim=1))
            features.append(x + self.enrich[scale](x))
        fused = self.fuse(torch.cat([_resize(x, grid) for x in features], dim=1))
        scales = tuple(head(x) for head, x in zip(self.heads, features, strict=True))
        return Decoded(self.classify(fused + self.refine(fused)), scales)

    def _merge_at(self, scale: int, size: tuple[int, int], query: Tensor, prototype: Tensor, maps: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(query, size)
        spread = prototype[..., None, None].expand(-1, -1, *size)
        # An empty stack of maps cannot be interpolated.
        resized = _resize(maps, size) if maps.shape[1] else maps.new_zeros((len(maps), 0, *size))
        return self.merge[scale](torch.cat([pooled, spread, resized], dim=1))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", align_corners=True)
