"""Label maps kept in memory, packed: a photograph's labels are 400 kB as numbers and some 5 kB packed."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int16, Int64, UInt8
from torch import Tensor

_LEVEL = 1
"""Of compression: unpacking, which is done all the time, takes as long at higher ones."""


class PackedMap(NamedTuple):
    """One packed label map.

    Attributes:
        content: Its labels.
        size: Its height and width.
    """

    content: bytes
    size: tuple[int, int]


def pack_labels(labels: Int16[Tensor, "height width"]) -> PackedMap:
    """Pack a label map."""
    return PackedMap(zlib.compress(labels.contiguous().numpy().data, _LEVEL), (labels.shape[0], labels.shape[1]))


class PackedLabels:
    """Label maps of any sizes, each of which is unpacked when it is asked for.

    Args:
        content: The packed maps, one after the other.
        ends: Where in `content` each map ends.
        sizes: Height and width of each map.
    """

    def __init__(
        self, content: UInt8[Tensor, " bytes"], ends: Int64[Tensor, " number"], sizes: Int64[Tensor, "number 2"]
    ) -> None:
        self.content = content
        self.ends = ends
        self.sizes = sizes

    @classmethod
    def join(cls, maps: Sequence[PackedMap]) -> "PackedLabels":
        """Put packed maps into one, in their order; at least one."""
        content = np.frombuffer(bytearray().join(one.content for one in maps), np.uint8)
        ends = torch.tensor([len(one.content) for one in maps]).cumsum(0)
        return cls(torch.from_numpy(content), ends, torch.tensor([one.size for one in maps]))

    def __len__(self) -> int:
        """Count the maps."""
        return len(self.ends)

    def __getitem__(self, number: int) -> Int16[Tensor, "height width"]:
        """Unpack map `number`, from 0."""
        start = int(self.ends[number - 1]) if number else 0
        unpacked = zlib.decompress(self.content[start : int(self.ends[number])].numpy().data)
        # Into a bytearray: torch wants memory that may be written to.
        flat = torch.frombuffer(bytearray(unpacked), dtype=torch.int16)
        return flat.view(tuple(self.sizes[number].tolist()))
