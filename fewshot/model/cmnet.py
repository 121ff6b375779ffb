"""CMNet: few-shot segmentation by message flow and partial optimal transport (Liu et al., arXiv 2108.08518)."""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fewshot.episode import Episode
from fewshot.model.backbone import Features, build_backbone
from fewshot.model.config import CMNetConfig
from fewshot.model.decoder import ASPPDecoder, Decoded, Decoder, FEMDecoder
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching import Match, MatchingConfig, OptimalTransportMatching
from fewshot.model.message_flow import MessageFlow
from fewshot.model.nodes import NodeFeatures, NodeMasks, find_nodes
from fewshot.model.position import build_position
from fewshot.model.prediction import Prediction
from fewshot.model.prior import compute_prior
from fewshot.model.prototype import pool_prototype
from fewshot.model.reduction import build_reduction
from fewshot.model.refinement import HISTORY_CHANNELS, MaskRefinement


class CMNet(nn.Module):
    """The network of the paper's figure 3.

    The backbone is frozen: its parameters ask for no gradient, and it stays in eval mode whatever the network does,
    unless `backbone_bn` says otherwise. Fill it with `load_backbone_weights(model.backbone, path)` or
    `model.backbone.load_state_dict(...)`.

    Padding takes part in nothing: features are set to zero there before anything reads them, padded nodes send no
    messages, move no mass and count in no mean, and decoders convolve zeros there. Only the frozen backbone sees it,
    as what it would see at the border of an image.
    """

    def __init__(self, config: CMNetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, stem=config.stem).requires_grad_(False).eval()
        channels = self.backbone.mid_channels
        self.reduction = build_reduction(config.reduction, channels, config.width)
        self.support_reduction = None
        if not config.shared_reduction:
            self.support_reduction = build_reduction(config.reduction, channels, config.width)
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
        """Set the training mode; the backbone's follows only where `backbone_bn` is `train`."""
        super().train(mode)
        self.backbone.train(mode and self.config.backbone_bn == "train")
        return self

    def with_matching(self, matching: MatchingConfig) -> "CMNet":
        """Give a network of the very same weights that poses its transport problem otherwise.

        What moves, how smoothly and between which nodes are no weights: they can be changed after training, though the
        decoder has learnt from the maps of the old problem.

        Raises:
            ValueError: The network has no transport, or `matching` does not fit it.
        """
        transport = self.config.transport
        if transport == "none":
            raise ValueError(
                "The network must have transport for its problem to be changed. Found `transport = 'none'`. Use a "
                "network that was trained with 'partial' or 'full'."
            )
        config = replace(self.config, matching=matching)
        # Known to the copy already, so that it takes them as they are.
        shared = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        other = copy.deepcopy(self, shared)
        other.config = config
        other.matching = OptimalTransportMatching(transport, matching).train(self.training)
        return other

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
        """Do everything after the backbone, stage by stage as in figure 3.

        Returns:
            Logits at the query's size, and the maps behind them.
        """
        masks, mid, high = self._find_nodes(encoded)
        reduced = self._reduce(mid)
        placed = self._add_position(reduced, masks)
        enriched = self._pass_messages(placed, masks)
        prior = self._compute_prior(mid, high, masks)
        match = self._match({"mid": mid, "high": high, "reduced": reduced, "post": enriched}, masks)
        prototype = pool_prototype(enriched.supports, masks.foreground)
        passes = self._decode(enriched.query, prototype, prior, match, masks)
        return self._predict(passes, prior, match, encoded.size)

    def _find_nodes(self, encoded: EncodedEpisode) -> tuple[NodeMasks, NodeFeatures, NodeFeatures]:
        """Say which nodes are image and which are object, and clear the padding of mid and high-level features."""
        dtype = next(self.reduction.parameters()).dtype
        query, supports = encoded.query.to(dtype), encoded.supports.to(dtype)
        grid, support_grid = ((one.mid.shape[-2], one.mid.shape[-1]) for one in (query, supports))
        masks = find_nodes(encoded.support_masks, encoded.query_valid, encoded.support_valid, grid, support_grid)
        shape = masks.foreground.shape[:2]
        mid = NodeFeatures(query.mid, supports.mid.unflatten(0, shape))
        high = NodeFeatures(query.high, supports.high.unflatten(0, shape))
        return masks, mid.keep(masks), high.keep(masks)

    def _reduce(self, mid: NodeFeatures) -> NodeFeatures:
        """Bring both sides to the network's width, by one convolution or by one each."""
        reduce_supports = self.reduction if self.support_reduction is None else self.support_reduction
        supports = reduce_supports(mid.supports.flatten(0, 1)).unflatten(0, mid.supports.shape[:2])
        return NodeFeatures(self.reduction(mid.query), supports)

    def _add_position(self, reduced: NodeFeatures, masks: NodeMasks) -> NodeFeatures:
        """Tell every node where it lies in its image (eq. 5)."""
        query = self.position(reduced.query, masks.query_valid)
        return NodeFeatures(query, self.position(reduced.supports, masks.support_valid))

    def _pass_messages(self, placed: NodeFeatures, masks: NodeMasks) -> NodeFeatures:
        """Let nodes tell each other what they see, within and across images (eq. 6-8)."""
        return NodeFeatures(*self.message_flow(placed.query, placed.supports, masks))

    def _compute_prior(self, mid: NodeFeatures, high: NodeFeatures, masks: NodeMasks) -> Tensor | None:
        """Make the prior mask, from support features that were masked before the last stage if so configured."""
        if not self.config.prior:
            return None
        supports = high.supports
        if self.config.prior_premask:
            with torch.no_grad():
                supports = self.backbone.deepen((mid.supports * masks.foreground.unsqueeze(2)).flatten(0, 1))
        return compute_prior(high.query, supports.view_as(high.supports), masks)

    def _match(self, described: dict[str, NodeFeatures], masks: NodeMasks) -> Match | None:
        """Solve the transport problems (eq. 2-4) on the features that the configuration names."""
        if self.matching is None:
            return None
        compared = described[self.config.matching.features]
        return self.matching(compared.query, compared.supports, masks)

    def _decode(
        self, query: Tensor, prototype: Tensor, prior: Tensor | None, match: Match | None, masks: NodeMasks
    ) -> tuple[Decoded, ...]:
        """Run the decoder, then refine its answer, with those maps that there are."""
        present = [one for one in (prior, None if match is None else match.map) if one is not None]
        return self.refinement(
            self.dropout(query),
            self.dropout(prototype[..., None, None])[..., 0, 0],
            torch.stack(present, dim=1) if present else query[:, :0],
            masks.query_valid,
        )

    def _predict(
        self, passes: tuple[Decoded, ...], prior: Tensor | None, match: Match | None, size: tuple[int, int]
    ) -> Prediction:
        """Bring the last answer to the size of the image; while training, the others too."""
        auxiliary = _auxiliary(passes) if self.training else ()
        last, stride = passes[-1].logits, self.backbone.stride
        reach = ((last.shape[-2] - 1) * stride + 1, (last.shape[-1] - 1) * stride + 1)
        return Prediction(
            logits=_upsample(last, reach, size),
            auxiliary=tuple(_upsample(logits, reach, size) for logits, _ in auxiliary),
            auxiliary_weights=tuple(weight for _, weight in auxiliary),
            prior_map=prior,
            transport_map=None if match is None else match.map,
            plan=None if match is None else match.plan,
            query_grid=None if match is None else match.query_grid,
            support_grid=None if match is None else match.support_grid,
            fg_flow_fraction=None if match is None else match.fg_flow_fraction,
            flow_entropy=None if match is None else match.flow_entropy,
        )


def count_parameters(network: CMNet) -> dict[str, int]:
    """Count the weights of every stage that has some; those of the backbone are frozen, all others are trained."""
    counts = {name: sum(one.numel() for one in stage.parameters()) for name, stage in network.named_children()}
    return {name: count for name, count in counts.items() if count}


def _upsample(logits: Tensor, reach: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Bring logits to pixels, the last node to the last pixel of `reach`, where the backbone looked from.

    At 473 pixels that is the border. Stretched to the border of 128, the answer would be 7 pixels off there.
    """
    # In half precision neighbouring pixels would tie.
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    inside = functional.interpolate(precise, reach, mode="bilinear", align_corners=True)
    beyond = (0, max(0, size[1] - reach[1]), 0, max(0, size[0] - reach[0]))
    return functional.pad(inside, beyond, mode="replicate")[..., : size[0], : size[1]]


def _auxiliary(decoded: tuple[Decoded, ...]) -> list[tuple[Tensor, float]]:
    """List the logits beside the last pass's that training supervises, with their weights."""
    scales = [(logits, 1 / len(one.scales)) for one in decoded for logits in one.scales]
    return scales + [(one.logits, 1.0) for one in decoded[:-1]]


def _build_decoder(config: CMNetConfig) -> Decoder:
    maps = int(config.prior) + int(config.transport != "none")
    history = HISTORY_CHANNELS if config.refinement_passes else 0
    if config.decoder == "fem":
        return FEMDecoder(config.width, maps=maps, history=history)
    return ASPPDecoder(config.width, maps=maps, history=history, dilations=config.dilations, dropout=config.dropout)
