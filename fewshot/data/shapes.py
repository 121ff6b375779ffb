"""Outlines of the synthetic objects' parts: which points of a part's own frame lie inside it.

Every outline fills roughly the unit disc, so that a part's radii mean the same for all of them.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.floating]
Region = NDArray[np.bool_]

Outline = Literal["ellipse", "box", "diamond", "triangle", "ring"]
BODY_OUTLINES: tuple[Outline, ...] = ("ellipse", "box", "diamond")
"""What a body may look like; attachments may be any outline."""
OUTLINES: tuple[Outline, ...] = get_args(Outline)


def cover_ellipse(x: Grid, y: Grid) -> Region:
    """Cover the unit disc."""
    return x * x + y * y <= 1.0


def cover_box(x: Grid, y: Grid) -> Region:
    """Cover a square of nearly the disc's area."""
    return np.maximum(np.abs(x), np.abs(y)) <= 0.89


def cover_diamond(x: Grid, y: Grid) -> Region:
    """Cover a square that stands on a corner."""
    return np.abs(x) + np.abs(y) <= 1.25


def cover_triangle(x: Grid, y: Grid) -> Region:
    """Cover a triangle whose tip points along y."""
    return (y >= -0.85) & (y <= 1.15 - 2.0 * np.abs(x))


def cover_ring(x: Grid, y: Grid) -> Region:
    """Cover the unit disc without its middle."""
    squared = x * x + y * y
    return (squared <= 1.1) & (squared >= 0.2)


COVER: dict[Outline, Callable[[Grid, Grid], Region]] = {
    "ellipse": cover_ellipse,
    "box": cover_box,
    "diamond": cover_diamond,
    "triangle": cover_triangle,
    "ring": cover_ring,
}
