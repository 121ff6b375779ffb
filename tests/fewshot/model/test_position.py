import pytest
import torch
from torch.testing import assert_close

from fewshot.model.position import PositionName, build_position


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_an_untrained_encoding_leaves_features_nearly_as_they_are(name: PositionName) -> None:
    features = torch.rand(2, 32, 6, 7)
    change = build_position(name, 32)(features) - features
    assert 0 < change.abs().max() < 0.05


def test_none_adds_nothing() -> None:
    features = torch.rand(2, 32, 6, 7)
    assert torch.equal(build_position("none", 32)(features), features)


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_every_node_gets_an_encoding_of_its_own(name: PositionName) -> None:
    encoding = build_position(name, 32)(torch.zeros(1, 32, 5, 6))[0].flatten(1).mT
    distances = torch.cdist(encoding, encoding) + torch.eye(30)
    assert distances.min() > 1e-5


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_query_and_supports_are_encoded_alike(name: PositionName) -> None:
    position = build_position(name, 32)
    query, supports = torch.rand(2, 32, 4, 5), torch.rand(2, 3, 32, 4, 5)
    assert_close((position(query) - query)[0], (position(supports) - supports)[1, 2])


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_a_finer_grid_refines_the_same_encoding(name: PositionName) -> None:
    position = build_position(name, 32)
    coarse, fine = position(torch.zeros(1, 32, 3, 3)), position(torch.zeros(1, 32, 9, 9))
    assert_close(fine[..., 1::3, 1::3], coarse)


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_the_encoding_learns(name: PositionName) -> None:
    position = build_position(name, 32)
    position(torch.rand(1, 32, 4, 4)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in position.parameters())


def test_positions_are_centred_on_the_image() -> None:
    encoding = build_position("sine", 32)(torch.zeros(1, 32, 5, 6))[0]
    sines_of_columns, sines_of_rows = encoding[:8], encoding[16:24]
    assert_close(sines_of_columns.flip(-1), -sines_of_columns)
    assert_close(sines_of_rows.flip(-2), -sines_of_rows)
