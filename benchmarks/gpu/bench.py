"""What a row is handed: the card, its ceilings, the sizes, and the time that is left."""

from dataclasses import dataclass

import torch
from comparison import Place
from timing import Clock

from gpu.ceilings import Ceilings
from gpu.clock import on_device, waited
from gpu.deadline import Deadline

REG = 0.05
"""Entropic regularisation of everything that has no other: costs are in [0, 2]."""

Shape = tuple[int, int]
"""Of a batch: problems, and nodes on each side of each."""


@dataclass(frozen=True)
class Sizes:
    """How large the problems are.

    Attributes:
        images: As matching images gives them.
        many: Problems of a usual size.
        large: One problem.
        small: Problems that fit on chip.
        far: Dimension and points of clouds whose prices take matrix units.
        near: Dimension and points of clouds in space.
        hessian: Dimension and points of the clouds of a Hessian product.
        precise: Nodes of the problem that is solved precisely, and of the one that is certified.
        ratio: Largest cost over `reg` of the former.
        gap: Certified gap of the latter, relative.
        sweeps: Few and many sweeps, whose times differ by those between.
    """

    images: Shape
    many: Shape
    large: Shape
    small: Shape
    far: tuple[Shape, ...]
    near: tuple[Shape, ...]
    hessian: Shape
    precise: int
    ratio: float
    gap: float
    sweeps: tuple[int, int]


FULL = Sizes(
    images=(4, 3600),
    many=(64, 1024),
    large=(1, 16384),
    small=(256, 64),
    far=((64, 10_000),),
    near=((3, 10_000), (3, 100_000)),
    hessian=(64, 2048),
    precise=4096,
    ratio=4096.0,
    gap=1e-6,
    sweeps=(2, 22),
)
MINIATURE = Sizes(
    images=(2, 24),
    many=(3, 16),
    large=(1, 40),
    small=(4, 12),
    far=((16, 40),),
    near=((3, 40), (3, 60)),
    hessian=(8, 32),
    precise=32,
    ratio=64.0,
    gap=1e-3,
    sweeps=(1, 3),
)


@dataclass(frozen=True)
class Bench:
    """Where rows are measured.

    Attributes:
        device: The card; a CPU for a rehearsal.
        sizes: Of the problems.
        ceilings: Of the card.
        rounds: Turns that each takes.
        deadline: Until when.
    """

    device: torch.device
    sizes: Sizes
    ceilings: Ceilings
    rounds: int
    deadline: Deadline

    @property
    def cold(self) -> Clock:
        """The card's clock, inputs in memory and not in a cache."""
        return on_device(self.device)

    @property
    def wall(self) -> Clock:
        """The user's clock."""
        return waited(self.device)

    @property
    def place(self) -> Place:
        """For comparisons, whose turns end after an eighth of what is left."""
        return Place(self.device, self.wall, self.deadline.left / 8)
