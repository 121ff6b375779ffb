import torch
from torch.testing import assert_close

from fewshot.data.transforms import CHANNEL_MEAN, CHANNEL_STD, MEAN_COLOUR, normalise_images, normalise_padded


def test_black_and_white_map_to_the_known_extremes() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 5)
    normalised = normalise_images(images)
    mean, std = torch.tensor(CHANNEL_MEAN), torch.tensor(CHANNEL_STD)
    assert_close(normalised[0, :, 0, 0], -mean / std)
    assert_close(normalised[1, :, 2, 3], (1 - mean) / std)
    assert normalised.dtype == torch.float32


def test_leading_dimensions_are_kept() -> None:
    images = torch.randint(0, 256, (2, 5, 3, 4, 4), dtype=torch.uint8)
    assert_close(normalise_images(images)[1, 3], normalise_images(images[1, 3]))


def test_the_mean_colour_is_the_nearest_to_zero_that_8_bits_have() -> None:
    images = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(3, 1, 1) + torch.tensor([-1, 0, 1]).byte()
    distance = normalise_images(images).abs()[:, 0]
    assert distance.argmin(-1).tolist() == [1, 1, 1]


def test_padding_becomes_exactly_zero_whatever_its_colour() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[0, :3, :2] = valid[1, 1:] = True
    padded = normalise_padded(images, valid)
    assert_close(padded[0, :, :3, :2], normalise_images(images[0, :, :3, :2]))
    assert_close(padded[1, :, 1:], normalise_images(images[1, :, 1:]))
    assert padded[0, :, 3:].eq(0).all()
    assert padded[0, :, :, 2:].eq(0).all()
    assert padded[1, :, :1].eq(0).all()
