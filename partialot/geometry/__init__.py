"""Where the costs come from."""

from partialot.geometry.base import Geometry
from partialot.geometry.dense import DenseCost
from partialot.geometry.pointcloud import PointCloud
from partialot.geometry.sharded import ShardedRows

__all__ = ["DenseCost", "Geometry", "PointCloud", "ShardedRows"]
