"""Which images make an episode: a pure function of (seed, index), so that two systems can be given the same tasks."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fewshot.data.synthetic import LabelledImages
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED, Episode

MIN_AREA = 120
"""Pixels of a class that an image must show to be a support or a query of it."""


@dataclass(frozen=True)
class EpisodeSpec:
    """One task by its numbers.

    Attributes:
        class_id: The class to segment.
        query: Number of the query image.
        supports: Numbers of the support images, none twice and none the query.
    """

    class_id: int
    query: int
    supports: tuple[int, ...]


class EpisodeSampler:
    """Draws episodes: a class uniformly, then a query that shows it, then `shot` other images that show it.

    Episode `index` of a sampler depends on the seed and on `index` only, not on what was drawn before. A sampler of
    more shots draws the same classes and queries and the same first supports.
    """

    def __init__(
        self,
        labels: UInt8[Tensor, "number height width"],
        class_ids: tuple[int, ...],
        *,
        shot: int = 1,
        seed: int = 0,
        min_area: int = MIN_AREA,
    ) -> None:
        """Index the images by what they show.

        Args:
            labels: Class of every pixel of every image.
            class_ids: The classes that episodes may be about, none 0 or `IGNORED`.
            shot: Support images in an episode, at least 1.
            seed: Which sequence of episodes to draw, at least 0.
            min_area: Pixels of a class from which on an image counts as showing it.

        Raises:
            ValueError: No class is given, `shot` is smaller than 1, a class is background or unknown, or some class
                has not more images than shots: an episode needs those and a query.
        """
        if not class_ids or not 0 < min(class_ids) <= max(class_ids) < IGNORED:
            raise ValueError(
                f"`class_ids` must name at least one class, all between 1 and {IGNORED - 1}. Found "
                f"`class_ids = {class_ids}`. Leave out background (0) and unknown ({IGNORED})."
            )
        if shot < 1:
            raise ValueError(f"`shot` must be at least 1. Found `shot = {shot}`. Pass 1 for one-shot episodes.")
        self.class_ids = class_ids
        self.shot = shot
        self.seed = seed
        self.images_of = {class_id: _images_showing(labels, class_id, min_area) for class_id in class_ids}
        for class_id, images in self.images_of.items():
            if len(images) <= shot:
                raise ValueError(
                    f"Every class must have at least `shot + 1 = {shot + 1}` images with {min_area} or more pixels of "
                    f"it. Found {len(images)} for class {class_id}. Lower `shot` or `min_area`, add images, or leave "
                    f"the class out of `class_ids`."
                )

    def draw(self, index: int) -> EpisodeSpec:
        """Draw episode number `index`, from 0."""
        rng = np.random.default_rng((self.seed, index))
        class_id = self.class_ids[rng.integers(len(self.class_ids))]
        # A permutation, cut: with more shots, the query and the first supports stay the same.
        query, *supports = rng.permutation(self.images_of[class_id])[: self.shot + 1].tolist()
        return EpisodeSpec(class_id, query, tuple(supports))

    def draw_many(self, start: int, count: int) -> tuple[EpisodeSpec, ...]:
        """Draw the `count` episodes from number `start` on."""
        return tuple(self.draw(index) for index in range(start, start + count))


def _images_showing(labels: UInt8[Tensor, "number height width"], class_id: int, min_area: int) -> list[int]:
    areas = (labels == class_id).sum(dim=(1, 2))
    return torch.nonzero(areas >= min_area).flatten().tolist()


def mask_of_class(
    labels: UInt8[Tensor, "*batch height width"], class_ids: Int[Tensor, "*#batch"]
) -> Int[Tensor, "*batch height width"]:
    """Reduce labels to a task's mask: 1 where the class is, 0 elsewhere, `IGNORED` where the label is unknown."""
    mask = (labels == class_ids[..., None, None]).long()
    return mask.masked_fill(labels == IGNORED, IGNORED)


def collate_episodes(data: LabelledImages, specs: tuple[EpisodeSpec, ...]) -> Episode:
    """Gather the images and masks of some tasks of equal shot into one batch."""
    query = torch.tensor([spec.query for spec in specs])
    supports = torch.tensor([spec.supports for spec in specs])
    class_id = torch.tensor([spec.class_id for spec in specs])
    return Episode(
        support_images=normalise_images(data.images[supports]),
        support_masks=mask_of_class(data.labels[supports], class_id[:, None]),
        query_image=normalise_images(data.images[query]),
        query_mask=mask_of_class(data.labels[query], class_id),
        class_id=class_id,
    )
