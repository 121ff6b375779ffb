"""The classes of the synthetic world: three parts in a fixed layout, each of its own material.

Materials are shared between classes, so no single part tells a class and the mean colour of an object says little;
any two classes share at most one material.
"""

from dataclasses import dataclass

import numpy as np

from fewshot.data.materials import Material, draw_materials
from fewshot.data.shapes import BODY_OUTLINES, OUTLINES, Outline

BASE_MATERIALS = 27
"""Materials that base classes are made of."""
UNSEEN_MATERIALS = 9
"""Further materials; every novel class has at least one of them."""
MATERIALS = BASE_MATERIALS + UNSEEN_MATERIALS
BODY_RADIUS = 0.9
ATTACHMENT_RADIUS = (0.56, 0.74)
"""In units of the object's scale: the attachments together are as large as the body, so that no material dominates."""
MAX_DRAWS = 10_000


@dataclass(frozen=True)
class Part:
    """One piece of an object, in the object's frame, whose unit is the object's scale.

    Attributes:
        outline: Its shape.
        centre: Where it sits.
        radii: Its half extents.
        angle: Its own turn, in radians.
        material: Number of its material.
    """

    outline: Outline
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    material: int


@dataclass(frozen=True)
class ObjectClass:
    """What the instances of a class have in common.

    Attributes:
        class_id: Its label, from 1.
        parts: Body first, then what is attached to it and drawn over it.
    """

    class_id: int
    parts: tuple[Part, ...]

    @property
    def materials(self) -> frozenset[int]:
        """Numbers of the materials that its parts are made of."""
        return frozenset(part.material for part in self.parts)


@dataclass(frozen=True)
class Vocabulary:
    """Everything scenes are made of.

    Attributes:
        materials: All materials, those of base classes first.
        base: The classes for training, numbered from 1.
        novel: The classes for evaluation, numbered on from the base classes.
    """

    materials: tuple[Material, ...]
    base: tuple[ObjectClass, ...]
    novel: tuple[ObjectClass, ...]


def draw_vocabulary(seed: int, *, base_classes: int, novel_classes: int) -> Vocabulary:
    """Draw the materials and the classes that belong to a seed.

    Raises:
        ValueError: There are not enough triples of materials for so many classes that share at most one.
    """
    rng = np.random.default_rng((seed, 0))
    materials = draw_materials(rng, MATERIALS)
    taken: set[frozenset[int]] = set()
    base = [_draw_triple(rng, taken, unseen=0) for _ in range(base_classes)]
    novel = [_draw_triple(rng, taken, unseen=int(rng.integers(1, 3))) for _ in range(novel_classes)]
    classes = [_lay_out(rng, class_id, triple) for class_id, triple in enumerate(base + novel, start=1)]
    return Vocabulary(materials, tuple(classes[:base_classes]), tuple(classes[base_classes:]))


def _draw_triple(rng: np.random.Generator, taken: set[frozenset[int]], *, unseen: int) -> list[int]:
    """Draw three materials of which no two are together in an earlier class; `unseen` of them new to base classes."""
    for _ in range(MAX_DRAWS):
        seen = rng.choice(BASE_MATERIALS, 3 - unseen, replace=False)
        new = BASE_MATERIALS + rng.choice(UNSEEN_MATERIALS, unseen, replace=False)
        triple = [int(number) for number in rng.permutation(np.concatenate([seen, new]))]
        pairs = {frozenset(pair) for pair in ((triple[0], triple[1]), (triple[0], triple[2]), (triple[1], triple[2]))}
        if not pairs & taken:
            taken |= pairs
            return triple
    raise ValueError(
        f"`base_classes` and `novel_classes` must leave pairs of materials for every class. Found no free triple of "
        f"materials after {len(taken) // 3} classes. Ask for fewer classes; 60 base and 15 novel ones are known to fit."
    )


def _lay_out(rng: np.random.Generator, class_id: int, triple: list[int]) -> ObjectClass:
    stretch = float(np.exp(rng.uniform(-0.3, 0.3)))
    body = Part(
        outline=BODY_OUTLINES[rng.integers(len(BODY_OUTLINES))],
        centre=(0.0, 0.0),
        radii=(BODY_RADIUS * stretch, BODY_RADIUS / stretch),
        angle=float(rng.uniform(0.0, np.pi)),
        material=triple[0],
    )
    direction = float(rng.uniform(-np.pi, np.pi))
    opening = float(rng.uniform(np.pi / 2, np.pi) * rng.choice([-1.0, 1.0]))
    attached = [
        _attach(rng, angle, material)
        for angle, material in zip((direction, direction + opening), triple[1:], strict=True)
    ]
    return ObjectClass(class_id, (body, *attached))


def _attach(rng: np.random.Generator, direction: float, material: int) -> Part:
    distance, size = float(rng.uniform(0.9, 1.1)), float(rng.uniform(*ATTACHMENT_RADIUS))
    stretch = float(np.exp(rng.uniform(-0.2, 0.2)))
    return Part(
        outline=OUTLINES[rng.integers(len(OUTLINES))],
        centre=(distance * float(np.cos(direction)), distance * float(np.sin(direction))),
        radii=(size * stretch, size / stretch),
        angle=float(rng.uniform(0.0, 2.0 * np.pi)),
        material=material,
    )
