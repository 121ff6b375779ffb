"""Where the costs come from."""

from partialot.geometry.base import Geometry
from partialot.geometry.dense import DenseCost

__all__ = ["DenseCost", "Geometry"]
