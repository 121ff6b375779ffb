"""Evaluation on a fixed list of episodes: the same tasks for whatever is compared."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass

import torch
from tqdm import tqdm

from fewshot.data.sampling import EpisodeSpec
from fewshot.features import FeatureStore
from fewshot.metrics import Scores, SegmentationScore
from fewshot.model.cmnet import CMNet

EVALUATION_BATCH = 20


@dataclass(frozen=True)
class Evaluation:
    """What a network scored, and on what.

    Attributes:
        scores: IoUs and the counts behind them.
        shot: Support images in an episode.
        episodes: How many there were.
        episode_hash: Tells whether two evaluations were on the same episodes.
        resolution: At which pixels were counted: that of the images, always.
        ignored_pixels: What was done with pixels of unknown truth: dropped, always.
        seconds: Wall time.
    """

    scores: Scores
    shot: int
    episodes: int
    episode_hash: str
    seconds: float
    resolution: str = "original"
    ignored_pixels: str = "dropped"


def evaluate(
    network: CMNet, store: FeatureStore, specs: tuple[EpisodeSpec, ...], class_ids: tuple[int, ...], *, description: str
) -> Evaluation:
    """Segment the query of every episode and count.

    Args:
        network: What is evaluated; put in eval mode.
        store: Features of the images by the network's own backbone.
        specs: The episodes, all of one shot.
        class_ids: The classes that are scored.
        description: Name of the progress bar.

    Returns:
        Scores at the resolution of the images.

    Raises:
        ValueError: An episode is about another class, or a class has no episode.
    """
    score, start = SegmentationScore(class_ids), time.perf_counter()
    network.eval()
    with torch.inference_mode(), tqdm(total=len(specs), desc=description, unit="episode") as bar:
        for first in range(0, len(specs), EVALUATION_BATCH):
            batch = store.gather(specs[first : first + EVALUATION_BATCH])
            prediction = network.segment(batch.query, batch.supports, batch.support_masks)
            score.update(prediction.mask, batch.query_mask, batch.class_id)
            bar.update(len(batch.specs))
    return Evaluation(
        scores=score.compute(),
        shot=len(specs[0].supports),
        episodes=len(specs),
        episode_hash=hash_episodes(specs),
        seconds=time.perf_counter() - start,
    )


def hash_episodes(specs: tuple[EpisodeSpec, ...]) -> str:
    """Name a list of episodes: equal names, equal lists."""
    return hashlib.sha256(json.dumps([asdict(spec) for spec in specs]).encode()).hexdigest()[:16]
