"""Scores of few-shot segmentation: intersections and unions counted over all episodes, divided once at the end.

    IoU_c = TP_c / (TP_c + FP_c + FN_c)        mIoU = mean of IoU_c over the classes
    FB-IoU = (IoU of foreground + IoU of background) / 2, classes ignored

After equations 9-11 of the paper. Everything that is summed is an integer, so that neither the order of the episodes
nor the processes they were spread over can change a score.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int, Integer
from torch import Tensor, distributed

from fewshot.episode import IGNORED

BACKGROUND, FOREGROUND = 0, 1

Void = Literal["ignore", "background"]
"""What becomes of pixels whose truth is `IGNORED`.

`ignore`: they are dropped before anything is counted (PFENet, HSNet and what builds on them). `background`: they count
as background, so that finding an object's border too is punished; for comparison with scores made that way.
"""

_IOU_UNITS = 2**32
"""IoUs of single episodes are summed in units of 1 / 2^32, as integers: a sum of floats depends on its order."""


@dataclass(frozen=True)
class Scores:
    """What a set of episodes gave; IoUs are percentages in [0, 100].

    Attributes:
        miou: Mean of the foreground IoUs of the classes; the score that is meant where only one is named.
        fb_iou: Mean of the IoUs of foreground and background over all episodes.
        episode_iou: Mean of the foreground IoUs of the single episodes, called P-IoU by some papers on FSS-1000. Small
            objects weigh more in it and frequent classes too; comparable with nothing but itself.
        class_iou: Foreground IoU of each class.
        class_intersection: Pixels that are foreground both in truth and in prediction, for each class.
        class_union: Pixels that are foreground in truth or in prediction, for each class.
        class_episodes: Episodes of each class.
        intersection: The same counts over all episodes, (background, foreground).
        union: Likewise.
    """

    miou: float
    fb_iou: float
    episode_iou: float
    class_iou: dict[int, float]
    class_intersection: dict[int, int]
    class_union: dict[int, int]
    class_episodes: dict[int, int]
    intersection: tuple[int, int]
    union: tuple[int, int]


def count_overlap(
    prediction: Integer[Tensor, "batch height width"], truth: Integer[Tensor, "batch height width"], *, void: Void
) -> Int[Tensor, "batch side=2 what=2"]:
    """Count intersection and union of background (side 0) and foreground (side 1) in each of some episodes.

    Args:
        prediction: 1 on what was found, 0 elsewhere.
        truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        void: What becomes of unknown pixels.

    Returns:
        Numbers of pixels on the device of the prediction, intersection before union.
    """
    if void == "background":
        truth = truth.masked_fill(truth == IGNORED, BACKGROUND)
    known = truth != IGNORED
    counts = []
    for side in (BACKGROUND, FOREGROUND):
        found, there = (prediction == side) & known, truth == side
        counts.append(torch.stack([(found & there).sum((1, 2)), (found | there).sum((1, 2))], dim=-1))
    return torch.stack(counts, dim=1)


class SegmentationScore:
    """Collects counts, batch by batch, and turns them into scores; counts are exact (int64).

    Attributes:
        class_ids: The classes that the scores are about.
        counts: Pixels of each class so far: background and foreground, intersection and union.
        episodes: Episodes of each class so far.
    """

    def __init__(self, class_ids: tuple[int, ...], *, void: Void = "ignore") -> None:
        """Start with no episodes.

        Args:
            class_ids: The classes that the scores are about, none twice.
            void: What becomes of pixels whose truth is `IGNORED`.

        Raises:
            ValueError: No class is given, or one twice.
        """
        if not class_ids or len(set(class_ids)) != len(class_ids):
            raise ValueError(
                f"`class_ids` must name at least one class and none twice. Found `class_ids = {class_ids}`. Pass the "
                f"classes that the episodes are drawn from."
            )
        self.class_ids = class_ids
        self.void: Void = void
        self.counts = torch.zeros(len(class_ids), 2, 2, dtype=torch.int64)
        self.episodes = torch.zeros(len(class_ids), dtype=torch.int64)
        self._episode_iou = torch.zeros((), dtype=torch.int64)

    def update(
        self,
        prediction: Integer[Tensor, "batch height width"],
        truth: Integer[Tensor, "batch height width"],
        class_id: Int[Tensor, " batch"],
    ) -> Int[Tensor, "batch side=2 what=2"]:
        """Count some episodes whose queries are of one size, or a single one.

        Args:
            prediction: 1 on what was found, 0 elsewhere.
            truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
            class_id: The class of each episode.

        Returns:
            The counts of each episode, as `count_overlap` gives them, in main memory.

        Raises:
            ValueError: An episode's class is none of `class_ids`.
        """
        row_of = {known: row for row, known in enumerate(self.class_ids)}
        unknown = [known for known in class_id.tolist() if known not in row_of]
        if unknown:
            raise ValueError(
                f"Every episode must be about one of the `class_ids` of this score. Found class {unknown[0]}, "
                f"which is none of {self.class_ids}. Draw the episodes from the classes that are scored."
            )
        counts = count_overlap(prediction, truth, void=self.void).cpu()
        rows = torch.tensor([row_of[known] for known in class_id.tolist()])
        self.counts.index_add_(0, rows, counts)
        self.episodes.index_add_(0, rows, torch.ones_like(rows))
        self._episode_iou += _divide(counts[:, FOREGROUND]).mul(_IOU_UNITS).round().long().sum()
        return counts

    def sum_over_ranks(self, device: torch.device | str = "cpu") -> "SegmentationScore":
        """Give the score of the episodes of all processes of the default group; every one of them must call this.

        Args:
            device: Where the sum is made: the process's GPU for NCCL, which moves nothing else.

        Returns:
            A new score with the sums of all counts; this one's where there is no group.
        """
        total = SegmentationScore(self.class_ids, void=self.void)
        total.counts = sum_over_ranks(self.counts, device)
        total.episodes = sum_over_ranks(self.episodes, device)
        total._episode_iou = sum_over_ranks(self._episode_iou, device)
        return total

    def compute(self) -> Scores:
        """Divide the counts.

        Returns:
            The scores over all episodes so far. A side that is neither in any truth nor in any prediction has IoU 0.

        Raises:
            ValueError: Some class has had no episode, so that a mean over the classes means nothing.
        """
        absent = [class_id for class_id, count in zip(self.class_ids, self.episodes.tolist(), strict=True) if not count]
        if absent:
            raise ValueError(
                f"Every class must have at least one episode before scores are computed. Found none for classes "
                f"{absent}. Evaluate more episodes, or score only the classes that occur."
            )
        iou = 100.0 * _divide(self.counts[:, FOREGROUND])
        sides = self.counts.sum(dim=0)
        intersection, union = self.counts[:, FOREGROUND].T.tolist()
        return Scores(
            miou=iou.mean().item(),
            fb_iou=100.0 * _divide(sides).mean().item(),
            episode_iou=100.0 * self._episode_iou.item() / (_IOU_UNITS * int(self.episodes.sum())),
            class_iou=dict(zip(self.class_ids, iou.tolist(), strict=True)),
            class_intersection=dict(zip(self.class_ids, intersection, strict=True)),
            class_union=dict(zip(self.class_ids, union, strict=True)),
            class_episodes=dict(zip(self.class_ids, self.episodes.tolist(), strict=True)),
            intersection=(int(sides[BACKGROUND, 0]), int(sides[FOREGROUND, 0])),
            union=(int(sides[BACKGROUND, 1]), int(sides[FOREGROUND, 1])),
        )


def sum_over_ranks(counts: Int[Tensor, "*shape"], device: torch.device | str = "cpu") -> Int[Tensor, "*shape"]:
    """Add up the counts of all processes of the default group, exactly; a copy where there is no group.

    Args:
        counts: Those of this process, of one shape on all of them.
        device: Where the sum is made: the process's GPU for NCCL, which moves nothing else.

    Returns:
        The sum, in main memory.
    """
    total = counts.to(device, copy=True)
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
    return total.cpu()


def _divide(counts: Int[Tensor, "_ what=2"]) -> Tensor:
    """Give IoU in [0, 1], float64; 0 for an empty union."""
    return counts[:, 0].double() / counts[:, 1].clamp(min=1).double()
