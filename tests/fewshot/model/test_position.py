import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.position import TABLE_SIDE, Position, PositionName, TablePosition, build_position, locate_nodes

LEARNED_OR_FIXED = pytest.mark.parametrize("name", ["mlp", "table", "sine"])


def encode(position: Position, *grid: int) -> Tensor:
    """What is added to the nodes of one unpadded image of 32 channels."""
    return position(torch.zeros(1, 32, *grid), torch.ones(1, *grid, dtype=torch.bool))[0]


@LEARNED_OR_FIXED
def test_an_untrained_encoding_leaves_features_nearly_as_they_are(name: PositionName) -> None:
    assert 0 < encode(build_position(name, 32), 6, 7).abs().max() < 0.06


def test_none_adds_nothing() -> None:
    features = torch.rand(2, 32, 6, 7)
    assert torch.equal(build_position("none", 32)(features, torch.ones(2, 6, 7, dtype=torch.bool)), features)


@LEARNED_OR_FIXED
def test_every_node_gets_an_encoding_of_its_own(name: PositionName) -> None:
    encoding = encode(build_position(name, 32), 5, 6).flatten(1).mT
    distances = torch.cdist(encoding, encoding) + torch.eye(30)
    assert distances.min() > 1e-5


@LEARNED_OR_FIXED
def test_query_and_supports_are_encoded_alike(name: PositionName) -> None:
    position = build_position(name, 32)
    query, supports = torch.rand(2, 32, 4, 5), torch.rand(2, 3, 32, 4, 5)
    valid = torch.ones(2, 3, 4, 5, dtype=torch.bool)
    assert_close((position(query, valid[:, 0]) - query)[0], (position(supports, valid) - supports)[1, 2])


@pytest.mark.parametrize("name", ["mlp", "sine"])
def test_a_finer_grid_refines_the_same_encoding(name: PositionName) -> None:
    position = build_position(name, 32)
    assert_close(encode(position, 9, 9)[..., 1::3, 1::3], encode(position, 3, 3))


@LEARNED_OR_FIXED
def test_the_encoding_learns(name: PositionName) -> None:
    position = build_position(name, 32)
    encode(position, 4, 4).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in position.parameters())


def test_positions_are_centred_on_the_image() -> None:
    encoding = encode(build_position("sine", 32), 5, 6)
    sines_of_columns, sines_of_rows = encoding[:8], encoding[16:24]
    assert_close(sines_of_columns.flip(-1), -sines_of_columns)
    assert_close(sines_of_rows.flip(-2), -sines_of_rows)


@LEARNED_OR_FIXED
def test_a_node_is_encoded_by_its_place_in_the_image_wherever_the_padding_lies(name: PositionName) -> None:
    position, valid = build_position(name, 32), torch.zeros(2, 9, 11, dtype=torch.bool)
    valid[0, :5, :6] = True
    valid[1, 3:8, 2:8] = True
    padded = position(torch.zeros(2, 32, 9, 11), valid)
    alone = encode(position, 5, 6)
    assert_close(padded[0, :, :5, :6], alone)
    assert_close(padded[1, :, 3:8, 2:8], alone)


def test_nodes_of_the_image_lie_between_its_edges_and_padding_beyond() -> None:
    valid = torch.zeros(4, 5, dtype=torch.bool)
    valid[1:3, :4] = True
    centres = locate_nodes(valid, torch.float32)
    assert_close(centres[0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75, 1.25]))
    assert_close(centres[:, 0, 1], torch.tensor([-1.5, -0.5, 0.5, 1.5]))


def test_the_table_is_read_as_it_stands_at_its_own_size_and_bilinearly_at_others() -> None:
    position = TablePosition(32)
    table = encode(position, TABLE_SIDE, TABLE_SIDE)
    assert_close(table[:16, 7], position.columns.T)
    assert_close(table[16:, :, 7], position.rows.T)
    for grid in ((53, 60), (81, 29), (1, 2)):
        resized = functional.interpolate(table.unsqueeze(0), grid, mode="bilinear", align_corners=False)
        assert_close(encode(position, *grid), resized[0], rtol=1e-4, atol=1e-6)


@LEARNED_OR_FIXED
def test_half_precision_features_do_not_blur_places(name: PositionName) -> None:
    position, valid = build_position(name, 32), torch.ones(1, 60, 60, dtype=torch.bool)
    half = position(torch.zeros(1, 32, 60, 60, dtype=torch.bfloat16), valid)
    assert_close(half[0].float(), encode(position, 60, 60))
