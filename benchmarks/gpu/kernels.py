"""What a card can do at best, as kernels that do nothing else: read, copy, take exponentials, start, wait.

They run on a CPU under `TRITON_INTERPRET=1`, slowly.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportIndexIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

READ_BLOCK, POWER_BLOCK, UNROLLED = 8192, 1024, 8


@triton.jit
@no_type_check
def _read(x_ptr, sums_ptr, count, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for block in tl.range(program, tl.cdiv(count, BLOCK), tl.num_programs(0), num_stages=4):
        at = block * BLOCK + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + at, mask=at < count, other=0.0)
    tl.store(sums_ptr + program, tl.sum(total, 0))


@triton.jit
@no_type_check
def _copy(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    for block in tl.range(tl.program_id(0), tl.cdiv(count, BLOCK), tl.num_programs(0), num_stages=4):
        at = block * BLOCK + tl.arange(0, BLOCK)
        tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < count), mask=at < count)


@triton.jit
@no_type_check
def _powers(x_ptr, rounds, BLOCK: tl.constexpr, UNROLL: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    for _ in range(rounds):
        for _ in tl.static_range(UNROLL):
            # The sign costs nothing, and keeps all numbers near the one that is its own image.
            x = tl.exp2(-x)
    tl.store(x_ptr + at, x)


@triton.jit
@no_type_check
def _count(counter_ptr):
    tl.store(counter_ptr, tl.load(counter_ptr) + 1)


@triton.jit
@no_type_check
def _wait_for_all(counter_ptr, rounds):
    programs = tl.num_programs(0)
    for turn in range(rounds):
        seen = tl.atomic_add(counter_ptr, 1, sem="acq_rel", scope="gpu") + 1
        while seen < (turn + 1) * programs:
            seen = tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu")


def read(x: Tensor, sums: Tensor) -> None:
    """Read all of x, as many programs as there are sums.

    Args:
        x: float32, contiguous, fewer than 2³¹ numbers.
        sums: Each program's part of the sum.
    """
    _read[(sums.numel(),)](x, sums, x.numel(), BLOCK=READ_BLOCK, num_warps=8)


def copy(x: Tensor, y: Tensor, programs: int) -> None:
    """Copy x to y.

    Args:
        x: float32, contiguous, fewer than 2³¹ numbers.
        y: Likewise, as many.
        programs: That divide them.
    """
    _copy[(programs,)](x, y, x.numel(), BLOCK=READ_BLOCK, num_warps=8)


def powers(x: Tensor, rounds: int) -> int:
    """Replace each number by 2 to minus it, over and over, in registers; give how many exponentials that took.

    Args:
        x: float32, a multiple of `POWER_BLOCK` numbers.
        rounds: `UNROLLED` exponentials of each number each.
    """
    _powers[(x.numel() // POWER_BLOCK,)](x, rounds, BLOCK=POWER_BLOCK, UNROLL=UNROLLED, num_warps=4)
    return x.numel() * rounds * UNROLLED


def count(counter: Tensor) -> None:
    """Add one, by a kernel that does no more: what remains of its time is its launch.

    Args:
        counter: One int32.
    """
    _count[(1,)](counter, num_warps=1)


def wait_for_all(counter: Tensor, rounds: int, programs: int) -> None:
    """Wait for each other, all programs together, so many times.

    Args:
        counter: One int32, 0 before.
        rounds: Barriers.
        programs: No more than multiprocessors, or they wait for ever; a CPU interprets one after the other, so 1 there.
    """
    together = {"launch_cooperative_grid": True} if counter.device.type == "cuda" else {}
    _wait_for_all[(programs,)](counter, rounds, num_warps=4, **together)


def programs_of(device: torch.device) -> int:
    """Give the multiprocessors of a card; a CPU counts as one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
