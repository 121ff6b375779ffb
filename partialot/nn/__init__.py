"""Transport as a layer and as a loss."""

from partialot.nn.divergence import SinkhornDivergence
from partialot.nn.loss import TransportLoss
from partialot.nn.matching import TransportMatching

__all__ = ["SinkhornDivergence", "TransportLoss", "TransportMatching"]
