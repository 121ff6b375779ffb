"""Which episodes a step learns from: a pure function of its number, so that a training can go on from any step."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fewshot.data.collation import collate
from fewshot.data.episode_lists import hash_episodes
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSampler
from fewshot.episode import Episode
from fewshot.evaluation.features import FeatureStore
from fewshot.model.cmnet import CMNet
from fewshot.model.encoded import EncodedEpisode

_NAMED = 200
"""Episodes that stand for all others in the name of a sequence of them."""


@runtime_checkable
class BatchSource(Protocol):
    """Items by their numbers, from 0 without end, put together to a batch; equal numbers give equal batches."""

    def __getitem__(self, numbers: Sequence[int], /) -> object:
        """Put together the items of these numbers, as an object that can be moved by `to`."""
        ...

    def describe(self) -> dict[str, Any]:
        """Say what the items depend on, as JSON can hold it, so that a training is never resumed on others."""
        ...


class StepNumbers(Sampler[tuple[int, ...]]):
    """The numbers of the items that a process takes in each step, from a first step to the last one.

    Step s of a training takes the items s · batch_size and following; every process takes its share of them.
    """

    def __init__(self, *, first: int, steps: int, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        """Plan the steps.

        Args:
            first: The step to begin with, counted from 0.
            steps: All steps of the training, those before `first` included.
            batch_size: Items in a step, over all processes.
            rank: Which process this is.
            processes: How many there are.

        Raises:
            ValueError: A batch cannot be shared evenly.
        """
        if batch_size % processes:
            raise ValueError(
                f"`batch_size` must be a multiple of the number of processes. Found `batch_size = {batch_size}` for "
                f"{processes} processes. Change one of them."
            )
        self.first = first
        self.steps = steps
        self.batch_size = batch_size
        self.share = batch_size // processes
        self.rank = rank

    def __len__(self) -> int:
        """Count all steps: Lightning compares it with its own count, which goes on from `first`."""
        return self.steps

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Go through the steps from `first` on."""
        for step in range(self.first, self.steps):
            start = step * self.batch_size + self.rank * self.share
            yield tuple(range(start, start + self.share))


class _Batches(Dataset[Any]):
    """A source as torch's loader wants it: in one part, or in several of equal size."""

    def __init__(self, source: BatchSource, portions: int) -> None:
        self.source, self.portions = source, portions

    def __getitem__(self, numbers: Sequence[int]) -> Any:
        if self.portions == 1:
            return self.source[numbers]
        size = len(numbers) // self.portions
        return [self.source[numbers[first : first + size]] for first in range(0, len(numbers), size)]


def load_batches(source: BatchSource, numbers: StepNumbers, *, workers: int) -> DataLoader[Any]:
    """Make a loader of the batches, each put together in one of `workers` processes, or in this one for 0."""
    return DataLoader(_Batches(source, 1), batch_size=None, sampler=numbers, num_workers=workers)


@dataclass(frozen=True)
class Portion:
    """A part of a process's share of a batch, as much as goes through the network at once.

    Attributes:
        content: The episodes.
        truths: Those of all parts of the share, in main memory: how many pixels of the whole batch are labelled must be
            known before the first part is learnt from.
    """

    content: Episode | EncodedEpisode
    truths: tuple[Tensor, ...]

    def to(self, device: torch.device | str) -> "Portion":
        """Copy the episodes to `device`."""
        return replace(self, content=self.content.to(device))


class Portions:
    """A loader of the portions of batches, one after another."""

    def __init__(self, source: BatchSource, numbers: StepNumbers, *, portions: int, workers: int) -> None:
        """Load nothing yet; the batches must have `portions` equal parts."""
        self.portions = portions
        self.batches = DataLoader(_Batches(source, portions), batch_size=None, sampler=numbers, num_workers=workers)

    def __len__(self) -> int:
        """Count the portions of all steps, as `StepNumbers` counts the steps."""
        return self.portions * len(self.batches)

    def __iter__(self) -> Iterator[Portion]:
        """Go through them."""
        for parts in self.batches:
            truths = tuple(part.query_mask for part in parts)
            yield from (Portion(part, truths) for part in parts)


class FeatureBatches:
    """Episodes as features that were computed before: the fast way while backbone and images stay as they are."""

    def __init__(self, store: FeatureStore, sampler: EpisodeSampler) -> None:
        """Say where features come from, and which episodes are drawn.

        Raises:
            ValueError: They are of different pools, whose images have different numbers.
        """
        if store.pool != sampler.pool:
            raise ValueError(
                f"Features and episodes must be of one pool. Found {len(store.pool.entries)} images with features and "
                f"{len(sampler.pool.entries)} to draw from, in fold {store.pool.fold.number} and fold "
                f"{sampler.pool.fold.number}. Load the features of the pool that the sampler draws from."
            )
        self.store = store
        self.sampler = sampler

    def __getitem__(self, numbers: Sequence[int]) -> EncodedEpisode:
        """Put together the episodes of these numbers."""
        return self.store.gather(tuple(self.sampler.draw(number) for number in numbers))

    @property
    def pool(self) -> EpisodePool:
        """What the episodes are drawn from."""
        return self.sampler.pool

    def check(self, network: CMNet, count: int) -> None:
        """Make sure that these are the features of the network's own backbone, and all that it needs.

        Raises:
            ValueError: They are not, or the backbone's statistics are to drift while the network trains.
        """
        self.store.check(network)
        if network.config.backbone_bn == "train":
            raise ValueError(
                "A backbone whose statistics drift must look at images in every step. Found `backbone_bn = 'train'` "
                "and features that were computed before. Train on `PixelBatches`, or set `backbone_bn` to 'eval'."
            )

    def describe(self) -> dict[str, Any]:
        """Name episodes and features."""
        named = {"kind": "features", "fit": asdict(self.store.fit), "backbone": self.store.backbone}
        return named | describe_episodes(self.sampler)


class PixelBatches:
    """Episodes as augmented images, which the backbone still has to look at."""

    def __init__(self, episodes: TrainingEpisodes) -> None:
        """Say where they come from; there must be as many as the training takes."""
        self.episodes = episodes

    def __getitem__(self, numbers: Sequence[int]) -> Episode:
        """Read, augment and put together the episodes of these numbers."""
        return collate([self.episodes[number] for number in numbers])

    @property
    def pool(self) -> EpisodePool:
        """What the episodes are drawn from."""
        return self.episodes.sampler.pool

    def check(self, network: CMNet, count: int) -> None:
        """Make sure that there are `count` episodes; every network can look at them.

        Raises:
            ValueError: There are fewer.
        """
        if len(self.episodes) < count:
            raise ValueError(
                f"There must be an episode for every place in every batch, {count} in all. Found {len(self.episodes)}. "
                f"Give the episodes a `length` of `config.count_steps(pool) * config.batch_size`."
            )

    def describe(self) -> dict[str, Any]:
        """Name episodes and augmentation."""
        named = {"kind": "pixels", "augmentation": asdict(self.episodes.augmentation), "drawn by": self.episodes.seed}
        return named | describe_episodes(self.episodes.sampler)


def describe_episodes(sampler: EpisodeSampler) -> dict[str, Any]:
    """Name what a sampler draws: its first episodes and the number of images stand for all."""
    return {
        "episodes": hash_episodes(sampler.pool, sampler.draw_many(0, _NAMED)),
        "images": len(sampler.pool.entries),
        "convention": sampler.pool.convention,
        "fold": sampler.pool.fold.number,
    }
