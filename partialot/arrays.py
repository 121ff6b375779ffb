"""What numbers may come in as: tensors and NumPy arrays, real and floating-point."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.floating]
"""A NumPy array of float16, float32 or float64."""

HALF = (torch.float16, torch.bfloat16)
_SUPPORTED = (*HALF, torch.float32, torch.float64)


def as_tensor(name: str, value: object) -> Tensor:
    """Give the tensor of a user's numbers; none is converted, rounded or moved.

    A NumPy array becomes a tensor on the CPU that shares its memory. It is copied where no tensor can do that: tensors
    are writable, step forwards and have the byte order of the machine.

    Args:
        name: What the argument is called.
        value: A tensor or an array, float16, bfloat16 (tensors only), float32 or float64.

    Raises:
        TypeError: It is neither, or holds other numbers, or is masked.
    """
    if isinstance(value, np.ndarray):
        return _from_numpy(name, value)  # pyright: ignore[reportUnknownArgumentType] - whatever it holds
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a torch.Tensor or a NumPy array. Found {type(value).__name__}. "
            f"Convert it first, e.g. `torch.tensor({name}, dtype=torch.float64)`."
        )
    if value.dtype not in _SUPPORTED:
        _refuse(name, value.dtype, f"{name}.to(torch.float32)")
    return value


def _from_numpy(name: str, array: NDArray[np.generic]) -> Tensor:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must hold a number in every place. Found a masked array. "
            f"Fill it first: `{name}.filled(numpy.inf)` forbids pairs of a cost, `{name}.filled(0)` empties nodes."
        )
    native = array.dtype.newbyteorder("=")
    if native.name not in ("float16", "float32", "float64"):
        _refuse(name, array.dtype, f"{name}.astype(numpy.float64)")
    steps = all(step >= 0 and step % array.itemsize == 0 for step in array.strides)
    if not (array.flags.writeable and array.flags.aligned and array.dtype.isnative and steps):
        array = array.astype(native)
    return torch.from_numpy(np.asarray(array))  # pyright: ignore[reportUnknownMemberType]


def _refuse(name: str, found: object, remedy: str) -> None:
    raise TypeError(
        f"`{name}` must be real and floating-point (float16, bfloat16, float32 or float64). Found {found}. "
        f"Convert it first, e.g. `{remedy}`."
    )
