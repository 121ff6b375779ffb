"""Evaluation on episodes of unseen classes: the same tasks, counted in the same way, for whatever is compared."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from fewshot.data.collation import collate_tests
from fewshot.data.dataset import DataSet
from fewshot.data.episodes import TestEpisodes
from fewshot.data.fitting import Placement, fitted_size, resize_labels, restore_logits
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.episode import Episode
from fewshot.evaluation.description import describe_data, describe_environment, describe_network
from fewshot.evaluation.extraction import MAX_BYTES, load_features, measure_features
from fewshot.evaluation.features import FeatureStore
from fewshot.evaluation.metrics import FOREGROUND, SegmentationScore, sum_over_ranks
from fewshot.evaluation.protocol import EpisodeList, EvaluationConfig, list_episodes, open_pool
from fewshot.evaluation.results import EpisodeResult, Evaluation, Origin, Result
from fewshot.model.cmnet import CMNet
from fewshot.model.encoded import EncodedEpisode
from fewshot.processes import find_rank

logger = logging.getLogger(__name__)


class _Batch(NamedTuple):
    """Episodes on their way into the network, and what they are scored against."""

    task: Episode | EncodedEpisode
    truths: tuple[UInt8[Tensor, "_ _"], ...]
    placements: tuple[Placement, ...]


def evaluate(
    network: CMNet,
    dataset: DataSet,
    episodes: EpisodeList,
    config: EvaluationConfig,
    *,
    store: FeatureStore | None = None,
) -> Evaluation:
    """Segment the query of every episode and count, with a progress bar.

    Processes of a `torch.distributed` group share the batches, and all of them get the scores of all episodes, which
    are those of a single process: what is in a batch depends neither on processes nor on workers.

    Args:
        network: What is evaluated, on its own device, in eval mode for the time being.
        dataset: Where the images are.
        episodes: What it is evaluated on.
        config: How.
        store: Features of the pool's images by the network's own backbone, in place of reading images and running it.
            The scores are the same up to the rounding of features to float16.

    Raises:
        ValueError: The store is of another pool, fit or backbone, or lacks what the network needs.
        UnreadableImageError: An image cannot be read.
    """
    start = time.perf_counter()
    rank, processes = find_rank()
    device = next(network.parameters()).device
    total = len(episodes.specs)
    shares = [list(range(total)[first : first + config.batch_size]) for first in range(0, total, config.batch_size)]
    own = shares[rank::processes]
    if store is None:
        batches = _read_batches(dataset, episodes, config, own)
    else:
        _check_store(store, network, episodes, config)
        batches = _gather_batches(store, episodes, config, own)
    score = SegmentationScore(tuple(episodes.pool.images_of), void=config.void)
    counts = torch.zeros(total, 2, dtype=torch.int64)
    with _prepared(network, config), _open_bar(episodes, own, hidden=rank > 0) as bar:
        for numbers, batch in zip(own, batches, strict=True):
            task = batch.task.to(device)
            encoded = task if isinstance(task, EncodedEpisode) else network.encode(task)
            logits = network.segment(encoded).logits
            for number, one, truth, placement in zip(numbers, logits, batch.truths, batch.placements, strict=True):
                found, true = _resize(one, truth.to(device), placement, config)
                class_id = torch.tensor([episodes.specs[number].class_id])
                counts[number] = score.update(found[None], true[None], class_id)[0, FOREGROUND]
            bar.update(len(numbers))
    scores = score.sum_over_ranks(device).compute()
    pixels = sum_over_ranks(counts, device).tolist()
    return Evaluation(
        scores=scores,
        shot=episodes.shot,
        seed=episodes.seed,
        episode_hash=episodes.digest,
        episodes=tuple(EpisodeResult(spec.class_id, *one) for spec, one in zip(episodes.specs, pixels, strict=True)),
        seconds=time.perf_counter() - start,
    )


def evaluate_fold(
    network: CMNet, dataset: DataSet, fold: int, config: EvaluationConfig, *, origin: Origin, cache: Path | None = None
) -> Result:
    """Evaluate on all lists of episodes of a configuration.

    Args:
        network: What is evaluated.
        dataset: Where the images are.
        fold: Number of the fold.
        config: What it is evaluated on, and how.
        origin: Where the network's weights come from, to stand in the result.
        cache: Folder of features that are computed once. None, as well as features of more than `MAX_BYTES`, reads
            images and runs the backbone in every episode; scores are the same up to the rounding of features.

    Raises:
        ValueError: There is no such fold, the classes have too few images, or as for `evaluate`.
        FileNotFoundError: Files of the data set or the `episodes_file` are missing.
    """
    prepared = prepare_evaluation(network, dataset, fold, config, cache=cache)
    if config.episodes_folder is not None:
        for one in prepared.lists:
            one.save(config.episodes_folder)
    runs = tuple(evaluate(network, dataset, one, config, store=prepared.store) for one in prepared.lists)
    return Result(
        runs=runs,
        protocol=config.describe(),
        data=describe_data(dataset, prepared.index, prepared.pool),
        network=describe_network(network),
        origin=origin,
        environment=describe_environment(next(network.parameters()).device),
    )


@dataclass(frozen=True)
class PreparedEvaluation:
    """What an evaluation needs beside the network, for as many times as the network is scored.

    Attributes:
        index: The data set.
        pool: What the episodes are drawn from.
        lists: The episodes.
        store: Features of the pool by the network's backbone; None where images are read.
    """

    index: Index
    pool: EpisodePool
    lists: tuple[EpisodeList, ...]
    store: FeatureStore | None


def prepare_evaluation(
    network: CMNet, dataset: DataSet, fold: int, config: EvaluationConfig, *, cache: Path | None
) -> PreparedEvaluation:
    """Load what an evaluation needs; arguments and errors are those of `evaluate_fold`."""
    index = dataset.load_index(fold)
    pool = open_pool(dataset, index, fold, config)
    # Before anything is computed: this refuses classes with too few images.
    lists = list_episodes(pool, config)
    store = None if cache is None else _load_store(network, dataset, pool, config, cache, index.val.digest)
    return PreparedEvaluation(index, pool, lists, store)


def _load_store(
    network: CMNet, dataset: DataSet, pool: EpisodePool, config: EvaluationConfig, cache: Path, digest: str
) -> FeatureStore | None:
    """Load the features of a pool; None, with a note in the log, where they are too large to be kept."""
    needed = measure_features(network, pool, config.fit)
    if needed > MAX_BYTES:
        logger.info(
            "Features of %d images would take %.1f GiB, more than the %.1f GiB that are kept. Evaluating from images.",
            len(pool.entries),
            needed / 2**30,
            MAX_BYTES / 2**30,
        )
        return None
    return load_features(network, dataset, pool, config.fit, digest=digest, cache=cache, workers=config.workers)


def _read_batches(
    dataset: DataSet, episodes: EpisodeList, config: EvaluationConfig, shares: list[list[int]]
) -> Iterator[_Batch]:
    tests = TestEpisodes(dataset, episodes.pool, episodes.specs, config.fit, config.annotation)
    loader = DataLoader(tests, batch_sampler=shares, num_workers=config.workers, collate_fn=collate_tests)
    return (_Batch(batch.episode, batch.truths, batch.placements) for batch in loader)


def _gather_batches(
    store: FeatureStore, episodes: EpisodeList, config: EvaluationConfig, shares: list[list[int]]
) -> Iterator[_Batch]:
    for numbers in shares:
        specs = tuple(episodes.specs[number] for number in numbers)
        truths = tuple(store.truth(spec) for spec in specs)
        placements = tuple(store.placement(spec) for spec in specs)
        yield _Batch(store.gather(specs, config.annotation), truths, placements)


def _open_bar(episodes: EpisodeList, shares: list[list[int]], *, hidden: bool) -> tqdm:
    drawn = "" if episodes.seed is None else f", seed {episodes.seed}"
    total = sum(len(numbers) for numbers in shares)
    return tqdm(total=total, desc=f"{episodes.shot}-shot{drawn}", unit="episode", disable=hidden)


def _resize(
    logits: Float[Tensor, "2 side side"],
    truth: UInt8[Tensor, "height width"],
    placement: Placement,
    config: EvaluationConfig,
) -> tuple[Integer[Tensor, "rows columns"], UInt8[Tensor, "rows columns"]]:
    """Bring prediction and truth to where pixels are counted."""
    size = placement.original_size
    if config.resolution != "original":
        size = fitted_size(*size, replace(config.fit, size=config.resolution))
    return restore_logits(logits, placement, size).argmax(0), resize_labels(truth, size)


def _check_store(store: FeatureStore, network: CMNet, episodes: EpisodeList, config: EvaluationConfig) -> None:
    if store.pool != episodes.pool or store.fit != config.fit:
        raise ValueError(
            f"A store of features must be made from the pool of the episodes, by the fit of the evaluation. Found "
            f"{store.fit} and {len(store.pool.entries)} images for {config.fit} and {len(episodes.pool.entries)}. "
            f"Load the features by `load_features` with the same pool and fit."
        )
    store.check(network)


@contextmanager
def _prepared(network: CMNet, config: EvaluationConfig) -> Iterator[None]:
    """Put a network in eval mode, without gradients and in the precision asked for, and back."""
    training = network.training
    device = next(network.parameters()).device
    network.eval()
    try:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        ):
            yield
    finally:
        network.train(training)
