"""What is decided between two sweeps, by numbers of one problem.

Definitions: `partialot.solvers.acceleration.Relaxation.observe` and `hold`, `partialot.solvers.loop.Loop.judge`,
`partialot.solvers.annealing.Annealing.observe`; RULES are `partialot.kernels.stretch.Rules`.
"""
# Kernels are programs of another language in Python's clothes.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import no_type_check

import triton
import triton.language as tl

from partialot.kernels.triton.vectors import exp_of, log_of


@triton.jit
@no_type_check
def observe_progress(progress, error):
    """Give the least violation so far, and the sweeps since it last fell by a tenth."""
    best, stalled = progress
    return tl.minimum(error, best), tl.where(error < 0.9 * best, 0.0, stalled + 1.0)


@triton.jit
@no_type_check
def is_done(progress, error, tol, floor, RULES: tl.constexpr):
    """Tell whether a violation is small enough, or at its floor; `progress` knows of it."""
    best, stalled = progress
    return (error <= tol) | ((stalled >= RULES.patience) & (best <= floor))


@triton.jit
@no_type_check
def stalls(watch, error, best, RULES: tl.constexpr):
    """Tell whether a problem stalls, so that another way would be faster."""
    age, probed, halfway, watched = watch
    now = age + 1.0
    crawls = (now == RULES.probe) & (error > RULES.crawling * probed)
    stuck = (now == RULES.again) & (RULES.again > RULES.probe) & (best > RULES.stuck * halfway)
    return (watched > 0.0) & (crawls | stuck) & (error > RULES.rough)


@triton.jit
@no_type_check
def observe_watch(watch, error, best, RULES: tl.constexpr):
    """Give the watch's age, and the violations that the next questions compare with."""
    age, probed, halfway, _ = watch
    age += 1.0
    return age, tl.where(age == RULES.first, error, probed), tl.where(age == RULES.half, best, halfway)


@triton.jit
@no_type_check
def observe_pace(pace, error, held, RULES: tl.constexpr, WORK: tl.constexpr):
    """Give the pace after a sweep whose violation is known; `held` where a large ω is to be held at 1."""
    omega, age, before, last, anchor = pace
    age += 1.0
    ratio = error / before
    relaxed = omega > 1.0
    measured = relaxed & (age >= RULES.window)
    steady = tl.abs(ratio - last) < RULES.steady * tl.maximum(1.0 - ratio, 1e-3)
    plain = ~relaxed & (age >= RULES.warm_up) & steady & (ratio > 0.05) & (ratio < 1.0)
    # What no measurement asks for may be no number.
    left = tl.maximum(tl.where(measured, error / anchor, 1.0), 1e-300)
    fall = exp_of(log_of(left, WORK) / tl.maximum(age, 1.0), WORK)
    root = tl.minimum(fall, 1.0) + omega - 1.0
    contraction = tl.where(measured, root * root / (fall * omega * omega), ratio)
    best = 2.0 / (1.0 + tl.sqrt(1.0 - tl.minimum(tl.where(plain | measured, contraction, 0.0), 1.0 - 1e-9)))
    found = plain | (measured & (fall > omega - 1.0 + 0.1 * (2.0 - omega)))
    started = plain | measured
    lower = tl.where(measured, 1.0 + 0.8 * (omega - 1.0), omega)
    omega = tl.where(found, tl.minimum(best, RULES.largest), lower)
    age, anchor = tl.where(started, 0.0, age), tl.where(started, error, anchor)
    is_held = held & (omega > RULES.suspect)
    return tl.where(is_held, 1.0, omega), tl.where(is_held, RULES.warm_up, age), error, ratio, anchor
