"""Every choice that makes a network, in one object."""

from dataclasses import dataclass, field
from typing import get_args

from fewshot.model.backbone import DEEP_STEMS, BackboneName, StemName
from fewshot.model.decoder import DecoderName
from fewshot.model.matching import MatchingConfig, TransportName
from fewshot.model.message_flow import FlowKind, MessageFlowConfig
from fewshot.model.position import PositionName

_CHOICES = {
    "backbone": get_args(BackboneName),
    "stem": get_args(StemName),
    "position": get_args(PositionName),
    "transport": get_args(TransportName),
    "decoder": get_args(DecoderName),
}


@dataclass(frozen=True)
class CMNetConfig:
    """Every choice that makes a network; each row of the paper's ablations is one field away from the next.

    Attributes:
        backbone: Frozen feature extractor, without trained weights until they are loaded; see `build_backbone`.
        stem: First layers as in torchvision's weights (`plain`), or the `deep` ones of other public weights, which
            ResNets and MobileNetV2 have.
        width: Channels of the reduced features and of the decoder.
        position: Positional encoding of the nodes.
        message_flow: The flows in order; empty switches the module off.
        flow: How messages pass.
        prior: Whether the decoder sees the prior mask.
        prior_premask: Mask the support's features before the last stage too, as PFENet does.
        transport: Whether the decoder sees a transport map, from a balanced (`full`) or a partial plan.
        matching: The transport problem.
        decoder: `aspp` (light) or `fem` (PFENet's, four scales).
        dilations: Of the ASPP's branches.
        dropout: Chance of a channel to be dropped on the way into the decoder and before ASPP's last layer.
        refinement_passes: Further decoding passes in eval mode; 0 switches refinement off.
        refinement_probability: Chance of one further pass in training.
    """

    backbone: BackboneName = "resnet50"
    stem: StemName = "plain"
    width: int = 256
    position: PositionName = "mlp"
    message_flow: tuple[FlowKind, ...] = ("inner", "cross")
    flow: MessageFlowConfig = field(default_factory=MessageFlowConfig)
    prior: bool = True
    prior_premask: bool = True
    transport: TransportName = "partial"
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    decoder: DecoderName = "aspp"
    dilations: tuple[int, ...] = (6, 12, 18)
    dropout: float = 0.5
    refinement_passes: int = 0
    refinement_probability: float = 0.3

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A field lies outside its range, or two exclude each other.
        """
        for name, choices in _CHOICES.items():
            _require(getattr(self, name) in choices, name, f"be one of {choices}", getattr(self, name))
        stemmed = self.stem == "plain" or self.backbone in DEEP_STEMS
        _require(stemmed, "stem", f"be 'plain' for {self.backbone!r}", self.stem)
        flows = get_args(FlowKind)
        _require(set(self.message_flow) <= set(flows), "message_flow", f"hold only {flows}", self.message_flow)
        _require(self.width > 0, "width", "be positive", self.width)
        _require(self.width % self.flow.heads == 0, "width", f"be a multiple of {self.flow.heads} heads", self.width)
        multiple = self.position != "sine" or self.width % 4 == 0
        _require(multiple, "width", "be a multiple of 4 for the sine encoding", self.width)
        dilated = bool(self.dilations) and min(self.dilations) > 0
        _require(dilated, "dilations", "hold one or more positive numbers", self.dilations)
        _require(0 <= self.dropout < 1, "dropout", "lie in [0, 1)", self.dropout)
        _require(self.refinement_passes >= 0, "refinement_passes", "be at least 0", self.refinement_passes)
        chance = self.refinement_probability
        _require(0 <= chance <= 1, "refinement_probability", "lie in [0, 1]", chance)
        # With every supplier on the object a balanced plan fills each query node alike: the map would say nothing.
        informative = not (self.transport == "full" and self.matching.suppliers == "foreground")
        _require(informative, "matching.suppliers", "be 'all' for full transport", self.matching.suppliers)


def _require(holds: bool, name: str, rule: str, found: object) -> None:
    if not holds:
        raise ValueError(f"`{name}` must {rule}. Found {found!r}. Correct the field, or leave it out for the default.")
