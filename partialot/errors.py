"""What can go wrong, in classes to catch. Every message says what must hold, what was found and what to do."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


class InfeasibleProblemError(ValueError):
    """No plan satisfies the constraints: too much mass is asked for, totals differ, or allowed pairs lack."""


class NotDifferentiableError(RuntimeError):
    """A derivative was asked for that the chosen gradient mode does not give; a wrong one would be worse."""


class SolverError(RuntimeError):
    """The linear-programming code returned an answer that its own dual solution contradicts."""


class ConvergenceWarning(UserWarning):
    """A solve or a backward pass stopped before its tolerance was met; the result carries the error it reached."""


def checks_its_inputs(function: F) -> F:
    """Mark a function that checks its inputs and says what to do: run-time type checkers must not speak first.

    What `typing.no_type_check` does, without hiding the signature from static checkers.
    """
    setattr(function, "__no_type_check__", True)  # noqa: B010 - an attribute that the type of functions does not list
    return function
