import torch
from torch.testing import assert_close

from fewshot.data.transforms import CHANNEL_MEAN, CHANNEL_STD, normalise_images


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
