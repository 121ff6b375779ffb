import pytest
import torch

from fewshot.data.transforms import normalise_images
from fewshot.visualisation.overlays import overlay_map, overlay_mask, restore_colours


def test_restored_colours_are_those_before_normalisation() -> None:
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(restore_colours(normalise_images(image)).permute(2, 0, 1), image)


def test_an_overlay_tints_the_object_and_what_is_unknown_and_greys_the_rest() -> None:
    image = torch.randint(0, 256, (2, 3, 3), dtype=torch.uint8)
    mask = torch.tensor([[1, 0, 255], [0, 0, 0]], dtype=torch.uint8)
    tinted = overlay_mask(image, mask)
    grey = (tinted == tinted[..., :1]).all(-1)
    assert grey.tolist() == [[False, True, False], [True, True, True]]
    assert tinted[0, 0, 0] > tinted[0, 0, 1]
    assert (tinted[0, 2] >= 127).all()


@pytest.mark.parametrize(("opacity", "value"), [(0.0, 100), (1.0, 230)])
def test_opacity_runs_from_the_image_to_the_tint(opacity: float, value: int) -> None:
    image = torch.full((1, 1, 3), 100, dtype=torch.uint8)
    assert overlay_mask(image, torch.ones(1, 1, dtype=torch.bool), opacity=opacity)[0, 0, 0] == value


def test_a_map_grows_lighter_with_its_values() -> None:
    image = torch.full((1, 5, 3), 90, dtype=torch.uint8)
    lightness = overlay_map(image, torch.linspace(0, 2, 5)[None], top=2.0).float().mean(-1)[0]
    assert lightness.tolist() == sorted(lightness.tolist())
    assert lightness[-1] > 2 * lightness[0]


def test_values_above_the_scale_have_its_last_colour() -> None:
    image = torch.full((1, 2, 3), 90, dtype=torch.uint8)
    one, two = overlay_map(image, torch.tensor([[1.0, 7.0]]), top=1.0)[0]
    assert torch.equal(one, two)


def test_the_image_shows_through_where_a_map_is_low() -> None:
    image = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    low, high = (overlay_map(image, torch.full((1, 2), value))[0].float().mean(-1) for value in (0.0, 1.0))
    assert low[1] - low[0] > 2 * (high[1] - high[0]) > 0
