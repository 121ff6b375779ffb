from collections.abc import Callable

import pytest

from fewshot.model.decoder import ASPPDecoder, Decoder, FEMDecoder

Build = Callable[[int, int, int], Decoder]


def build_aspp(channels: int, maps: int, history: int) -> Decoder:
    return ASPPDecoder(channels, maps=maps, history=history, dilations=(6, 12, 18), dropout=0.5)


def build_fem(channels: int, maps: int, history: int) -> Decoder:
    return FEMDecoder(channels, maps=maps, history=history)


@pytest.fixture(params=[build_aspp, build_fem])
def build(request: pytest.FixtureRequest) -> Build:
    """Each decoder, made from its channels, maps and channels of history."""
    return request.param
