"""How derivatives reach the inputs, whatever solver found the answer."""

from partialot.gradients.base import Answer, Gradient
from partialot.gradients.envelope import Envelope
from partialot.gradients.implicit import Implicit
from partialot.gradients.unrolled import Unrolled

__all__ = ["Answer", "Envelope", "Gradient", "Implicit", "Unrolled"]
