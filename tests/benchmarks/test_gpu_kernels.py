"""The kernels that measure the ceilings of a card do what their ceilings are counted from."""

import pytest
import torch

pytest.importorskip("triton")

from gpu import kernels

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("count", [kernels.READ_BLOCK, 20_000])
@pytest.mark.parametrize("programs", [1, 3])
def test_every_number_is_read_once(count: int, programs: int) -> None:
    x, sums = torch.rand(count, device=DEVICE), torch.empty(programs, device=DEVICE)
    kernels.read(x, sums)
    torch.testing.assert_close(sums.sum(), x.sum())


@pytest.mark.parametrize("programs", [1, 3])
def test_every_number_is_copied(programs: int) -> None:
    x = torch.rand(20_000, device=DEVICE)
    y = torch.zeros_like(x)
    kernels.copy(x, y, programs)
    assert torch.equal(x, y)


def test_exponentials_are_taken_as_often_as_they_are_counted() -> None:
    x = torch.rand(2 * kernels.POWER_BLOCK, device=DEVICE)
    expected = x.clone()
    assert kernels.powers(x, 2) == x.numel() * 2 * kernels.UNROLLED
    for _ in range(2 * kernels.UNROLLED):
        expected = torch.exp2(-expected)
    torch.testing.assert_close(x, expected)


def test_a_launch_adds_one() -> None:
    counter = torch.zeros(1, dtype=torch.int32, device=DEVICE)
    for _ in range(3):
        kernels.count(counter)
    assert counter.item() == 3


def test_programs_wait_at_as_many_barriers_as_asked_for() -> None:
    counter, programs = torch.zeros(1, dtype=torch.int32, device=DEVICE), kernels.programs_of(DEVICE)
    kernels.wait_for_all(counter, 5, programs)
    assert counter.item() == 5 * programs
