"""Every choice that makes a network, in one object."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from fewshot.model.backbone import DEEP_STEMS, BackboneName, StemName
from fewshot.model.decoder import DecoderName
from fewshot.model.matching_config import MatchingConfig, TransportName
from fewshot.model.message_flow import FlowKind, MessageFlowConfig
from fewshot.model.position import PositionName
from fewshot.model.reduction import ReductionName
from fewshot.options import require, require_choices


@dataclass(frozen=True)
class CMNetConfig:
    """Every choice that makes a network; each row of the paper's ablations is one field away from the next.

    The defaults are the whole network of the paper. Where it is silent the choice is ours, and its reason stands here.

    Attributes:
        backbone: Frozen feature extractor, without trained weights until they are loaded; see `build_backbone`. The
            paper's is `resnet50`.
        stem: First layers as in torchvision's weights (`plain`), or the `deep` ones of other public weights, which
            ResNets and MobileNetV2 have. The paper is silent; the plain one's weights are to be had everywhere.
        backbone_bn: Statistics that the frozen backbone's batch normalisation goes by. `eval`: those it came with,
            always. `train`: those of the batch while the network trains, its running averages drifting along, as
            happens to PFENet, whose backbone is frozen in its weights only; for comparison with such numbers.
            Features of a `train` backbone must not be stored. The paper is silent.
        reduction: From the backbone's channels to `width`: `1x1` (PFENet) or `3x3d2` (CANet). The paper is silent.
        shared_reduction: One reduction for query and support, since attention and cost compare the two and the paper
            has a «shared-parameter CNN»; PFENet's are two.
        width: Channels of the reduced features and of the decoder; PFENet's, the paper being silent.
        position: Positional encoding of the nodes. The paper's is learnable; `mlp` is SuperGlue's kind, whose
            equations the paper's are, and fits any size. `table` is learned for 60 x 60 nodes and resized, `sine`
            is not learned.
        message_flow: The flows in order; empty switches the module off.
        flow: How messages pass.
        prior: Whether the decoder sees the prior mask.
        prior_premask: Mask the support's features before the last stage too, as PFENet does.
        transport: Whether the decoder sees a transport map, from a balanced (`full`) or a partial plan.
        matching: The transport problem.
        decoder: `fem` (PFENet's, four scales), since the paper trains by PFENet's schedule, or `aspp` (CANet's,
            light). The paper does not name it.
        dilations: Of the ASPP's branches; `fem` has none.
        dropout: Chance of a channel to be dropped on the way into the decoder and before ASPP's last layer. PFENet's
            and CANet's, the paper being silent.
        refinement_passes: Further decoding passes in eval mode; 0 switches refinement off. The paper takes the module
            from CANet, which makes up to 4 more and stops by the truth; here their number is fixed.
        refinement_probability: Chance of one further pass in training, CANet's chance of a history.
    """

    backbone: BackboneName = "resnet50"
    stem: StemName = "plain"
    backbone_bn: Literal["eval", "train"] = "eval"
    reduction: ReductionName = "1x1"
    shared_reduction: bool = True
    width: int = 256
    position: PositionName = "mlp"
    message_flow: tuple[FlowKind, ...] = ("inner", "cross")
    flow: MessageFlowConfig = field(default_factory=MessageFlowConfig)
    prior: bool = True
    prior_premask: bool = True
    transport: TransportName = "partial"
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    decoder: DecoderName = "fem"
    dilations: tuple[int, ...] = (6, 12, 18)
    dropout: float = 0.5
    refinement_passes: int = 4
    refinement_probability: float = 0.3

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A field lies outside its range, or two exclude each other.
        """
        require_choices(self)
        stemmed = self.stem == "plain" or self.backbone in DEEP_STEMS
        require(stemmed, "stem", f"be 'plain' for {self.backbone!r}", self.stem)
        flows = get_args(FlowKind)
        require(set(self.message_flow) <= set(flows), "message_flow", f"hold only {flows}", self.message_flow)
        self._check_width()
        dilated = bool(self.dilations) and min(self.dilations) > 0
        require(dilated, "dilations", "hold one or more positive numbers", self.dilations)
        require(0 <= self.dropout < 1, "dropout", "lie in [0, 1)", self.dropout)
        require(self.refinement_passes >= 0, "refinement_passes", "be at least 0", self.refinement_passes)
        chance = self.refinement_probability
        require(0 <= chance <= 1, "refinement_probability", "lie in [0, 1]", chance)
        # With every supplier on the object a balanced plan fills each query node alike: the map would say nothing.
        informative = not (self.transport == "full" and self.matching.suppliers == "foreground")
        require(informative, "matching.suppliers", "be 'all' for full transport", self.matching.suppliers)

    def _check_width(self) -> None:
        heads, parts = self.flow.heads, {"sine": 4, "table": 2}.get(self.position, 1)
        require(self.width > 0, "width", "be positive", self.width)
        require(self.width % heads == 0, "width", f"be a multiple of {heads} heads", self.width)
        rule = f"be a multiple of {parts} for the {self.position} encoding"
        require(self.width % parts == 0, "width", rule, self.width)
