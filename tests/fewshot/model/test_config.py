from collections.abc import Callable

import pytest

from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig

MakeConfig = Callable[..., CMNetConfig]
Config = CMNetConfig | MatchingConfig | MessageFlowConfig


def test_without_arguments_the_network_is_the_papers() -> None:
    config = CMNetConfig()
    assert (config.backbone, config.backbone_bn, config.decoder, config.width) == ("resnet50", "eval", "fem", 256)
    assert (config.reduction, config.shared_reduction, config.position) == ("1x1", True, "mlp")
    assert (config.message_flow, config.prior, config.transport) == (("inner", "cross"), True, "partial")
    assert (config.refinement_passes, config.refinement_probability, config.dropout) == (4, 0.3, 0.5)
    matching = config.matching
    assert (matching.suppliers, matching.weights, matching.annotation) == ("all", "uniform", "binary")
    assert (matching.mass_ratio, matching.mass_fraction, matching.grid) == (1.0, None, None)
    assert (matching.features, matching.shots, matching.scale_map) == ("post", "pairwise", "minmax")
    assert (matching.reg, matching.max_iter, matching.detach) == (0.1, 50, False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, r"`width` must be positive\. Found 0\. Correct"),
        ({"width": 15, "flow": MessageFlowConfig(heads=2)}, r"a multiple of 2 heads\. Found 15\. Correct"),
        ({"width": 18, "position": "sine"}, r"a multiple of 4 for the sine encoding\. Found 18\. Correct"),
        ({"width": 17, "position": "table"}, r"a multiple of 2 for the table encoding\. Found 17\. Correct"),
        ({"stem": "deep"}, r"`stem` must be 'plain' for 'small'\. Found 'deep'\. Correct"),
        ({"dilations": ()}, r"`dilations` must hold one or more positive numbers\. Found \(\)\. Correct"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\)\. Found 1\.0\. Correct"),
        ({"refinement_passes": -1}, r"at least 0\. Found -1\. Correct"),
        ({"refinement_probability": 1.5}, r"lie in \[0, 1\]\. Found 1\.5\. Correct"),
        (
            {"transport": "full", "matching": MatchingConfig(suppliers="foreground")},
            r"`matching.suppliers` must be 'all' for full transport\. Found 'foreground'\. Correct",
        ),
    ],
)
def test_impossible_networks_are_refused_with_a_remedy(
    fields: dict[str, object], message: str, make_config: MakeConfig
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


@pytest.mark.parametrize("field", ["reg", "max_iter", "tol", "mass_ratio"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_of_the_matching_that_are_not_positive_are_refused(field: str, value: int) -> None:
    number = value if field == "max_iter" else float(value)
    with pytest.raises(ValueError, match=rf"`matching\.{field}` must be positive\. Found {number}\. Correct the field"):
        MatchingConfig(**{field: number})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mass_fraction": 0.0}, r"`matching.mass_fraction` must lie in \(0, 1\]\. Found 0\.0\. Correct"),
        ({"mass_fraction": 1.5}, r"`matching.mass_fraction` must lie in \(0, 1\]\. Found 1\.5\. Correct"),
        (
            {"mass_fraction": 0.5, "mass_ratio": 2.0},
            r"`matching.mass_ratio` must be 1 where `mass_fraction` says how much moves\. Found 2\.0\. Correct",
        ),
        ({"grid": 0}, r"`matching.grid` must be positive, or None for every node\. Found 0\. Correct"),
        (
            {"annotation": "soft", "suppliers": "foreground"},
            r"`matching.annotation` must be 'binary' for foreground suppliers\. Found 'soft'\. Correct",
        ),
    ],
)
def test_impossible_matchings_are_refused_with_a_remedy(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatchingConfig(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("config", "field", "value", "message"),
    [
        (CMNetConfig(), "backbone", "vgg", r"`backbone` must be one of .*small.*\. Found 'vgg'\. Correct the field"),
        (CMNetConfig(), "backbone_bn", "batch", r"`backbone_bn` must be one of \('eval', 'train'\)\. Found 'batch'"),
        (CMNetConfig(), "reduction", "5x5", r"`reduction` must be one of .*3x3d2.*\. Found '5x5'\. Correct the field"),
        (CMNetConfig(), "message_flow", ("outer",), r"`message_flow` must hold only .*\. Found \('outer',\)\. Correct"),
        (MatchingConfig(), "weights", "equal", r"`matching.weights` must be one of .*cross.*\. Found 'equal'\. Corr"),
        (MessageFlowConfig(), "shots", "single", r"`flow.shots` must be one of .*joint.*\. Found 'single'\. Correct"),
    ],
)
def test_unknown_names_are_refused_where_no_types_are_checked(
    config: Config, field: str, value: object, message: str
) -> None:
    # The tests check annotated types before the constructor runs; a user's program does not.
    object.__setattr__(config, field, value)
    with pytest.raises(ValueError, match=message):
        config.__post_init__()
