import numpy as np
import pytest

from fewshot.data.shapes import BODY_OUTLINES, COVER, OUTLINES, Outline


def frame(side: int = 200) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-1.5, 1.5, side, dtype=np.float32)
    return np.meshgrid(axis, axis)


@pytest.mark.parametrize("outline", OUTLINES)
def test_every_outline_fills_about_the_unit_disc(outline: Outline) -> None:
    area = 9.0 * COVER[outline](*frame()).mean()
    assert 0.5 * np.pi < area < 1.1 * np.pi


@pytest.mark.parametrize("outline", OUTLINES)
def test_no_outline_reaches_farther_than_its_bound(outline: Outline) -> None:
    x, y = frame()
    assert np.hypot(x, y)[COVER[outline](x, y)].max() <= 1.35


@pytest.mark.parametrize("outline", OUTLINES)
def test_only_the_ring_has_a_hole(outline: Outline) -> None:
    origin = np.zeros(1, np.float32)
    assert COVER[outline](origin, origin).item() is (outline != "ring")


def test_outlines_differ_from_each_other() -> None:
    regions = [COVER[outline](*frame()).tobytes() for outline in OUTLINES]
    assert len(set(regions)) == len(OUTLINES)
    assert set(BODY_OUTLINES) < set(OUTLINES)
