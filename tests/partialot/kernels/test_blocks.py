"""How passes in plain PyTorch cut a batch into blocks."""

import pytest
import torch

from partialot.kernels.blocks import EVALUATED, cut, room_for


@pytest.mark.parametrize("most", [1, 7, 40, 200, 10**6])
@pytest.mark.parametrize("chosen", [[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
def test_every_row_of_every_chosen_problem_is_in_one_block(chosen: list[int], most: int) -> None:
    matrix, wanted = torch.empty(4, 5, 8), torch.tensor(chosen, dtype=torch.bool)
    count = torch.zeros(4, 5)
    for block in cut(matrix, wanted, most):
        assert matrix[block.of_rows].numel() <= max(most, 8)
        block.write(count, count[block.of_rows] + 1)
    assert torch.equal(count, wanted.float().unsqueeze(-1).expand(4, 5))


def test_blocks_add_to_the_columns_of_chosen_problems_only() -> None:
    wanted, columns = torch.tensor([True, False, True]), torch.zeros(3, 2)
    for block in cut(torch.empty(3, 4, 2), wanted, 16):
        block.add(columns, torch.ones_like(columns[block.problems]))
    assert torch.equal(columns, torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))


def test_large_problems_between_the_chosen_are_stepped_over() -> None:
    matrix = torch.empty(1, 1, 1).expand(9, 1000, 1000)
    wanted = torch.zeros(9, dtype=torch.bool)
    wanted[[0, 8]] = True
    assert {block.problems.start for block in cut(matrix, wanted, EVALUATED)} == {0, 8}


@pytest.mark.parametrize("size", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 2, EVALUATED + 1), (300, 70, 64)])
def test_there_is_room_for_any_block(size: tuple[int, int, int]) -> None:
    matrix = torch.empty(1, 1, 1).expand(size)
    room = room_for(matrix).numel()
    every = torch.ones(size[0], dtype=torch.bool)
    assert all(matrix[block.of_rows].numel() <= room for block in cut(matrix, every, EVALUATED))
