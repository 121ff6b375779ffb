from dataclasses import replace

import numpy as np
import pytest

from fewshot.data.materials import TEXTURES, Material, Texture, draw_materials, paint_material

PLAIN = Material((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), "flat", frequency=0.25, orientation=0.0)


def pixels(side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(side, dtype=np.float32)
    return np.meshgrid(axis, axis)


def test_flat_material_shows_its_first_colour_only() -> None:
    colours = paint_material(PLAIN, *pixels(), (0.3, 0.7))
    np.testing.assert_array_equal(colours, np.broadcast_to(np.array([1.0, 0.0, 0.0], np.float32), colours.shape))


@pytest.mark.parametrize("texture", [name for name in TEXTURES if name != "flat"])
def test_patterned_material_shows_both_colours(texture: Texture) -> None:
    colours = paint_material(replace(PLAIN, texture=texture), *pixels(), (0.3, 0.7))
    assert colours[..., 0].max() > 0.9
    assert colours[..., 2].max() > 0.9
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_pattern_repeats_after_the_inverse_of_its_frequency() -> None:
    x, y = pixels()
    stripes = replace(PLAIN, texture="waves", frequency=0.2)
    here = paint_material(stripes, x, y, (0.1, 0.1))
    np.testing.assert_allclose(paint_material(stripes, x + 5.0, y, (0.1, 0.1)), here, atol=1e-4)
    assert np.abs(paint_material(stripes, x + 2.5, y, (0.1, 0.1)) - here).max() > 0.5


def test_orientation_turns_the_pattern() -> None:
    x, y = pixels()
    stripes = replace(PLAIN, texture="stripes", orientation=np.pi / 2)
    colours = paint_material(stripes, x, y, (0.5, 0.0))
    assert (colours == colours[:, :1]).all(), "stripes across y do not change along x"
    assert (colours != colours[:1]).any()


def test_phase_moves_the_pattern() -> None:
    stripes = replace(PLAIN, texture="stripes")
    moved, still = (paint_material(stripes, *pixels(), (phase, 0.0)) for phase in (0.5 + np.pi, 0.5))
    np.testing.assert_allclose(moved, 1 - still - np.array([0.0, 1.0, 0.0], np.float32))


def test_materials_are_all_different_and_follow_the_seed() -> None:
    materials = draw_materials(np.random.default_rng(1), 36)
    assert len(set(materials)) == 36
    assert materials == draw_materials(np.random.default_rng(1), 36)
    assert materials != draw_materials(np.random.default_rng(2), 36)
