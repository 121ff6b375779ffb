import pytest
import torch

from fewshot.visualisation.maps import draw_map, resize_picture


@pytest.mark.parametrize("size", [(40, 60), (1200, 800), (3, 300)], ids=str)
def test_a_map_is_drawn_over_its_image_whatever_its_size(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    figure = draw_map(image, torch.rand(size), label="transport", top=0.5)
    picture, bar = figure.axes
    (drawn,) = picture.images
    height, width = drawn.get_size()
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)
    assert max(height, width) == 750
    assert bar.get_ylabel() == "transport"
    assert bar.get_ylim() == (0, 0.5)


@pytest.mark.parametrize(("size", "expected"), [((100, 50), (20, 10)), ((5, 10), (10, 20)), ((1, 400), (1, 20))])
def test_resizing_keeps_the_aspect(size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = torch.full((*size, 3), 77, dtype=torch.uint8)
    resized = resize_picture(picture, 20)
    assert resized.shape == (*expected, 3)
    assert resized.unique().tolist() == [77]
