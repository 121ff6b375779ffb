"""Batches of episodes: tasks of equal shots and sizes, joined into one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from fewshot.data.episodes import TestEpisode
from fewshot.data.fitting import Placement
from fewshot.episode import Episode


@dataclass(frozen=True)
class TestBatch:
    """Episodes of a test together; truths keep their own sizes.

    Attributes:
        episode: Their tasks as one batch.
        truths: For each task, as in `TestEpisode`.
        placements: Likewise.
    """

    __test__ = False

    episode: Episode
    truths: tuple[UInt8[Tensor, "_ _"], ...]
    placements: tuple[Placement, ...]


def collate(episodes: Sequence[Episode]) -> Episode:
    """Make one batch of episodes of equal shots and sizes.

    Where only some of them are padded, the others' images are valid as a whole.

    Raises:
        ValueError: There is no episode, some have a truth or a class and others not, or shots or sizes differ.
    """
    if not episodes:
        raise ValueError("A batch must hold at least one episode. Found none. Leave the batch out.")
    shapes = {(tuple(each.support_images.shape[1:]), tuple(each.query_image.shape[1:])) for each in episodes}
    if len(shapes) > 1:
        raise ValueError(
            f"Episodes of a batch must be alike in shots and sizes. Found (supports, query) of {sorted(shapes)}. Bring "
            f"images to one size, and batch each number of shots for itself."
        )
    return Episode(
        support_images=torch.cat([each.support_images for each in episodes]),
        support_masks=torch.cat([each.support_masks for each in episodes]),
        query_image=torch.cat([each.query_image for each in episodes]),
        query_mask=_cat_given("query_mask", [each.query_mask for each in episodes]),
        support_valid=_cat_valid([(each.support_valid, each.support_masks) for each in episodes]),
        query_valid=_cat_valid([(each.query_valid, each.query_image[:, 0]) for each in episodes]),
        class_id=_cat_given("class_id", [each.class_id for each in episodes]),
    )


def collate_tests(tests: Sequence[TestEpisode]) -> TestBatch:
    """Make one batch of test episodes of equal shots and canvases, whatever the sizes of the truths.

    Raises:
        ValueError: As for `collate`.
    """
    return TestBatch(
        collate([each.episode for each in tests]),
        tuple(each.truth for each in tests),
        tuple(each.placement for each in tests),
    )


def _cat_given(name: str, values: list[Tensor | None]) -> Tensor | None:
    given = [value for value in values if value is not None]
    if len(given) not in (0, len(values)):
        raise ValueError(
            f"All episodes of a batch must have `{name}`, or none. Found it in {len(given)} of {len(values)}. Batch "
            f"those without it for themselves."
        )
    return torch.cat(given) if given else None


def _cat_valid(pairs: list[tuple[Tensor | None, Tensor]]) -> Tensor | None:
    """Join masks of valid pixels; each stands beside a tensor of its shape for the case that there is none."""
    if all(valid is None for valid, _ in pairs):
        return None
    return torch.cat([torch.ones_like(like, dtype=torch.bool) if valid is None else valid for valid, like in pairs])
