"""Surfaces of the synthetic objects: two colours and a texture that mixes them."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fewshot.data.shapes import Grid

Colour = tuple[float, float, float]

Texture = Literal["flat", "stripes", "checks", "dots", "waves"]
TEXTURES: tuple[Texture, ...] = get_args(Texture)

GOLDEN_RATIO = 0.6180339887498949
TURN = 2.0 * np.pi


@dataclass(frozen=True)
class Material:
    """A surface: where the texture is 0 it shows `first`, where it is 1 it shows `second`.

    Attributes:
        first: RGB colour in [0, 1].
        second: RGB colour in [0, 1].
        texture: The pattern.
        frequency: Repetitions of the pattern per pixel.
        orientation: Direction of the pattern in the object's frame, in radians.
    """

    first: Colour
    second: Colour
    texture: Texture
    frequency: float
    orientation: float


def draw_materials(rng: np.random.Generator, count: int) -> tuple[Material, ...]:
    """Draw `count` materials whose hues are spread by the golden ratio, so that neighbours in number differ in hue."""
    return tuple(_draw_material(rng, number) for number in range(count))


def _draw_material(rng: np.random.Generator, number: int) -> Material:
    hue = (0.07 + number * GOLDEN_RATIO) % 1.0
    other_hue = (hue + rng.uniform(0.2, 0.5)) % 1.0
    return Material(
        first=colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.95), rng.uniform(0.6, 0.95)),
        second=colorsys.hsv_to_rgb(other_hue, rng.uniform(0.35, 0.9), rng.uniform(0.3, 0.85)),
        texture=TEXTURES[number % len(TEXTURES)],
        frequency=float(rng.uniform(0.12, 0.24)),
        orientation=float(rng.uniform(0.0, np.pi)),
    )


def paint_material(material: Material, x: Grid, y: Grid, phase: tuple[float, float]) -> Grid:
    """Give the colour of a material at every point.

    Args:
        material: The surface.
        x: Abscissae in the object's frame, in pixels.
        y: Ordinates, likewise.
        phase: Offset of the pattern along its two directions, in radians.

    Returns:
        RGB colours in [0, 1], shape `(*x.shape, 3)`.
    """
    along = np.float32(TURN * material.frequency * np.cos(material.orientation))
    across = np.float32(TURN * material.frequency * np.sin(material.orientation))
    u = along * x + across * y + np.float32(phase[0])
    v = along * y - across * x + np.float32(phase[1])
    share = PATTERN[material.texture](u, v)[..., None]
    first, second = np.asarray(material.first, np.float32), np.asarray(material.second, np.float32)
    return first + share * (second - first)


def _flat(u: Grid, _v: Grid) -> Grid:
    return np.zeros_like(u)


def _stripes(u: Grid, _v: Grid) -> Grid:
    return (np.sin(u) > 0).astype(np.float32)


def _checks(u: Grid, v: Grid) -> Grid:
    return (np.sin(u) * np.sin(v) > 0).astype(np.float32)


def _dots(u: Grid, v: Grid) -> Grid:
    return (np.cos(u) + np.cos(v) > 0.7).astype(np.float32)


def _waves(u: Grid, v: Grid) -> Grid:
    return 0.5 + 0.5 * np.sin(u + np.sin(0.5 * v))


PATTERN: dict[Texture, Callable[[Grid, Grid], Grid]] = {
    "flat": _flat,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "waves": _waves,
}
