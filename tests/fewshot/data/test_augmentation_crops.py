"""What a crop shows: its size, its padding, and always something of the object."""

from dataclasses import replace

import pytest
import torch

from fewshot.data.augmentation import Augmentation
from fewshot.data.transforms import MEAN_COLOUR
from fewshot.episode import IGNORED
from tests.fewshot.data.augmentation_cases import PLAIN, apply, draw_scene


@pytest.mark.parametrize("size", [(60, 80), (30, 90), (90, 30), (20, 25), (48, 48), (1, 200), (1, 1)])
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(size=48), Augmentation(size=48, scale=(0.5, 2.0), fit=True, rotation=180.0), PLAIN],
    ids=["default", "wild", "plain"],
)
def test_every_crop_has_exactly_the_asked_size(augmentation: Augmentation, size: tuple[int, int]) -> None:
    for seed in range(5):
        found = apply(augmentation, *draw_scene(*size), seed=seed)
        assert found.pixels.shape == (3, 48, 48)
        assert found.labels.shape == found.valid.shape == (48, 48)
        assert found.labels.dtype == torch.uint8


def test_everything_off_crops_the_picture_as_it_is() -> None:
    image = torch.randint(0, 256, (3, 60, 70), dtype=torch.uint8)
    labels = torch.randint(0, 2, (60, 70), dtype=torch.uint8)
    found = apply(replace(PLAIN, keep_share=0.0), image, labels)
    windows = image.unfold(1, 48, 1).unfold(2, 48, 1).permute(1, 2, 0, 3, 4)
    corner = (windows == found.pixels).flatten(2).all(2).nonzero().tolist()
    assert len(corner) == 1
    row, column = corner[0]
    assert torch.equal(found.labels, labels[row : row + 48, column : column + 48])
    assert found.valid.all()


def test_a_picture_smaller_than_the_crop_stands_in_the_middle_of_padding() -> None:
    image, labels = draw_scene(20, 31)
    found = apply(PLAIN, image, labels)
    inside = (slice(14, 34), slice(8, 39))
    assert torch.equal(found.pixels[:, *inside], image)
    assert torch.equal(found.labels[inside], labels)
    valid = torch.zeros(48, 48, dtype=torch.bool)
    valid[inside] = True
    assert torch.equal(found.valid, valid)
    assert found.labels[~valid].eq(IGNORED).all()
    assert found.pixels[:, ~valid].eq(torch.tensor(MEAN_COLOUR)[:, None]).all()


def test_a_picture_of_the_size_of_the_crop_is_passed_through() -> None:
    image, labels = draw_scene(64, 64)
    found = apply(replace(PLAIN, size=64), image, labels)
    assert torch.equal(found.pixels, image)
    assert torch.equal(found.labels, labels)
    assert found.valid.all()


def test_fitting_brings_photographs_of_any_size_to_the_crop() -> None:
    for size in ((360, 480), (24, 32)):
        found = apply(replace(PLAIN, fit=True), *draw_scene(*size))
        assert found.valid.sum() == 36 * 48
        assert (found.labels == 1).sum() == 9 * 12


@pytest.mark.parametrize("place", [(5, 5), (70, 90), (40, 45)])
def test_a_crop_keeps_most_of_the_object_wherever_it_is(place: tuple[int, int]) -> None:
    image, labels = draw_scene(80, 100)
    labels[:] = 0
    labels[place[0] : place[0] + 10, place[1] : place[1] + 10] = 1
    kept = [int((apply(PLAIN, image, labels, seed=seed).labels == 1).sum()) for seed in range(20)]
    assert min(kept) >= 85


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_crop_may_cut_as_much_off_the_object_as_it_is_allowed_to(share: float) -> None:
    labels = torch.zeros(48, 144, dtype=torch.uint8)
    labels[:, 52:92] = 1
    image = torch.zeros(3, 48, 144, dtype=torch.uint8)
    found = [apply(replace(PLAIN, keep_share=share), image, labels, seed=seed) for seed in range(60)]
    kept = [float((each.labels == 1).sum()) / (48 * 40) for each in found]
    assert share <= min(kept) < share + 0.1
    assert max(kept) == 1.0


def test_of_an_object_larger_than_the_crop_most_of_what_fits_in_is_kept() -> None:
    image, labels = draw_scene(200, 200)
    labels[:] = 0
    labels[20:180, 20:180] = 1
    kept = [float((apply(PLAIN, image, labels, seed=seed).labels == 1).float().mean()) for seed in range(60)]
    assert 0.85 <= min(kept) < 1.0
    assert max(kept) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.85, 1.0])
def test_even_a_single_pixel_of_an_object_is_not_cropped_away(share: float) -> None:
    labels = torch.zeros(800, 900, dtype=torch.uint8)
    labels[3, 897] = 1
    image = torch.zeros(3, 800, 900, dtype=torch.uint8)
    for seed in range(5):
        found = apply(replace(PLAIN, keep_share=share), image, labels, seed=seed)
        assert (found.labels == 1).sum() == 1
        assert found.valid.all()


def test_an_object_that_would_turn_out_of_sight_stops_the_turn() -> None:
    labels = torch.zeros(48, 48, dtype=torch.uint8)
    labels[0, 0] = 1
    image = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    found = apply(replace(PLAIN, rotation=180.0, rotation_probability=1.0), image, labels)
    assert torch.equal(found.pixels, image)
    assert torch.equal(found.labels, labels)
    assert found.valid.all()


def test_an_object_that_would_vanish_in_shrinking_stays() -> None:
    labels = torch.zeros(400, 400, dtype=torch.uint8)
    labels[201, 203] = 1
    for seed in range(5):
        found = apply(replace(PLAIN, scale=(0.1, 0.12)), torch.zeros(3, 400, 400, dtype=torch.uint8), labels, seed=seed)
        assert (found.labels == 1).any()


def test_pictures_without_an_object_are_cropped_anywhere() -> None:
    found = apply(Augmentation(size=48), torch.zeros(3, 90, 90, dtype=torch.uint8), torch.zeros(90, 90).byte())
    assert set(found.labels.unique().tolist()) <= {0, IGNORED}
