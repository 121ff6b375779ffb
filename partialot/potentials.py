"""The potentials that solvers hand to gradients: what is left once those of the dummies are eliminated."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class RealPotentials(NamedTuple):
    """Potentials without those of dummies: plan_ij = a_i b_j · exp(f_i + g_j + mass − cost_ij) in the solver's units.

    They are the derivatives of the value: f with respect to a, g to b, `mass` to the mass. No constant is left free,
    and where the mass is small, neither is large.

    Attributes:
        f: f_i + g_d.
        g: g_j + f_d.
        mass: −(f_d + g_d).
    """

    f: Float[Tensor, "batch n"]
    g: Float[Tensor, "batch m"]
    mass: Float[Tensor, "batch 1"]
