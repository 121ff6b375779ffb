import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.data.fitting import Fit, Mode, Placement, fit_image, fit_mask, fitted_size, resize_labels, restore_logits
from fewshot.data.transforms import MEAN_COLOUR
from fewshot.episode import IGNORED

MODES: tuple[Mode, ...] = ("pad", "square", "pfenet")
COLOUR = 200


def plain(height: int, width: int) -> Tensor:
    return torch.full((3, height, width), COLOUR, dtype=torch.uint8)


def ramp(height: int, width: int) -> Tensor:
    """Two channels that rise linearly across and down, so that any linear resizing keeps them within its slope."""
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack([across, down])


def ones(height: int, width: int) -> Tensor:
    return torch.ones(height, width, dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(100, 50, 20, 10), (50, 100, 10, 20), (7, 7, 20, 20)])
def test_pad_keeps_the_aspect_and_fills_the_upper_left_corner(height: int, width: int, rows: int, columns: int) -> None:
    fitted = fit_image(plain(height, width), ones(height, width), Fit(20))
    assert fitted.placement == Placement((rows, columns), (20, 20), (height, width))
    assert fitted.pixels[:, :rows, :columns].eq(COLOUR).all()
    outside = torch.ones(20, 20, dtype=torch.bool)
    outside[:rows, :columns] = False
    assert fitted.pixels[:, outside].eq(torch.tensor(MEAN_COLOUR)[:, None]).all()
    assert torch.equal(fitted.valid, ~outside)
    assert fitted.mask[outside].eq(IGNORED).all()
    assert fitted.mask[~outside].eq(1).all()


def test_square_covers_the_canvas_and_loses_the_aspect() -> None:
    fitted = fit_image(plain(100, 50), ones(100, 50), Fit(20, "square"))
    assert fitted.placement == Placement((20, 20), (20, 20), (100, 50))
    assert fitted.pixels.eq(COLOUR).all()
    assert fitted.mask.eq(1).all()
    assert fitted.valid.all()


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(375, 500, 352, 472), (500, 375, 472, 352), (3, 3, 472, 472), (500, 10, 472, 8), (473, 465, 472, 464)],
)
def test_pfenet_takes_multiples_of_eight_on_black_that_counts_as_image(
    height: int, width: int, rows: int, columns: int
) -> None:
    fitted = fit_image(plain(height, width), ones(height, width), Fit(473, "pfenet"))
    assert fitted.placement == Placement((rows, columns), (473, 473), (height, width))
    assert fitted.pixels[:, :rows, :columns].eq(COLOUR).all()
    assert fitted.pixels[:, rows:].eq(0).all()
    assert fitted.pixels[:, :, columns:].eq(0).all()
    assert fitted.mask[:rows, :columns].eq(1).all()
    assert fitted.mask[rows:].eq(IGNORED).all()
    assert fitted.mask[:, columns:].eq(IGNORED).all()
    assert fitted.valid.all()


def test_an_image_of_the_size_of_the_canvas_is_not_touched() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    mask = torch.randint(0, 2, (32, 32), dtype=torch.uint8)
    for mode in MODES:
        fitted = fit_image(image, mask, Fit(32, mode))
        assert torch.equal(fitted.pixels, image)
        assert torch.equal(fitted.mask, mask)
        assert fitted.valid.all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (33, 70)])
def test_images_of_every_shape_keep_at_least_a_row_and_a_column(size: tuple[int, int], mode: Mode) -> None:
    fitted = fit_image(plain(*size), ones(*size), Fit(32, mode))
    assert fitted.pixels.shape == (3, 32, 32)
    assert min(fitted.placement.fitted_size) >= 1
    assert fitted.mask.eq(1).any()


def test_an_image_without_a_mask_is_unknown_as_a_whole() -> None:
    assert fit_image(plain(40, 20), None, Fit(20)).mask.eq(IGNORED).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_alone_comes_to_where_its_image_lies(mode: Mode) -> None:
    mask = torch.randint(0, 2, (50, 33), dtype=torch.uint8)
    fitted = fit_image(plain(50, 33), mask, Fit(24, mode))
    assert torch.equal(fit_mask(mask, fitted.placement), fitted.mask)
    assert fitted.placement.fitted_size == fitted_size(50, 33, Fit(24, mode))


def test_photographs_are_smoothed_when_they_shrink() -> None:
    stripes = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(3, 64, 64)
    pixels = fit_image(stripes, None, Fit(12)).pixels.float()
    assert_close(pixels, torch.full_like(pixels, 127.5), atol=20.0, rtol=0.0)


@pytest.mark.parametrize("mode", MODES)
def test_labels_are_never_mixed(mode: Mode) -> None:
    labels = torch.zeros(90, 60, dtype=torch.uint8)
    labels[10:50, 10:40] = 1
    labels[50:60] = IGNORED
    for size in (32, 141):
        assert fit_image(plain(90, 60), labels, Fit(size, mode)).mask.unique().tolist() == [0, 1, IGNORED]


def test_an_object_of_one_pixel_survives_scaling_down() -> None:
    labels = torch.zeros(1000, 900, dtype=torch.uint8)
    labels[403, 777] = 1
    assert (fit_image(plain(1000, 900), labels, Fit(20)).mask == 1).nonzero().tolist() == [[8, 15]]


def test_each_of_several_classes_survives_and_unknown_pixels_may_vanish() -> None:
    labels = torch.zeros(100, 100, dtype=torch.int16)
    labels[3, 3], labels[55, 71], labels[80, 20] = 300, 301, -1
    resized = resize_labels(labels, (10, 10), unknown=-1)
    assert resized.dtype == torch.int16
    assert (resized[0, 0], resized[5, 7]) == (300, 301)
    assert resized.ne(0).sum() == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(60, 90), (97, 41), (32, 32)])
def test_restored_logits_lie_where_the_image_lay(size: tuple[int, int], mode: Mode) -> None:
    """A picture of its own coordinates, put on the canvas and brought back, is itself up to a pixel's slope."""
    original = ramp(*size)
    shown = (255 * torch.cat([original, original[:1]])).round().to(torch.uint8)
    fitted = fit_image(shown, None, Fit(64, mode))
    restored = restore_logits(fitted.pixels[:2].float() / 255, fitted.placement, size)
    # Half a pixel of the smaller side at the border, where resizing repeats the last pixel; rounding to 8 bits.
    assert_close(restored, original, atol=0.5 / min(32, *size) + 1 / 255, rtol=0.0)


def test_padding_does_not_leak_into_restored_logits() -> None:
    placement = fit_image(plain(20, 40), None, Fit(32)).placement
    logits = torch.full((2, 32, 32), 1e6)
    logits[:, :16] = 3.0
    assert_close(restore_logits(logits, placement, (20, 40)), torch.full((2, 20, 40), 3.0))
    assert restore_logits(logits, placement, (7, 91)).shape == (2, 7, 91)


def test_half_precision_is_restored_in_single_precision() -> None:
    placement = Placement((8, 8), (8, 8), (16, 16))
    assert restore_logits(torch.zeros(2, 8, 8, dtype=torch.bfloat16), placement, (16, 16)).dtype == torch.float32


def test_logits_of_another_size_than_the_canvas_are_refused() -> None:
    message = r"the canvas, 64 x 64\. Found 8 x 8\. Pass them as the network gives them"
    with pytest.raises(ValueError, match=message):
        restore_logits(torch.zeros(2, 8, 8), Placement((64, 32), (64, 64), (100, 50)), (100, 50))


def test_a_canvas_smaller_than_a_feature_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 8\. Found `size = 7`\. Pass the side of the canvas"):
        Fit(7)


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # It would refuse the name before we do.
    with pytest.raises(ValueError, match=r"pad, square, pfenet\. Found `mode = 'crop'`\. Correct its spelling"):
        Fit(mode="crop")  # pyright: ignore[reportArgumentType]
