"""PFENet's decoder: the feature enrichment module."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from fewshot.model.decoder.base import Convolution, Decoded, Decoder, stack_inputs
from fewshot.model.grids import extend_over_padding, pool_over_valid, pool_share

_RATIOS = (1.0, 0.5, 0.25, 0.125)
_DROPOUT = 0.1


class _Head(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Dropout2d(_DROPOUT), nn.Conv2d(channels, 2, 1)
        )


class _Pair(nn.Sequential):
    """Two 3x3 convolutions with ReLU, whose result is added to what they read."""

    def __init__(self, channels: int) -> None:
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        super().__init__(first, nn.ReLU(), second, nn.ReLU())

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        first, rectify, second, _ = self
        change = rectify(first(x) * valid.unsqueeze(1))
        return x + rectify(second(change) * valid.unsqueeze(1))


class FEMDecoder(Decoder):
    """Feature enrichment module of PFENet: four scales, finer ones informing coarser ones, then fused.

    A coarser node is the mean of the valid nodes in it, and is padding where there is none. What is painted on padding
    changes no logit. Coarser scales are fractions of the whole grid, though, padding included: a padded grid is cut
    into other cells than one that ends where the padding begins, and their logits differ somewhat.

    Args:
        channels: Length of query features, prototype and everything inside.
        maps: How many maps (prior, transport) come beside them.
        history: Channels of the history mask, read as further maps; 0 when masks are not refined.

    References:
        Tian et al. (2020), Prior Guided Feature Enrichment Network for Few-Shot Segmentation, section 3.3.
    """

    def __init__(self, channels: int, *, maps: int, history: int) -> None:
        super().__init__()
        scales = range(len(_RATIOS))
        self.merge = nn.ModuleList(Convolution(2 * channels + maps + history, channels, 1) for _ in scales)
        self.pass_down = nn.ModuleList(Convolution(2 * channels, channels, 1) for _ in scales[1:])
        self.enrich = nn.ModuleList(_Pair(channels) for _ in scales)
        self.heads = nn.ModuleList(_Head(channels) for _ in scales)
        self.fuse = Convolution(len(_RATIOS) * channels, channels, 1)
        self.refine = _Pair(channels)
        self.classify = _Head(channels)

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        valid: Bool[Tensor, "batch h w"],
        history: Float[Tensor, "batch 2 h w"] | None = None,
    ) -> Decoded:
        """Decode at four scales; see `Decoder.forward`."""
        guides = maps if history is None else torch.cat([maps, history], dim=1)
        features, present = [], []
        for scale, ratio in enumerate(_RATIOS):
            size = (max(1, round(query.shape[-2] * ratio)), max(1, round(query.shape[-1] * ratio)))
            kept = pool_share(valid.to(query.dtype), size) > 0
            pooled = pool_over_valid(query, valid, size)
            x = self.merge[scale](stack_inputs(pooled, prototype, _resize(guides, valid, kept), valid=kept), kept)
            if features:
                finer = _resize(features[-1], present[-1], kept)
                x = x + self.pass_down[scale - 1](torch.cat([x, finer], dim=1), kept)
            features.append(self.enrich[scale](x, kept))
            present.append(kept)
        resized = [_resize(x, kept, valid) for x, kept in zip(features, present, strict=True)]
        fused = self.refine(self.fuse(torch.cat(resized, dim=1), valid), valid)
        heads = zip(self.heads, features, present, strict=True)
        scales = tuple(extend_over_padding(head(x), kept) for head, x, kept in heads)
        return Decoded(extend_over_padding(self.classify(fused), valid), scales)


def _resize(x: Tensor, valid: Bool[Tensor, "batch h w"], to: Bool[Tensor, "batch hr wr"]) -> Tensor:
    """Interpolate the valid nodes to another grid; zero on its padding."""
    if x.shape[1] == 0:  # An empty stack of maps cannot be interpolated.
        return x.new_zeros((len(x), 0, *to.shape[-2:]))
    size = (to.shape[-2], to.shape[-1])
    extended = extend_over_padding(x, valid)
    return functional.interpolate(extended, size, mode="bilinear", align_corners=True) * to.unsqueeze(1)
