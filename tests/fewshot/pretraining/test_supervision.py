from dataclasses import replace

import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from fewshot.data.augmentation import Augmentation
from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold
from fewshot.data.index import Index, IndexEntry, Split
from fewshot.data.labels import UNKNOWN, LabelledImage
from fewshot.data.pools import Convention
from fewshot.data.synthetic import Synthetic
from fewshot.pretraining.supervision import SupervisedBatches, Supervision
from tests.fewshot.training_cases import name_by_content

FOLD = Fold(1, (1, 3), (2,))
STILL = Augmentation(size=4, scale=(1.0, 1.0), rotation_probability=0.0, blur_probability=0.0, flip_probability=0.0)


class Pictures(DataSet):
    """Pictures of 4 x 4 whose colour is their number; the first row shows classes, the rest is background."""

    def __init__(self, *rows: tuple[int, int, int, int]) -> None:
        self.rows = rows

    @property
    def fold_count(self) -> int:
        return 1

    def fold(self, number: int) -> Fold:
        return FOLD

    def load_index(self, fold: int) -> Index:
        entries = tuple(
            IndexEntry(str(number), f"{number}.png", {label: row.count(label) for label in {*row} - {0, UNKNOWN}})
            for number, row in enumerate(self.rows)
        )
        return Index(("ant", "bee", "cat"), Split(("train",), "digest", 0, entries), Split(("val",), "other", 0, ()))

    def rebuild_index(self) -> None:
        raise AssertionError("no test rebuilds it")

    def read(self, entry: IndexEntry) -> LabelledImage:
        number = int(entry.image)
        image: UInt8[Tensor, "3 4 4"] = torch.full((3, 4, 4), number, dtype=torch.uint8)
        labels = torch.zeros(4, 4, dtype=torch.int16)
        labels[0] = torch.tensor(self.rows[number])
        return LabelledImage(image, labels)


PICTURES = Pictures((1, 1, 0, 0), (3, 0, 0, 0), (1, 2, 3, 0), (2, 2, 2, 2), (0, 0, 0, 0), (3, UNKNOWN, 1, 0))


def supervise(convention: Convention = "exclude", pictures: Pictures = PICTURES) -> Supervision:
    return Supervision(pictures, pictures.load_index(0), FOLD, convention)


def find_images(supervision: Supervision) -> list[str]:
    return [entry.image for entry in supervision.entries]


def test_a_single_pixel_of_a_held_out_class_excludes_an_image() -> None:
    assert find_images(supervise()) == ["0", "1", "5"]


@pytest.mark.parametrize("convention", ["keep", "ignore"])
def test_other_conventions_keep_images_that_show_a_held_in_class_too(convention: Convention) -> None:
    assert find_images(supervise(convention)) == ["0", "1", "2", "5"]


@pytest.mark.parametrize(("convention", "held_out"), [("keep", 0), ("ignore", UNKNOWN)])
def test_held_out_objects_are_never_a_class(convention: Convention, held_out: int) -> None:
    batches = SupervisedBatches(supervise(convention), STILL, seed=0)
    rows = [batches[(number,)].labels[0, 0].tolist() for number in range(4)]
    assert sorted(rows) == sorted([[1, 1, 0, 0], [2, 0, 0, 0], [1, held_out, 2, 0], [2, UNKNOWN, 1, 0]])


def test_labels_are_places_among_the_held_in_classes() -> None:
    labels = torch.tensor([[0, 1, 2, 3, UNKNOWN]], dtype=torch.int16)
    assert supervise().place_labels(labels).tolist() == [[0, 1, UNKNOWN, 2, UNKNOWN]]


def test_there_is_a_place_for_more_classes_than_a_byte_counts() -> None:
    index = replace(PICTURES.load_index(0), classes=tuple(str(number) for number in range(600)))
    supervision = Supervision(PICTURES, index, Fold(0, tuple(range(1, 521)), tuple(range(521, 601))), "ignore")
    labels = torch.tensor([[255, 256, 520, 521]], dtype=torch.int16)
    assert supervision.class_count == 521
    assert supervision.place_labels(labels).tolist() == [[255, 256, 520, UNKNOWN]]


def test_every_image_is_seen_once_before_any_is_seen_again() -> None:
    batches = SupervisedBatches(supervise(), STILL, seed=3)
    order = [batches[(number,)].images[0, 0, 0, 0].item() for number in range(30)]
    rounds = [order[start : start + 3] for start in range(0, 30, 3)]
    assert len({tuple(sorted(seen)) for seen in rounds}) == 1
    assert len({tuple(seen) for seen in rounds}) > 1


def test_items_depend_on_seed_and_number_only(tiny_data: Synthetic) -> None:
    supervision = Supervision(tiny_data, tiny_data.load_index(0), tiny_data.fold(0))
    first, again, other = (
        SupervisedBatches(supervision, Augmentation(size=48, scale=(0.5, 2.0)), seed=seed) for seed in (0, 0, 1)
    )
    again[(70,)]
    assert name_by_content(first[(30, 31)]) == name_by_content(again[(30, 31)])
    assert name_by_content(first[(30, 31)]) != name_by_content(other[(30, 31)])


def test_images_and_labels_are_mirrored_together() -> None:
    batches = SupervisedBatches(supervise(), replace(STILL, flip_probability=0.5), seed=0)
    rows = {tuple(batches[(number,)].labels[0, 0].tolist()) for number in range(40)}
    assert {(1, 1, 0, 0), (0, 0, 1, 1)} <= rows


def test_what_is_seen_is_described_by_names() -> None:
    described = supervise().describe()
    assert described == {
        "data": "Pictures",
        "lists": "digest",
        "fold": 1,
        "held_in": ["ant", "cat"],
        "held_out": ["bee"],
        "convention": "exclude",
    }


@pytest.mark.parametrize(
    "other", [Pictures((1, 0, 0, 0), (3, 0, 0, 0)), Pictures((1, 1, 0, 0), (3, 0, 0, 0), (1, 0, 0, 0))]
)
def test_batches_describe_what_images_show(other: Pictures) -> None:
    first, same, changed = (
        SupervisedBatches(supervise(pictures=pictures), STILL, seed=0)
        for pictures in (Pictures((1, 1, 0, 0), (3, 0, 0, 0)), Pictures((1, 1, 0, 0), (3, 0, 0, 0)), other)
    )
    assert first.describe() == same.describe() != changed.describe()


def test_batches_describe_pixels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = SupervisedBatches(supervise(), STILL, seed=0).describe()
    brighter = LabelledImage(torch.full((3, 4, 4), 200, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.int16))
    monkeypatch.setattr(Pictures, "read", lambda *_: brighter)
    assert SupervisedBatches(supervise(), STILL, seed=0).describe() != before


def test_a_fold_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none among 1 of fold 1 under the convention 'exclude'\. Add images"):
        supervise(pictures=Pictures((1, 2, 0, 0)))


def test_a_convention_that_does_not_exist_is_refused() -> None:
    supervision = supervise()
    object.__setattr__(supervision, "convention", "drop")
    with pytest.raises(ValueError, match=r"Found `convention = 'drop'`\. Correct"):
        supervision.__post_init__()


def test_moved_batches_keep_their_types() -> None:
    moved = SupervisedBatches(supervise(), STILL, seed=0)[(0, 1)].to("meta")
    assert moved.images.is_meta
    assert moved.labels.dtype == torch.int64
