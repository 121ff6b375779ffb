"""CMNet: few-shot segmentation by message flow and partial optimal transport (Liu et al., arXiv 2108.08518)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fewshot.episode import Episode
from fewshot.model.backbone import Features, build_backbone
from fewshot.model.config import CMNetConfig
from fewshot.model.decoder import ASPPDecoder, Decoded, FEMDecoder
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching import Match, OptimalTransportMatching
from fewshot.model.message_flow import MessageFlow
from fewshot.model.nodes import NodeMasks, find_nodes
from fewshot.model.position import build_position
from fewshot.model.prediction import Prediction
from fewshot.model.prior import compute_prior
from fewshot.model.prototype import pool_prototype
from fewshot.model.refinement import HISTORY_CHANNELS, MaskRefinement

_Sides = tuple[Tensor, Tensor]


class CMNet(nn.Module):
    """The network of the paper's figure 3.

    The backbone is frozen: it stays in eval mode whatever the network does, and its parameters ask for no gradient.
    Fill it with `load_backbone_weights(model.backbone, path)` or `model.backbone.load_state_dict(...)`.
    """

    def __init__(self, config: CMNetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, stem=config.stem).requires_grad_(False).eval()
        # Shared by query and support, because attention and cost compare the two.
        self.reduction = nn.Sequential(nn.Conv2d(self.backbone.mid_channels, config.width, 1, bias=False), nn.ReLU())
        self.position = build_position(config.position, config.width)
        self.message_flow = MessageFlow(config.width, config.message_flow, config.flow)
        self.matching = None
        if config.transport != "none":
            self.matching = OptimalTransportMatching(config.transport, config.matching)
        # Not before flow or transport: channels dropped on one side only would spoil the comparison.
        self.dropout = nn.Dropout2d(config.dropout)
        self.refinement = MaskRefinement(
            _build_decoder(config), passes=config.refinement_passes, probability=config.refinement_probability
        )

    def train(self, mode: bool = True) -> "CMNet":
        """Set the training mode of everything but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def extract(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Run the frozen backbone; the result does not depend on anything trained here."""
        return self.backbone(images)

    def encode(self, episode: Episode) -> EncodedEpisode:
        """Run the frozen backbone over all images of a batch of episodes."""
        return EncodedEpisode(
            query=self.extract(episode.query_image),
            supports=self.extract(episode.support_images.flatten(0, 1)),
            support_masks=episode.support_masks,
            size=(episode.query_image.shape[-2], episode.query_image.shape[-1]),
            query_valid=episode.query_valid,
            support_valid=episode.support_valid,
            query_mask=episode.query_mask,
            class_id=episode.class_id,
        )

    def forward(self, episode: Episode) -> Prediction:
        """Segment the queries of a batch of episodes."""
        return self.segment(self.encode(episode))

    def segment(self, encoded: EncodedEpisode) -> Prediction:
        """Do everything after the backbone.

        Returns:
            Logits at the query's size, and the maps behind them.
        """
        dtype = next(self.reduction.parameters()).dtype
        query, supports = encoded.query.to(dtype), encoded.supports.to(dtype)
        masks = find_nodes(
            encoded.support_masks, encoded.query_valid, encoded.support_valid, _grid(query.mid), _grid(supports.mid)
        )
        reduced = self.reduction(query.mid), self.reduction(supports.mid).unflatten(0, masks.foreground.shape[:2])
        enriched = self.message_flow(self.position(reduced[0]), self.position(reduced[1]), masks)
        prior = self._compute_prior(query, supports, masks) if self.config.prior else None
        match = self._match(query, supports, reduced, enriched, masks)
        prototype = pool_prototype(enriched[1], masks.foreground)
        passes = self._decode(enriched[0], prototype, [prior, None if match is None else match.map], masks)
        auxiliary = _auxiliary(passes) if self.training else ()
        return Prediction(
            logits=_upsample(passes[-1].logits, encoded.size),
            auxiliary=tuple(_upsample(logits, encoded.size) for logits, _ in auxiliary),
            auxiliary_weights=tuple(weight for _, weight in auxiliary),
            prior_map=prior,
            transport_map=None if match is None else match.map,
            plan=None if match is None else match.plan,
            support_grid=_grid(supports.mid),
        )

    def _compute_prior(self, query: Features, supports: Features, masks: NodeMasks) -> Tensor:
        """Make the prior mask, from support features that were masked before the last stage if so configured."""
        high = supports.high
        if self.config.prior_premask:
            with torch.no_grad():
                high = self.backbone.deepen(supports.mid * masks.foreground.flatten(0, 1).unsqueeze(1))
        return compute_prior(query.high, high.unflatten(0, masks.foreground.shape[:2]), masks)

    def _match(
        self, query: Features, supports: Features, reduced: _Sides, enriched: _Sides, masks: NodeMasks
    ) -> Match | None:
        """Solve the transport problems on the features that the configuration names."""
        if self.matching is None:
            return None
        shape = masks.foreground.shape[:2]
        compared = {
            "post": enriched,
            "reduced": reduced,
            "mid": (query.mid, supports.mid.unflatten(0, shape)),
            "high": (query.high, supports.high.unflatten(0, shape)),
        }
        return self.matching(*compared[self.config.matching.features], masks)

    def _decode(
        self, query: Tensor, prototype: Tensor, maps: Sequence[Tensor | None], masks: NodeMasks
    ) -> tuple[Decoded, ...]:
        """Run the decoder's passes on what is there; padding is shown as zeros, as a convolution's own border is."""
        present = [one for one in maps if one is not None]
        return self.refinement(
            self.dropout(query) * masks.query_valid.unsqueeze(1),
            self.dropout(prototype[..., None, None])[..., 0, 0],
            torch.stack(present, dim=1) if present else query[:, :0],
        )


def _grid(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def _upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits, size, mode="bilinear", align_corners=True)


def _auxiliary(decoded: tuple[Decoded, ...]) -> list[tuple[Tensor, float]]:
    """List the logits beside the last pass's that training supervises, with their weights."""
    scales = [(logits, 1 / len(one.scales)) for one in decoded for logits in one.scales]
    return scales + [(one.logits, 1.0) for one in decoded[:-1]]


def _build_decoder(config: CMNetConfig) -> ASPPDecoder | FEMDecoder:
    maps = int(config.prior) + int(config.transport != "none")
    history = HISTORY_CHANNELS if config.refinement_passes else 0
    if config.decoder == "fem":
        return FEMDecoder(config.width, maps=maps, history=history)
    return ASPPDecoder(config.width, maps=maps, history=history, dilations=config.dilations, dropout=config.dropout)
