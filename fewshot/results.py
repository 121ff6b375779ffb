"""What evaluations gave, and the file that keeps it with everything that it depends on."""

import statistics
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fewshot.data.pools import EpisodePool
from fewshot.metrics import Scores
from fewshot.protocol import EvaluationConfig


class EpisodeResult(NamedTuple):
    """What one episode gave, at the resolution of the evaluation.

    Attributes:
        class_id: The class it was about.
        intersection: Pixels that are foreground both in truth and in prediction.
        union: Pixels that are foreground in truth or in prediction.
    """

    class_id: int
    intersection: int
    union: int


@dataclass(frozen=True)
class Evaluation:
    """What a network scored on one list of episodes.

    Attributes:
        scores: IoUs and the counts behind them.
        shot: Support images in an episode.
        seed: What the list was drawn from; None where it was given.
        episode_hash: Tells whether two evaluations were on the same episodes: only then may they be compared episode by
            episode.
        episodes: What each of them gave, in their order.
        seconds: Wall time.
    """

    scores: Scores
    shot: int
    seed: int | None
    episode_hash: str
    episodes: tuple[EpisodeResult, ...]
    seconds: float


@dataclass(frozen=True)
class Spread:
    """A score over several lists of episodes.

    Attributes:
        mean: Its mean, in per cent.
        std: Its standard deviation (of the sample, n - 1); None for a single list.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
class Evaluations:
    """What a network scored on all lists of episodes of a configuration.

    Attributes:
        config: What was evaluated on, and how.
        pool: What the episodes were drawn from.
        runs: One for each number of shots and each list, by shots.
    """

    config: EvaluationConfig
    pool: EpisodePool
    runs: tuple[Evaluation, ...]

    def summarise(self, shot: int, score: Literal["miou", "fb_iou", "episode_iou"] = "miou") -> Spread:
        """Give mean and standard deviation of a score over the lists of a number of shots."""
        values = [getattr(run.scores, score) for run in self.runs if run.shot == shot]
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
