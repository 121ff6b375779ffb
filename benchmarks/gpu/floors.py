"""How fast a row could be, in seconds, from the ceilings that were measured."""

from gpu.ceilings import Ceilings

_BY_HAND = 8
"""Dimensions up to which inner products of points cost less than the exponential, without matrix units."""


def dense_pass(ceilings: Ceilings, entries: int, itemsize: int = 4) -> float:
    """One full iteration over stored prices: each is read once, and one exponential is taken of it."""
    return max(entries * itemsize / ceilings.read, entries / ceilings.exp2)


def lazy_iteration(ceilings: Ceilings, pairs: int, dimension: int) -> float:
    """One full iteration between clouds: rows, then columns, each with every inner product and every exponential."""
    products = 2.0 * dimension * pairs / ceilings.tf32 if dimension > _BY_HAND else 0.0
    return 2 * max(pairs / ceilings.exp2, products)


def small_solve(ceilings: Ceilings, entries: int, iterations: float) -> float:
    """A whole solve that stays on chip: one launch, one read, and an exponential of each entry at each iteration."""
    return ceilings.launch + entries * 4 / ceilings.read + iterations * entries / ceilings.exp2


def backward(ceilings: Ceilings, entries: int, products: float) -> float:
    """The adjoint of stored prices: a read of the plan for each product, then a read of it and a write of as much."""
    return (products + 2) * entries * 4 / ceilings.read
