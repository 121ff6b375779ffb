"""Scenes of the synthetic world: a target among distractors that share its materials, over clutter.

`draw_scene` is a pure function of its arguments: the same vocabulary, seed and index give the same picture, in any
order and in any process.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewshot.data.materials import paint_material
from fewshot.data.shapes import COVER, OUTLINES, Grid, Region
from fewshot.data.vocabulary import BASE_MATERIALS, MATERIALS, ObjectClass, Part, Vocabulary

IMAGE_SIZE = 64
"""Side of the square images, in pixels; all sizes below are in pixels too."""
MIN_SCALE, MAX_SCALE = 6.2, 14.2
MIN_TARGET_AREA = 150
NOISE = 0.03
MAX_ATTEMPTS = 1000
REACH = 2.4
"""Nothing of an object lies farther from its centre than this many scales."""


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    Attributes:
        image: RGB, uint8, shape `(height, width, 3)`.
        labels: Class of every pixel, uint8, shape `(height, width)`; 0 is background.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """Where and how one instance stands."""

    centre: tuple[float, float]
    scale: float
    angle: float
    flip: float
    stretch: float


class Canvas:
    """The picture while it is painted: colours and labels, back to front."""

    def __init__(self, background: Grid) -> None:
        """Start from a background of shape `(IMAGE_SIZE, IMAGE_SIZE, 3)`."""
        self.image = background
        self.labels = np.zeros(background.shape[:2], np.uint8)

    def paint(self, rng: np.random.Generator, kind: ObjectClass, pose: Pose, vocabulary: Vocabulary) -> None:
        """Paint one instance of `kind` over what is there; the light on it is drawn from `rng`."""
        window = _window(pose)
        x, y = _object_frame(window, pose)
        gain = rng.uniform(0.75, 1.2)
        shift = rng.uniform(-0.06, 0.06, 3).astype(np.float32)
        for part in kind.parts:
            inside = _cover(part, x, y)
            phase = (rng.uniform(0.0, 2 * np.pi), rng.uniform(0.0, 2 * np.pi))
            scale = np.float32(pose.scale)
            colours = paint_material(vocabulary.materials[part.material], scale * x[inside], scale * y[inside], phase)
            self.image[window][inside] = np.float32(gain) * colours + shift
            self.labels[window][inside] = kind.class_id


def draw_scene(
    vocabulary: Vocabulary, target: ObjectClass, distractors: tuple[ObjectClass, ...], seed: tuple[int, ...]
) -> Scene:
    """Draw a scene that shows at least `MIN_TARGET_AREA` pixels of `target`.

    Args:
        vocabulary: Materials and classes.
        target: The class that the scene is about.
        distractors: Classes that the other objects may belong to; `target` among them is passed over.
        seed: Everything random is drawn from it.

    Returns:
        The picture and its labels.

    Raises:
        RuntimeError: No attempt left enough of the target in sight.
    """
    rng = np.random.default_rng(seed)
    materials = BASE_MATERIALS if target in vocabulary.base else MATERIALS
    others = tuple(kind for kind in distractors if kind != target)
    for _ in range(MAX_ATTEMPTS):
        canvas = Canvas(_draw_background(rng, vocabulary, materials))
        for _ in range(rng.integers(4, 9)):
            canvas.paint(rng, _draw_clutter(rng, materials), _draw_pose(rng, 3.0, 8.0), vocabulary)
        for kind in _draw_cast(rng, target, others):
            canvas.paint(rng, _jitter(rng, kind), _draw_pose(rng, MIN_SCALE, MAX_SCALE), vocabulary)
        if np.count_nonzero(canvas.labels == target.class_id) >= MIN_TARGET_AREA:
            noisy = canvas.image + rng.normal(0.0, NOISE, canvas.image.shape).astype(np.float32)
            return Scene((255.0 * noisy.clip(0.0, 1.0)).round().astype(np.uint8), canvas.labels)
    raise RuntimeError(
        f"A scene must show at least {MIN_TARGET_AREA} pixels of its target. Found fewer in {MAX_ATTEMPTS} attempts "
        f"for class {target.class_id}. Report the seed {seed}: the recipe's sizes make this practically impossible."
    )


def _draw_cast(rng: np.random.Generator, target: ObjectClass, others: tuple[ObjectClass, ...]) -> list[ObjectClass]:
    """Choose the objects and the order in which they are painted."""
    cast = [target] * (1 if rng.random() < 0.75 else 2)
    related = [kind for kind in others if kind.materials & target.materials]
    for _ in range(rng.integers(1, 3) if others else 0):
        pool = related if related and rng.random() < 0.7 else others
        cast.append(pool[rng.integers(len(pool))])
    return [cast[position] for position in rng.permutation(len(cast))]


def _draw_pose(rng: np.random.Generator, smallest: float, largest: float) -> Pose:
    return Pose(
        centre=(rng.uniform(6.0, IMAGE_SIZE - 6.0), rng.uniform(6.0, IMAGE_SIZE - 6.0)),
        scale=float(np.exp(rng.uniform(np.log(smallest), np.log(largest)))),
        angle=rng.uniform(-0.7, 0.7),
        flip=float(rng.choice([-1.0, 1.0])),
        stretch=float(np.exp(rng.uniform(-0.15, 0.15))),
    )


def _draw_clutter(rng: np.random.Generator, materials: int) -> ObjectClass:
    """Make a single part of the background: it is no object, so its label is 0."""
    outline = OUTLINES[rng.integers(len(OUTLINES))]
    stretch = float(np.exp(rng.uniform(-0.4, 0.4)))
    part = Part(outline, (0.0, 0.0), (stretch, 1 / stretch), rng.uniform(0, 2 * np.pi), int(rng.integers(materials)))
    return ObjectClass(0, (part,))


def _jitter(rng: np.random.Generator, kind: ObjectClass) -> ObjectClass:
    """Move, turn and resize the parts of one instance a little."""
    parts = []
    for part in kind.parts:
        move, size = rng.normal(0.0, 0.05, 2), float(np.exp(rng.normal(0.0, 0.06)))
        centre = (part.centre[0] + float(move[0]), part.centre[1] + float(move[1]))
        radii = (part.radii[0] * size, part.radii[1] * size)
        parts.append(Part(part.outline, centre, radii, part.angle + float(rng.normal(0.0, 0.12)), part.material))
    return ObjectClass(kind.class_id, tuple(parts))


def _draw_background(rng: np.random.Generator, vocabulary: Vocabulary, materials: int) -> Grid:
    """Mix a smooth field of muted colours; half the time a region of it carries a faint texture."""
    knots = rng.uniform(0.25, 0.75, (4, 4, 3)).astype(np.float32)
    knots = 0.6 * knots + 0.4 * knots.mean(axis=2, keepdims=True)
    position = np.linspace(0.0, 3.0, IMAGE_SIZE, dtype=np.float32)
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(4, dtype=np.float32)))
    field = np.einsum("ij,kl,jlc->ikc", weights, weights, knots, optimize=True).astype(np.float32)
    if rng.random() < 0.5:
        pose = _draw_pose(rng, 14.0, 30.0)
        window = _window(pose)
        x, y = _object_frame(window, pose)
        inside = COVER["ellipse"](x, y)
        material = vocabulary.materials[rng.integers(materials)]
        scale = np.float32(pose.scale)
        colours = paint_material(material, scale * x[inside], scale * y[inside], (0.0, 0.0))
        field[window][inside] = 0.75 * field[window][inside] + 0.25 * colours
    return field


def _window(pose: Pose) -> tuple[slice, slice]:
    """Cut out the rows and columns that an instance can reach."""
    reach = REACH * pose.scale * max(pose.stretch, 1 / pose.stretch)
    column, row = pose.centre
    return (
        slice(max(0, int(row - reach)), min(IMAGE_SIZE, int(row + reach) + 2)),
        slice(max(0, int(column - reach)), min(IMAGE_SIZE, int(column + reach) + 2)),
    )


def _object_frame(window: tuple[slice, slice], pose: Pose) -> tuple[Grid, Grid]:
    """Express the pixels of a window in the frame of an instance, in units of its scale."""
    rows = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(pose.centre[1])
    columns = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - np.float32(pose.centre[0])
    cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
    x = (cos * columns + sin * rows) * np.float32(pose.flip / (pose.scale * pose.stretch))
    y = (cos * rows - sin * columns) * np.float32(pose.stretch / pose.scale)
    return x, y


def _cover(part: Part, x: Grid, y: Grid) -> Region:
    """Tell which points of the object's frame lie in a part."""
    x, y = x - np.float32(part.centre[0]), y - np.float32(part.centre[1])
    cos, sin = np.float32(np.cos(part.angle)), np.float32(np.sin(part.angle))
    u, v = (cos * x + sin * y) / np.float32(part.radii[0]), (cos * y - sin * x) / np.float32(part.radii[1])
    return COVER[part.outline](u, v)
