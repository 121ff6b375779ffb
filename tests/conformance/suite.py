"""All cases, and all libraries by name."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tests.conformance.cases import batches, entropic, exact, gradients, points, precision, refusals
from tests.conformance.libraries.geomloss import GeomLoss, SamplesLoss
from tests.conformance.libraries.ott import Ott, OttBordered
from tests.conformance.libraries.ours import Ours
from tests.conformance.libraries.pot import Pot, PotLog
from tests.conformance.libraries.pot_batch import PotBatch
from tests.conformance.library import Library
from tests.conformance.runner import Case

CASES: Mapping[str, Sequence[Case]] = MappingProxyType(
    {
        "Linear programmes": exact.CASES,
        "Regularised plans": entropic.CASES,
        "Limits, precision, settings": precision.CASES,
        "Impossible requests": refusals.CASES,
        "Derivatives": gradients.CASES,
        "Batches and transforms": batches.CASES,
        "Point clouds": points.CASES,
    }
)
"""By the part of the table that they stand in."""

ENTRY_POINTS: Mapping[str, Sequence[Callable[[], Library]]] = MappingProxyType(
    {
        "ours": (Ours,),
        "pot": (Pot, PotLog, PotBatch),
        "geomloss": (GeomLoss, SamplesLoss),
        "ott": (Ott, OttBordered),
    }
)
"""What a library has entries for; each is a column."""


def installed(name: str) -> list[Library | str]:
    """Open a library; its entry points as names where it is not installed."""
    try:
        return [make() for make in ENTRY_POINTS[name]]
    except ModuleNotFoundError:
        return [getattr(make, "name", name) for make in ENTRY_POINTS[name]]
