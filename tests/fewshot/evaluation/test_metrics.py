import pytest
import torch
from torch import Tensor

from fewshot.episode import IGNORED
from fewshot.evaluation.metrics import SegmentationScore, count_overlap, sum_over_ranks

CLASSES = (1, 2)


def rows(*pixels: list[int]) -> Tensor:
    """Make images of one row."""
    return torch.tensor(pixels)[:, None]


TRUTH = rows([1, 1, 0, IGNORED], [1, 0, 0, 0], [0, 1, 1, 0])
PREDICTION = rows([1, 0, 0, 1], [1, 1, 1, 0], [0, 1, 1, 0])
CLASS_ID = torch.tensor([1, 1, 2])


@pytest.fixture
def score() -> SegmentationScore:
    """Three episodes that were counted by hand."""
    score = SegmentationScore(CLASSES)
    score.update(PREDICTION, TRUTH, CLASS_ID)
    return score


def test_class_iou_divides_summed_counts_once(score: SegmentationScore) -> None:
    scores = score.compute()
    assert scores.class_intersection == {1: 2, 2: 2}
    assert scores.class_union == {1: 5, 2: 2}
    assert scores.class_iou == {1: 40.0, 2: 100.0}
    assert scores.class_iou[1] != pytest.approx((100 / 2 + 100 / 3) / 2), "no mean over episodes"


def test_miou_is_the_mean_over_classes(score: SegmentationScore) -> None:
    assert score.compute().miou == 70.0


def test_fb_iou_ignores_classes_and_averages_both_sides(score: SegmentationScore) -> None:
    scores = score.compute()
    assert scores.intersection == (4, 4)
    assert scores.union == (7, 7)
    assert scores.fb_iou == pytest.approx(400 / 7)


def test_episodes_are_counted_by_class(score: SegmentationScore) -> None:
    assert score.compute().class_episodes == {1: 2, 2: 1}


def test_one_by_one_counts_like_all_at_once(score: SegmentationScore) -> None:
    streamed = SegmentationScore(CLASSES)
    for index in range(3):
        streamed.update(PREDICTION[[index]], TRUTH[[index]], CLASS_ID[[index]])
    assert streamed.compute() == score.compute()


def test_mean_over_episodes_stands_beside_and_is_another_number(score: SegmentationScore) -> None:
    assert score.compute().episode_iou == pytest.approx(100 * (1 / 2 + 1 / 3 + 1) / 3)


def test_mean_over_episodes_does_not_depend_on_their_order() -> None:
    truth = (torch.rand(50, 7, 9) < 0.3).long()
    prediction, class_id = (torch.rand(50, 7, 9) < 0.4).long(), torch.ones(50, dtype=torch.int64)
    forth, back = SegmentationScore((1,)), SegmentationScore((1,))
    forth.update(prediction, truth, class_id)
    back.update(prediction.flip(0), truth.flip(0), class_id)
    assert forth.compute() == back.compute()


def test_episodes_may_have_sizes_of_their_own() -> None:
    score = SegmentationScore((1,))
    score.update(torch.ones(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, 3, dtype=torch.uint8), torch.tensor([1]))
    score.update(torch.ones(2, 4, 1, dtype=torch.int64), torch.zeros(2, 4, 1, dtype=torch.uint8), torch.tensor([1, 1]))
    assert score.compute().class_iou == {1: 100 * 6 / 14}


def test_update_gives_the_counts_of_each_episode() -> None:
    counts = SegmentationScore(CLASSES).update(PREDICTION, TRUTH, CLASS_ID)
    assert counts[:, 1].tolist() == [[1, 2], [1, 3], [2, 2]], "intersection and union of the foreground"
    assert counts[:, 0].tolist() == [[1, 2], [1, 3], [2, 2]], "and of the background"


def test_unknown_pixels_may_count_as_background() -> None:
    counts = count_overlap(PREDICTION, TRUTH, void="background")
    assert counts[0].tolist() == [[1, 3], [1, 3]], "what was found on the unknown pixel is wrong now"
    score = SegmentationScore(CLASSES, void="background")
    score.update(PREDICTION, TRUTH, CLASS_ID)
    assert score.compute().class_union == {1: 6, 2: 2}


def test_without_a_group_of_processes_the_sum_is_the_score_itself(score: SegmentationScore) -> None:
    total = score.sum_over_ranks()
    assert total.compute() == score.compute()
    counts = torch.tensor([[1, 2]])
    assert torch.equal(sum_over_ranks(counts), counts)
    assert sum_over_ranks(counts).data_ptr() != counts.data_ptr()


def test_prediction_on_unknown_pixels_changes_nothing(score: SegmentationScore) -> None:
    flipped = torch.where(TRUTH == IGNORED, 1 - PREDICTION, PREDICTION)
    other = SegmentationScore(CLASSES)
    other.update(flipped, TRUTH, CLASS_ID)
    assert other.compute() == score.compute()


def test_perfect_and_empty_predictions_have_the_known_scores() -> None:
    truth = rows([0, 1, 1, 0])
    perfect, empty = SegmentationScore((3,)), SegmentationScore((3,))
    perfect.update(truth, truth, torch.tensor([3]))
    empty.update(torch.zeros_like(truth), truth, torch.tensor([3]))
    assert (perfect.compute().miou, perfect.compute().fb_iou) == (100.0, 100.0)
    assert (empty.compute().miou, empty.compute().fb_iou) == (0.0, 25.0)


def test_counts_do_not_lose_single_pixels() -> None:
    score = SegmentationScore((1,))
    score.counts[0, 1, 1] = 2**40
    score.update(rows([1]), rows([1]), torch.tensor([1]))
    assert score.compute().class_union == {1: 2**40 + 1}


def test_class_without_an_episode_is_an_error_not_a_zero() -> None:
    score = SegmentationScore((1, 2, 5))
    score.update(PREDICTION, TRUTH, CLASS_ID)
    with pytest.raises(ValueError, match=r"Found none for classes \[5\]\. Evaluate more episodes, or score only"):
        score.compute()


def test_episode_of_another_class_is_refused(score: SegmentationScore) -> None:
    with pytest.raises(ValueError, match=r"Found class 9, which is none of \(1, 2\)\. Draw the episodes from"):
        score.update(PREDICTION, TRUTH, torch.tensor([1, 9, 2]))


@pytest.mark.parametrize("class_ids", [(), (1, 1)], ids=str)
def test_classes_must_be_named_once(class_ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"none twice\. Found `class_ids = .*`\. Pass the classes"):
        SegmentationScore(class_ids)
