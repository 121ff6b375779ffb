import random
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from torch.testing import assert_close

from fewshot.data.augmentation import Augmentation, augment, make_generator
from fewshot.data.transforms import MEAN_COLOUR
from fewshot.episode import IGNORED
from tests.fewshot.data.augmentation_cases import BLUE, PLAIN, RED, apply, draw_scene


def test_equal_seeds_give_equal_pictures_and_other_seeds_others() -> None:
    scene = draw_scene(60, 80)
    first, again, other = (apply(Augmentation(size=48), *scene, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.pixels, other.pixels)


def test_generators_of_the_process_are_neither_read_nor_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # The checks of types draw from `random`.

    def states() -> tuple[list[int], object, str]:
        return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state(legacy=False))

    scene, every = draw_scene(60, 80), replace(Augmentation(size=48), rotation_probability=1.0, blur_probability=1.0)
    before = states()
    first = apply(every, *scene)
    assert states() == before
    torch.manual_seed(99)
    assert torch.equal(apply(every, *scene).pixels, first.pixels)


@pytest.mark.parametrize("off", ["rotation_probability", "blur_probability", "flip_probability"])
def test_what_is_switched_off_leaves_the_rest_of_the_draws_alone(off: str) -> None:
    """Of a picture that the switched-off change would not have met anyway, nothing changes."""
    scene, augmentation = draw_scene(60, 80), Augmentation(size=48)
    same = [
        torch.equal(
            apply(augmentation, *scene, seed=seed).pixels,
            apply(replace(augmentation, **{off: 0.0}), *scene, seed=seed).pixels,
        )
        for seed in range(20)
    ]
    assert 3 <= sum(same) <= 17


def test_numbers_name_generators_apart() -> None:
    streams = {make_generator(*numbers).initial_seed() for numbers in [(0, 1), (1, 0), (0, 1, 1), (1, 1), (0, 2)]}
    assert len(streams) == 5
    assert make_generator(5, 6, 7).initial_seed() == make_generator(5, 6, 7).initial_seed()


def test_labels_keep_to_their_pixels_and_classes_never_mix() -> None:
    wild = Augmentation(size=128, scale=(0.7, 1.5), rotation_probability=1.0, rotation=40.0, blur_probability=0.0)
    for seed in range(10):
        found = apply(wild, *draw_scene(120, 160), seed=seed)
        assert set(found.labels.unique().tolist()) <= {0, 1, IGNORED}
        red = found.pixels[0] > (RED[0] + BLUE[0]) / 2
        assert red[found.labels == 1].float().mean() > 0.95
        assert (~red)[found.labels == 0].float().mean() > 0.95


def test_labels_of_many_classes_keep_their_numbers_and_their_unknown_ones() -> None:
    labels = torch.zeros(60, 60, dtype=torch.int16)
    labels[10:30, 10:30], labels[30:50, 10:40], labels[:5] = 300, 517, -1
    wild = Augmentation(size=80, rotation_probability=1.0)
    found = augment(torch.zeros(3, 60, 60, dtype=torch.uint8), labels, wild, make_generator(0), unknown=-1)
    assert found.labels.dtype == torch.int16
    assert found.labels.unique().tolist() == [-1, 0, 300, 517]
    assert found.labels[~found.valid].eq(-1).all()


def test_flipping_changes_left_and_right() -> None:
    image = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    labels = torch.randint(0, 2, (48, 48), dtype=torch.uint8)
    found = apply(replace(PLAIN, flip_probability=1.0), image, labels)
    assert torch.equal(found.pixels, image.flip(-1))
    assert torch.equal(found.labels, labels.flip(-1))


def test_chances_are_what_they_say() -> None:
    image, labels = draw_scene(48, 48)
    half = replace(PLAIN, flip_probability=0.5)
    flipped = sum(torch.equal(apply(half, image, labels, seed=seed).labels, labels.flip(-1)) for seed in range(200))
    assert 70 <= flipped <= 130


def test_the_blur_is_the_gaussian_of_five_pixels_and_leaves_labels_alone() -> None:
    image, labels = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8), draw_scene(48, 48)[1]
    found = apply(replace(PLAIN, blur_probability=1.0), image, labels)
    assert torch.equal(found.labels, labels)
    # OpenCV's table for 5 pixels is the Gaussian of deviation 1 in round numbers: the same to 3 % of the range.
    gaussian = gaussian_blur2d(image[None].float(), (5, 5), (1.0, 1.0), "replicate")[0]
    assert_close(found.pixels.float(), gaussian, atol=0.03 * 255, rtol=0.0)
    impulse = torch.zeros(3, 48, 48, dtype=torch.uint8)
    impulse[:, 20, 20] = 255
    row = apply(replace(PLAIN, blur_probability=1.0), impulse, labels).pixels[0, 20, 18:23]
    assert row.tolist() == [round(255 * 6 * weight / 256) for weight in (1, 4, 6, 4, 1)]


def test_turning_leaves_padding_behind_at_the_corners() -> None:
    image, labels = draw_scene(48, 48)
    found = apply(replace(PLAIN, rotation=40.0, rotation_probability=1.0), image, labels)
    assert 0.02 < (~found.valid).float().mean() < 0.5
    assert found.valid[12:36, 12:36].all()
    assert found.labels[~found.valid].eq(IGNORED).all()
    corners = found.pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.eq(torch.tensor(MEAN_COLOUR)[:, None]).all()


def test_padding_is_mirrored_with_the_picture() -> None:
    every = replace(PLAIN, rotation=40.0, rotation_probability=1.0, flip_probability=1.0)
    image = torch.full((3, 48, 48), 255, dtype=torch.uint8)
    found = apply(every, image, torch.zeros(48, 48, dtype=torch.uint8))
    assert torch.equal(found.valid, found.labels == 0)
    assert not torch.equal(found.valid, found.valid.flip(-1))
    assert found.pixels[:, found.valid].float().mean() > 250


def test_turning_stays_within_its_angle_and_goes_both_ways() -> None:
    labels = torch.zeros(101, 101, dtype=torch.uint8)
    labels[49:52, 80:85] = 1
    turning = replace(PLAIN, size=101, rotation=30.0, rotation_probability=1.0)
    angles = []
    for seed in range(60):
        found = apply(turning, torch.zeros(3, 101, 101, dtype=torch.uint8), labels, seed=seed)
        row, column = (found.labels == 1).nonzero().float().mean(0).tolist()
        angles.append(np.degrees(np.arctan2(row - 50, column - 50)))
    # A degree for the rounding of an object of 15 pixels.
    assert -31 < min(angles) < -20
    assert 20 < max(angles) < 31


def test_scaling_is_even_over_its_range() -> None:
    labels = torch.zeros(100, 100, dtype=torch.uint8)
    labels[30:70, 30:70] = 1
    scaling = replace(PLAIN, size=140, scale=(0.5, 1.3), keep_share=0.0)
    sides = [
        float((apply(scaling, torch.zeros(3, 100, 100, dtype=torch.uint8), labels, seed=seed).labels == 1).sum()) ** 0.5
        for seed in range(80)
    ]
    assert 19.5 <= min(sides) < 23
    assert 49 < max(sides) <= 52.5
    assert 33 < np.mean(sides) < 39


def test_threads_do_not_change_a_picture() -> None:
    scene, every = draw_scene(120, 170), Augmentation(size=96, rotation_probability=1.0, blur_probability=1.0)
    single = apply(every, *scene)
    try:
        torch.set_num_threads(3)
        several = apply(every, *scene)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(single.pixels, several.pixels)
    assert torch.equal(single.labels, several.labels)


def test_crops_of_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `size = 0`\. PFENet takes 473"):
        Augmentation(size=0)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.1, 0.9), (-1.0, 1.0)])
def test_factors_that_are_no_range_above_zero_are_refused(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"Found `scale = \(.*\)`\. Pass \(1, 1\) to leave sizes"):
        Augmentation(scale=scale)


@pytest.mark.parametrize("rotation", [-1.0, 181.0])
def test_angles_beyond_half_a_turn_are_refused(rotation: float) -> None:
    with pytest.raises(ValueError, match=rf"Found `rotation = {rotation}`\. Pass the largest angle"):
        Augmentation(rotation=rotation)


@pytest.mark.parametrize("name", ["rotation_probability", "blur_probability", "flip_probability", "keep_share"])
@pytest.mark.parametrize("share", [-0.1, 50.0])
def test_shares_outside_zero_and_one_are_refused(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=rf"Found `{name} = {share}`\. Pass a share, not a percentage"):
        replace(PLAIN, **{name: share})
