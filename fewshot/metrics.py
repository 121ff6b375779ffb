"""Scores of few-shot segmentation: intersections and unions counted over all episodes, divided once at the end.

    IoU_c = TP_c / (TP_c + FP_c + FN_c)        mIoU = mean of IoU_c over the classes
    FB-IoU = (IoU of foreground + IoU of background) / 2, classes ignored

After equations 9-11 of the paper. Pixels whose truth is `IGNORED` are dropped before anything is counted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from fewshot.episode import IGNORED

BACKGROUND, FOREGROUND = 0, 1


@dataclass(frozen=True)
class Scores:
    """What a set of episodes gave; IoUs are percentages in [0, 100].

    Attributes:
        miou: Mean of the foreground IoUs of the classes.
        fb_iou: Mean of the IoUs of foreground and background over all episodes.
        class_iou: Foreground IoU of each class.
        class_intersection: Pixels that are foreground both in truth and in prediction, for each class.
        class_union: Pixels that are foreground in truth or in prediction, for each class.
        class_episodes: Episodes of each class.
        intersection: The same counts over all episodes, (background, foreground).
        union: Likewise.
    """

    miou: float
    fb_iou: float
    class_iou: dict[int, float]
    class_intersection: dict[int, int]
    class_union: dict[int, int]
    class_episodes: dict[int, int]
    intersection: tuple[int, int]
    union: tuple[int, int]


class SegmentationScore:
    """Collects counts, batch by batch, and turns them into scores; counts are exact (int64)."""

    def __init__(self, class_ids: tuple[int, ...]) -> None:
        """Start with no episodes.

        Args:
            class_ids: The classes that the scores are about, none twice.

        Raises:
            ValueError: No class is given, or one is given twice.
        """
        if not class_ids or len(set(class_ids)) != len(class_ids):
            raise ValueError(
                f"`class_ids` must name at least one class and none twice. Found `class_ids = {class_ids}`. Pass the "
                f"classes that the episodes are drawn from."
            )
        self.class_ids = class_ids
        self.intersection = torch.zeros(len(class_ids), 2, dtype=torch.int64)
        self.union = torch.zeros(len(class_ids), 2, dtype=torch.int64)
        self.episodes = torch.zeros(len(class_ids), dtype=torch.int64)

    def update(
        self,
        prediction: Int[Tensor, "batch height width"],
        truth: Int[Tensor, "batch height width"],
        class_id: Int[Tensor, " batch"],
    ) -> None:
        """Count some episodes.

        Args:
            prediction: 1 on what was found, 0 elsewhere.
            truth: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
            class_id: The class of each episode.

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
        rows = torch.tensor([row_of[known] for known in class_id.tolist()])
        known = truth != IGNORED
        for side in (BACKGROUND, FOREGROUND):
            found, there = (prediction == side) & known, truth == side
            self.intersection[:, side].index_add_(0, rows, (found & there).sum(dim=(1, 2)).cpu())
            self.union[:, side].index_add_(0, rows, (found | there).sum(dim=(1, 2)).cpu())
        self.episodes.index_add_(0, rows, torch.ones_like(rows))

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
        iou = 100.0 * self.intersection.double() / self.union.clamp(min=1).double()
        both_intersection, both_union = self.intersection.sum(dim=0), self.union.sum(dim=0)
        sides = 100.0 * both_intersection.double() / both_union.clamp(min=1).double()
        return Scores(
            miou=iou[:, FOREGROUND].mean().item(),
            fb_iou=sides.mean().item(),
            class_iou=dict(zip(self.class_ids, iou[:, FOREGROUND].tolist(), strict=True)),
            class_intersection=dict(zip(self.class_ids, self.intersection[:, FOREGROUND].tolist(), strict=True)),
            class_union=dict(zip(self.class_ids, self.union[:, FOREGROUND].tolist(), strict=True)),
            class_episodes=dict(zip(self.class_ids, self.episodes.tolist(), strict=True)),
            intersection=(int(both_intersection[BACKGROUND]), int(both_intersection[FOREGROUND])),
            union=(int(both_union[BACKGROUND]), int(both_union[FOREGROUND])),
        )
