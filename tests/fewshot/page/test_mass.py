import pytest

from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.page.mass import MassScale, find_scale


def find(matching: MatchingConfig) -> MassScale:
    scale = find_scale(CMNetConfig(backbone="small", width=16, matching=matching))
    assert scale is not None
    return scale


def test_mass_is_a_multiple_of_the_object_s_size_as_in_the_paper() -> None:
    scale = find(MatchingConfig(reg=0.2))
    assert (scale.least, scale.usual, scale.most) == (0.1, 1.0, 3.0)
    assert scale.unit == "× the object’s size in the example"
    assert scale.set_mass(MatchingConfig(reg=0.2), 2.5) == MatchingConfig(reg=0.2, mass_ratio=2.5)


def test_a_network_trained_with_a_share_is_asked_for_a_share() -> None:
    matching = MatchingConfig(mass_fraction=0.3)
    scale = find(matching)
    assert (scale.usual, scale.most) == (0.3, 1.0)
    assert scale.unit == "of all that could move"
    assert scale.set_mass(matching, 0.7) == MatchingConfig(mass_fraction=0.7)


@pytest.mark.parametrize("ratio", [0.02, 5.0])
def test_the_scale_reaches_as_far_as_what_the_network_was_trained_with(ratio: float) -> None:
    scale = find(MatchingConfig(mass_ratio=ratio))
    assert scale.least <= scale.usual == ratio <= scale.most


@pytest.mark.parametrize("transport", ["none", "full"])
def test_there_is_no_mass_to_choose_without_partial_transport(transport: str) -> None:
    network = CMNetConfig(backbone="small", width=16, transport=transport)  # pyright: ignore[reportArgumentType]
    assert find_scale(network) is None
