"""Which episodes a step learns from: a pure function of its number, so that a training can go on from any step."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import DataLoader, Dataset, Sampler

from fewshot.data.sampling import EpisodeSampler, EpisodeSpec, hash_episodes
from fewshot.model.encoded import EncodedEpisode

_NAMED = 200
"""Episodes that stand for all others in the name of a sequence of them."""


@runtime_checkable
class BatchSource(Protocol):
    """Items by their numbers, from 0 without end, put together to a batch; equal numbers give equal batches."""

    def __getitem__(self, numbers: Sequence[int], /) -> object:
        """Put together the items of these numbers, as an object that can be moved by `to`."""
        ...

    @property
    def size(self) -> int:
        """Count the images of an epoch."""
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
    """A source as torch's loader wants it."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, numbers: Sequence[int]) -> Any:
        return self.source[numbers]


def load_batches(source: BatchSource, numbers: StepNumbers, *, workers: int) -> DataLoader[Any]:
    """Make a loader of the batches, each put together in one of `workers` processes, or in this one for 0."""
    return DataLoader(_Batches(source), batch_size=None, sampler=numbers, num_workers=workers)


@runtime_checkable
class Gatherer(Protocol):
    """Whatever has the features of the images of a pool, such as `FeatureStore`."""

    def gather(self, specs: Sequence[EpisodeSpec], /) -> EncodedEpisode:
        """Put together the features of some episodes."""
        ...


class FeatureBatches:
    """Episodes as features that were computed before: the fast way while backbone and images stay as they are."""

    def __init__(self, store: Gatherer, sampler: EpisodeSampler) -> None:
        """Say where features come from, and which episodes are drawn from the same pool."""
        self.store = store
        self.sampler = sampler

    def __getitem__(self, numbers: Sequence[int]) -> EncodedEpisode:
        """Put together the episodes of these numbers."""
        return self.store.gather(tuple(self.sampler.draw(number) for number in numbers))

    @property
    def size(self) -> int:
        """Count the images of the pool."""
        return len(self.sampler.pool.entries)

    def describe(self) -> dict[str, Any]:
        """Name the episodes."""
        return {"kind": "features", **describe_episodes(self.sampler)}


def describe_episodes(sampler: EpisodeSampler) -> dict[str, Any]:
    """Name what a sampler draws: its first episodes and the number of images stand for all."""
    return {
        "episodes": hash_episodes(sampler.pool, sampler.draw_many(0, _NAMED)),
        "images": len(sampler.pool.entries),
        "convention": sampler.pool.convention,
        "fold": sampler.pool.fold.number,
    }
