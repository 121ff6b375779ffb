"""Mask refinement: the decoder sees its own previous answer and tries again."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.model.decoder import Decoded, Decoder

HISTORY_CHANNELS = 2


class MaskRefinement(nn.Module):
    """Decode, then decode again with the softmax of the last logits as history mask (CANet, unrolled).

    The first pass sees a history of zeros. In training one further pass is made with a fixed probability, and no
    gradient flows through the history; in eval mode the number of further passes is fixed, never chosen by the truth.

    Args:
        decoder: The decoder, built with `HISTORY_CHANNELS` if `passes` is positive and with 0 otherwise.
        passes: Further passes in eval mode; 0 switches refinement off.
        probability: Of the further pass in training, drawn per batch from `draws`.

    Attributes:
        draws: A generator of its own, which training seeds alike in all processes that share a batch: they drop
            different channels, but make the same passes.
    """

    def __init__(self, decoder: Decoder, *, passes: int, probability: float) -> None:
        super().__init__()
        self.decoder, self.passes, self.probability = decoder, passes, probability
        self.draws = torch.Generator()

    def forward(
        self,
        query: Float[Tensor, "batch channels h w"],
        prototype: Float[Tensor, "batch channels"],
        maps: Float[Tensor, "batch maps h w"],
        valid: Bool[Tensor, "batch h w"],
    ) -> tuple[Decoded, ...]:
        """Return the answers of all passes, the best last; padding has no history."""
        history = None
        if self.passes:
            history = query.new_zeros((len(query), HISTORY_CHANNELS, *query.shape[-2:]))
        decoded = [self.decoder(query, prototype, maps, valid, history)]
        for _ in range(self._further_passes()):
            history = decoded[-1].logits.softmax(1).detach()
            decoded.append(self.decoder(query, prototype, maps, valid, history))
        return tuple(decoded)

    def _further_passes(self) -> int:
        if not self.training or self.passes == 0:
            return self.passes
        return int(torch.rand((), generator=self.draws).item() < self.probability)
