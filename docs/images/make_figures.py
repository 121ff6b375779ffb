"""Draw the figures of the documentation. Run as `python docs/images/make_figures.py`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from matplotlib.figure import Figure

import certificate
import dummy_nodes
import mass
import outliers
import regularisation

HERE = Path(__file__).parent

FIGURES: Mapping[str, Callable[[], Figure]] = MappingProxyType(
    {
        "partial_transport": outliers.draw,
        "dummy_nodes": dummy_nodes.draw,
        "mass": mass.draw_plans,
        "price_of_mass": mass.draw_prices,
        "regularisation": regularisation.draw,
        "certificate": certificate.draw,
    }
)
"""Each picture of this folder by its name."""


def main() -> None:
    """Draw every figure."""
    for name, draw in FIGURES.items():
        draw().savefig(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
