"""What evaluations gave, and the file that keeps it with everything that it depends on."""

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fewshot.data.storage import DIGEST, DamagedFileError, write_whole
from fewshot.evaluation.description import to_plain
from fewshot.evaluation.metrics import Scores

SCHEMA = 1
"""Of the file's layout; raised whenever an older reader would misread it."""

ScoreName = Literal["miou", "fb_iou", "episode_iou"]


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

    @property
    def iou(self) -> float:
        """Give the episode's own IoU, in per cent; 0 where there is neither truth nor prediction."""
        return 100.0 * self.intersection / max(self.union, 1)


@dataclass(frozen=True)
class Evaluation:
    """What a network scored on one list of episodes.

    Attributes:
        scores: IoUs and the counts behind them.
        shot: Support images in an episode.
        seed: What the list was drawn by; None where it was given.
        episode_hash: Tells whether two evaluations were on the same episodes: only then may they be compared episode
            by episode.
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
        std: Its standard deviation (of the sample: over n - 1); None for a single list.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
class Origin:
    """Where the evaluated weights come from, as far as a reader of their score must know.

    Attributes:
        selection: How they were chosen among those of a training: `last`, or by the score on what.
        convention: What became of held-out objects in training images; None where nothing was trained.
        settings: The whole resolved configuration of the training, as JSON can hold it.
    """

    selection: str
    convention: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a network scored on all lists of episodes of an evaluation, and everything that this depends on.

    Attributes:
        runs: One for each number of shots and each list.
        protocol: The resolved `EvaluationConfig`.
        data: The data set: `type`, its `fields`, hashes of its lists, fold, and the classes by name.
        network: Its configuration, and hashes of all its weights and of the backbone's.
        origin: Where the weights come from.
        environment: Versions, commit and machine.
    """

    runs: tuple[Evaluation, ...]
    protocol: Mapping[str, Any]
    data: Mapping[str, Any]
    network: Mapping[str, Any]
    origin: Origin
    environment: Mapping[str, Any]

    @property
    def shots(self) -> tuple[int, ...]:
        """List the numbers of shots."""
        return tuple(dict.fromkeys(run.shot for run in self.runs))

    def summarise(self, shot: int, score: ScoreName = "miou") -> Spread:
        """Give mean and standard deviation of a score over the lists of a number of shots.

        Raises:
            ValueError: No run is of that number of shots.
        """
        values = [getattr(run.scores, score) for run in self.runs if run.shot == shot]
        if not values:
            raise ValueError(
                f"`shot` must be a number that was evaluated with. Found {shot}, which is none of {self.shots}. "
                f"Evaluate with it too."
            )
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON; the file appears only when it is complete."""
    names: tuple[ScoreName, ...] = ("miou", "fb_iou", "episode_iou")
    summary = {shot: {name: asdict(result.summarise(shot, name)) for name in names} for shot in result.shots}
    content = to_plain({"schema": SCHEMA, "summary": summary, **asdict(result)})
    content[DIGEST] = _hash(content)
    # A line for each part: readable, though there are thousands of episodes.
    lines = [f"{json.dumps(name)}: {_to_text(value)}" for name, value in content.items()]
    write_whole(path, ("{" + ",\n".join(lines) + "}\n").encode())


def read_result(path: Path) -> Result:
    """Read what `write_result` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: The file is cut short, altered, or no result.
        ValueError: Another version wrote it.
    """
    try:
        content = json.loads(path.read_bytes())
        schema, expected = content["schema"], content.pop(DIGEST)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"A result must be a file that is there. Found nothing at {path}. Write it by `fewshot evaluate`."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"no result or half of one ({type(error).__name__}: {error})") from error
    if schema != SCHEMA:
        raise ValueError(
            f"A result must be of schema {SCHEMA}. Found schema {schema} in {path}. Read it by the version that wrote "
            f"it, or evaluate again."
        )
    if _hash(content) != expected:
        raise _damaged(path, "other content")
    return Result(
        runs=tuple(_read_run(run) for run in content["runs"]),
        protocol=content["protocol"],
        data=content["data"],
        network=content["network"],
        origin=Origin(**content["origin"]),
        environment=content["environment"],
    )


def _read_run(run: Mapping[str, Any]) -> Evaluation:
    scores: dict[str, Any] = dict(run["scores"])
    for name, value in scores.items():
        if isinstance(value, dict):
            # JSON turns the classes into texts.
            scores[name] = {int(class_id): one for class_id, one in value.items()}
        elif isinstance(value, list):
            scores[name] = tuple(value)
    episodes = tuple(EpisodeResult(*one) for one in run["episodes"])
    return Evaluation(**{**run, "scores": Scores(**scores), "episodes": episodes})


def _to_text(content: object) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, found: str) -> DamagedFileError:
    return DamagedFileError(
        f"A result must hold what its hash says. Found {found} in {path}. Evaluate again, or restore the file."
    )
