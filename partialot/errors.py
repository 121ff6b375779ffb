"""What can go wrong, in classes to catch. Every message says what must hold, what was found and what to do."""


class InfeasibleProblemError(ValueError):
    """No plan satisfies the constraints: too much mass is asked for, totals differ, or allowed pairs lack."""


class NotDifferentiableError(RuntimeError):
    """A derivative was asked for that the chosen gradient mode does not give; a wrong one would be worse."""


class SolverError(RuntimeError):
    """The linear-programming code returned an answer that its own dual solution contradicts."""


class ConvergenceWarning(UserWarning):
    """A solve or a backward pass stopped before its tolerance was met; the result carries the error it reached."""
