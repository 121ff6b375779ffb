"""The slider of the mass M: its unit, its ends, and the transport problem that it asks for."""

from dataclasses import dataclass, replace
from typing import Literal

from fewshot.model.config import CMNetConfig
from fewshot.model.matching_config import MatchingConfig

_UNITS = {"mass_ratio": "× the object’s size in the example", "mass_fraction": "of all that could move"}
_LEAST = 0.1
_MOST = {"mass_ratio": 3.0, "mass_fraction": 1.0}


@dataclass(frozen=True)
class MassScale:
    """What the slider says.

    Attributes:
        field: Which field of `MatchingConfig` it sets.
        usual: The value that the network was trained with.
        least: Its lower end.
        most: Its upper end.
    """

    field: Literal["mass_ratio", "mass_fraction"]
    usual: float
    least: float
    most: float

    @property
    def unit(self) -> str:
        """What a value is to be read as."""
        return _UNITS[self.field]

    def set_mass(self, matching: MatchingConfig, mass: float) -> MatchingConfig:
        """Give the same transport problem with another mass."""
        return (
            replace(matching, mass_ratio=mass) if self.field == "mass_ratio" else replace(matching, mass_fraction=mass)
        )


def find_scale(network: CMNetConfig) -> MassScale | None:
    """Find the slider's scale for a network: multiples of the object's size, or a share where it was trained with one.

    Returns:
        None where there is no mass to choose: without transport, and where all of it moves.
    """
    if network.transport != "partial":
        return None
    fraction, ratio = network.matching.mass_fraction, network.matching.mass_ratio
    field, usual = ("mass_ratio", ratio) if fraction is None else ("mass_fraction", fraction)
    return MassScale(field, usual, least=min(_LEAST, usual), most=max(_MOST[field], usual))
