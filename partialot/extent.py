"""The range of the prices: from which to which they reach, and which range can be computed with."""

import torch
from torch import Tensor

from partialot.blocks import block_room, row_blocks
from partialot.geometry import Geometry
from partialot.inputs import where


@torch.no_grad()
def extent(geometry: Geometry, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Give the smallest and the largest finite price of pairs with weight, and whether any pair at all is forbidden.

    Where there is no such pair, the numbers are inf and -inf; all is said of this rank's rows.

    Pairs without weight carry nothing: were prices measured from theirs, padding would cost the others digits.

    Raises:
        ValueError: A price is NaN or -inf.
    """
    lows: list[Tensor] = []
    highs: list[Tensor] = []
    forbids, padded = False, bool((a <= 0).any()) or bool((b <= 0).any())
    room = block_room(geometry)
    for rows in row_blocks(geometry):
        block = geometry.block(rows, room)
        if not block.numel():
            continue
        low, high = block.amin((-2, -1)), block.amax((-2, -1))
        # A NaN anywhere makes the minimum NaN, so one pass finds NaN and -inf alike.
        wrong = ~(low > -torch.inf)
        if bool(wrong.any()):
            raise ValueError(
                "`cost` must hold numbers or +inf (a forbidden pair). "
                f"Found {float(low[wrong][0])}{where(wrong)}. Replace such entries before solving."
            )
        if bool((high == torch.inf).any()):
            forbids = True
            high = block.masked_fill(block == torch.inf, -torch.inf).amax((-2, -1))
        if padded:
            real = (a[..., rows] > 0).unsqueeze(-1) & (b > 0).unsqueeze(-2)
            low = torch.where(real, block, torch.inf).amin((-2, -1))
            high = torch.where(real & (block < torch.inf), block, -torch.inf).amax((-2, -1))
        lows.append(low.double())
        highs.append(high.double())
    if not lows:
        nothing = torch.full(geometry.batch_shape, torch.inf, dtype=torch.float64, device=geometry.device)
        return nothing, -nothing, False
    return torch.stack(lows).amin(0), torch.stack(highs).amax(0), forbids


def check_range(spread: float, reg: Tensor | None, dtype: torch.dtype) -> None:
    """Require a positive regularisation, and prices, alone and over it, that fit into the range of the type."""
    limit = torch.finfo(dtype)
    if reg is not None:
        wrong = ~((reg > 0) & (reg < torch.inf))
        if bool(wrong.any()):
            raise ValueError(
                f"`reg` must be positive and finite. Found `reg = {float(reg[wrong][0]):.9g}`{where(wrong)}. "
                "Pass a positive number in units of the cost, or `reg=None` for the exact linear programme."
            )
    least = 1.0 if reg is None or not reg.numel() else float(reg.detach().min())
    most = 1.0 if reg is None or not reg.numel() else float(reg.detach().max())
    if spread > limit.max / 4 or spread / least > limit.max**0.5 or most > limit.max**0.5 or least < limit.tiny:
        raise ValueError(
            f"The range of `cost`, `reg` and their ratio must be numbers that {dtype} can compute with. "
            f"Found a range of {spread:.3g} and `reg` from {least:.3g} to {most:.3g}. Rescale both, or work in float64."
        )
