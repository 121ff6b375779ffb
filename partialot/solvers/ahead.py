"""Sweeps that nobody has to decide anything about, made by one call.

A sweep of a small problem is a few microseconds of arithmetic and dozens of small operations that judge it, most of
which find that there is nothing to do. Where it can be known how long that stays so, the kernels sweep on by themselves
(`partialot.kernels.stretch`); what they stop at is judged as ever.
"""

import torch

from partialot.kernels import dispatch
from partialot.kernels.primitives import RowSums
from partialot.kernels.stretch import Limits, Progress, Rules, State
from partialot.solvers import acceleration, annealing
from partialot.solvers.loop import NEAR_FLOOR, PATIENCE, Loop
from partialot.solvers.newton import NEARLY, STUCK, SUSPECT, Newton


def sum_rows(loop: Loop, newton: Newton | None) -> RowSums:
    """Sum the rows as `loop.sum_rows` does, after as many sweeps as need no decision.

    Args:
        loop: Its potentials and all it knows of them become those of the last pass.
        newton: Who takes steps, if anyone: it is asked first whether the next pass is to lead to one.
    """
    if newton is not None:
        newton.choose(loop)
    watch = loop.annealing.watch
    nothing, endless = torch.zeros_like(loop.mass), torch.full_like(loop.mass, torch.inf)
    pause = endless if newton is None else newton.pause
    held = nothing if newton is None else (loop.annealing.schedule.held - watch.age) * watch.watched
    # The start's own violation is measured after the first pass.
    waits = loop.annealing.under_way | ((loop.made == 0) & loop.measures_start)
    longest = dispatch.longest_stretch(loop.mass.device, loop.f.shape[1] * loop.g.shape[1])
    left = (loop.sweeps - loop.made - loop.products).clamp(max=longest)
    sweeps = torch.where(waits, nothing, torch.minimum(pause, left))
    found = loop.gibbs.stretch(
        loop.marginals,
        State(loop.iterate, loop.relaxation.pace, Progress(loop.best, loop.stalled, endless), watch),
        Limits(loop.tol, (NEAR_FLOOR if newton is None else NEARLY) * loop.floor, endless, endless, sweeps, held),
        loop.running,
        _rules(loop.annealing.schedule, PATIENCE if newton is None else STUCK),
    )
    iterate, loop.relaxation.pace, progress, watch = found.state
    loop.take(iterate)
    loop.used, loop.best, loop.stalled = loop.relaxation.omega, progress.best, progress.stalled
    loop.made = loop.made + found.made
    loop.annealing.go_on(watch, progress.best)
    if newton is not None:
        newton.go_on(found.made)
    return found.rows


def _rules(schedule: annealing.Schedule, patience: int) -> Rules:
    return Rules(
        patience=patience,
        warm_up=acceleration.WARM_UP,
        steady=acceleration.STEADY,
        window=acceleration.WINDOW,
        largest=acceleration.LARGEST,
        suspect=SUSPECT,
        first=schedule.first,
        probe=schedule.probe,
        half=schedule.half,
        again=schedule.again,
        crawling=schedule.crawling,
        stuck=annealing.HARDLY,
        rough=annealing.ROUGH,
    )
