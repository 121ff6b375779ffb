"""A scene with an object, unknown pixels and colours that tell where a pixel came from."""

import torch
from torch import Tensor

from fewshot.data.augmentation import Augmentation, AugmentedImage, augment, make_generator
from fewshot.episode import IGNORED

PLAIN = Augmentation(size=48, scale=(1.0, 1.0), rotation_probability=0.0, blur_probability=0.0, flip_probability=0.0)
"""Nothing but the crop."""
BLUE, RED = (20, 60, 220), (230, 40, 30)


def draw_scene(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A red object of class 1 in the middle of a blue picture, under it a band of unknown pixels."""
    image = torch.tensor(BLUE, dtype=torch.uint8).view(3, 1, 1).repeat(1, height, width)
    labels = torch.zeros(height, width, dtype=torch.uint8)
    inside = (slice(height // 4, height // 2), slice(width // 4, width // 2))
    image[:, *inside] = torch.tensor(RED, dtype=torch.uint8).view(3, 1, 1)
    labels[inside] = 1
    labels[height // 2 : height // 2 + 3] = IGNORED
    return image, labels


def apply(augmentation: Augmentation, image: Tensor, labels: Tensor, *, seed: int = 0) -> AugmentedImage:
    return augment(image, labels, augmentation, make_generator(seed))
