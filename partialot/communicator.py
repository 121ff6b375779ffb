"""Sums over sources whose rows are held by several processes, the ranks of one group."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed

from partialot.errors import InfeasibleProblemError

_KNOWN = (TypeError, ValueError, InfeasibleProblemError)
"""Errors that every rank can raise in their own class."""


class Communicator:
    """The ordinary case, and what there is to say to other ranks: one rank holds every row, and nothing is sent.

    Numbers that do not depend on rows (potentials of targets, mass, error, value) are held by every rank, each its own
    copy. A backward pass gives each rank the derivatives of the sum of all ranks' losses by that rank's own tensors.
    """

    def sum(self, part: Tensor) -> Tensor:
        """Add what each rank found over its rows, differentiably; equal to the last bit on all ranks."""
        return part

    def max(self, part: Tensor) -> Tensor:
        """Give the largest number of any rank, place by place; no gradient."""
        return part

    def log_sum_exp(self, part: Tensor) -> Tensor:
        """Give logarithms of the sum of what the ranks found logarithms of; no gradient."""
        return part

    def any(self, flag: bool) -> bool:
        """Tell whether any rank says so."""
        return flag

    def share(self, whole: Tensor) -> Tensor:
        """Give this rank's part of what every rank holds: `sum` gives it back."""
        return whole

    def together(self) -> AbstractContextManager[None]:
        """Raise on all ranks what one of them raises within, so that none waits for it forever; nothing is sent within.

        Raises:
            TypeError: A rank raised one; the first that did speaks for all.
            ValueError: Likewise.
            RuntimeError: A rank raised anything else.
        """
        return nullcontext()

    def require_same(self, shared: Mapping[str, object]) -> None:
        """Require that all ranks were given the same.

        Args:
            shared: Tensors, or what has a meaningful `repr`, by the names the user knows them by.

        Raises:
            ValueError: Something differs; on all ranks alike.
        """


ALONE = Communicator()
"""The one rank of an ordinary problem."""


@dataclass(frozen=True)
class GroupCommunicator(Communicator):
    """The ranks of a process group; every method is to be called by all of them, in the same order.

    Attributes:
        group: Of `torch.distributed`; None = all ranks.
        device: Where the group's backend can send from.
    """

    group: distributed.ProcessGroup | None
    device: torch.device

    def sum(self, part: Tensor) -> Tensor:
        """Add by all-reduce; see `Communicator.sum`."""
        return cast(Tensor, _AllReduce.apply(part, self.group))  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def max(self, part: Tensor) -> Tensor:
        """See `Communicator.max`."""
        largest = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX, group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return largest

    @torch.no_grad()
    def log_sum_exp(self, part: Tensor) -> Tensor:
        """See `Communicator.log_sum_exp`."""
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(distributed.get_world_size(self.group))]
        distributed.all_gather(parts, part, group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return torch.logsumexp(torch.stack(parts), dim=0)

    def any(self, flag: bool) -> bool:
        """See `Communicator.any`."""
        return bool(self.max(torch.tensor(int(flag), device=self.device)))

    def share(self, whole: Tensor) -> Tensor:
        """See `Communicator.share`."""
        return whole / distributed.get_world_size(self.group)

    @contextmanager
    def together(self) -> Generator[None]:
        """See `Communicator.together`."""
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        first = next((found for found in self._gather(_plain(error)) if found is not None), None)
        if first is not None:
            raise first from error

    def require_same(self, shared: Mapping[str, object]) -> None:
        """See `Communicator.require_same`."""
        found = self._gather([_describe(value) for value in shared.values()])
        for place, name in enumerate(shared):
            ours = found[0][place]
            for rank, described in enumerate(found):
                if described[place] != ours:
                    raise ValueError(
                        f"`{name}` must be the same on every rank. Found {ours} on rank 0 and {described[place]} on "
                        f"rank {rank} of the group. Make it on one rank and broadcast it to the others."
                    )

    def _gather(self, thing: object) -> list[Any]:
        found: list[Any] = [None] * distributed.get_world_size(self.group)
        distributed.all_gather_object(found, thing, group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return found


class _AllReduce(torch.autograd.Function):
    """A sum over ranks; its derivative by each rank's part is the sum of the ranks' derivatives by their copies."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: distributed.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total, group=group)  # pyright: ignore[reportUnknownMemberType]
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (upstream,) = gradients
        return cast(Tensor, _AllReduce.apply(upstream, ctx.group)), None  # pyright: ignore[reportUnknownMemberType]


def _plain(error: Exception | None) -> Exception | None:
    """Give an error in a form that can be sent."""
    if error is None:
        return None
    return type(error)(str(error)) if type(error) in _KNOWN else RuntimeError(f"{type(error).__name__}: {error}")


def _describe(value: object) -> str:
    """Give what tells one input from another, numbers by their digest."""
    if not isinstance(value, Tensor):
        return repr(value)
    numbers = value.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    kind = f"{value.dtype} of shape {tuple(value.shape)}, requires_grad={value.requires_grad}"
    return f"{kind}, SHA-256 {hashlib.sha256(numbers).hexdigest()[:16]}"
