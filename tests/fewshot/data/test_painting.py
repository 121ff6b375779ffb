import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data import painting
from fewshot.data.annotations import UnusableAnnotationsError, paint, read_annotations
from fewshot.data.folds import COCO_CLASSES
from fewshot.data.painting import ForeignMasksError, keep_masks, read_crowds
from tests.fewshot.data.coco_tree import CAR, PERSON, TRAIN, VAL, Shape, box, write_annotations


@dataclass(frozen=True)
class Keeper:
    """Keeps masks of the tree in a folder beside it."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root.parent / "masks"

    def keep(self, *, legacy: bool = False, processes: int = 1) -> str:
        return keep_masks(self.root, self.folder, COCO_CLASSES, legacy=legacy, processes=processes)


@pytest.fixture
def keeper(coco_root: Path) -> Keeper:
    return Keeper(coco_root)


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("processes", [1, 2])
def test_masks_of_classes_and_of_objects_are_made_for_every_image_with_an_object(
    keeper: Keeper, processes: int
) -> None:
    keeper.keep(processes=processes)
    names = {
        f"{kind}/{part}/COCO_{part}_{name}.png"
        for kind in ("labels", "objects")
        for part, images in (("train2014", list(TRAIN)[:4]), ("val2014", list(VAL)))
        for name in images
    }
    assert set(read_all(keeper.folder)) == names | {"train.txt", "val.txt", "crowds.json", "source.json"}
    for image in read_annotations(keeper.root / "annotations/instances_train2014.json", COCO_CLASSES):
        for kind in ("labels", "objects"):
            with Image.open(keeper.folder / kind / "train2014" / image.name.replace(".jpg", ".png")) as stored:
                assert stored.mode == "L"
                assert np.array_equal(np.array(stored), getattr(paint(image), kind))


def test_lists_of_images_and_masks_lie_beside_them(keeper: Keeper) -> None:
    keeper.keep()
    assert (keeper.folder / "val.txt").read_text("utf-8").splitlines() == [
        f"val2014/COCO_val2014_{name}.jpg labels/val2014/COCO_val2014_{name}.png" for name in VAL
    ]


def test_crowds_lie_beside_them_by_image(keeper: Keeper) -> None:
    keeper.keep()
    assert read_crowds(keeper.folder) == {"train2014/COCO_train2014_000000000030.jpg": (PERSON,)}
    other = keeper.folder.with_name("legacy")
    keep_masks(keeper.root, other, COCO_CLASSES, legacy=True)
    assert read_crowds(other) == {}


def test_masks_that_are_all_there_are_not_made_again(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    source = keeper.keep()
    monkeypatch.setattr(painting, "read_annotations", lambda *_: pytest.fail("the annotations were read"))
    assert keeper.keep() == source


def test_an_interruption_is_gone_on_from(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[str] = []
    calls = iter(range(100))

    def count(image: object, *, legacy: bool) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        painted.append(image.name)  # pyright: ignore[reportAttributeAccessIssue]
        return paint(image, legacy=legacy)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(painting, "paint", count)
    with pytest.raises(KeyboardInterrupt):
        keeper.keep()
    assert len(painted) == 3
    keeper.keep()
    assert len(painted) == len(set(painted)) == 6, "none is made twice"
    once = read_all(keeper.folder)
    monkeypatch.undo()
    for path in keeper.folder.rglob("*.*"):
        path.unlink()
    keeper.keep()
    assert read_all(keeper.folder) == once


def test_masks_of_other_annotations_are_refused(keeper: Keeper) -> None:
    keeper.keep()
    write_annotations(keeper.root, "val2014", {"000000000042": [(CAR, [box(0, 0, 70, 60)], False)]})
    with pytest.raises(
        ForeignMasksError, match=r"Found .* in .*source\.json where .* is asked for\. Delete the folder"
    ):
        keeper.keep()


def test_masks_made_in_the_other_way_are_refused(keeper: Keeper) -> None:
    keeper.keep(legacy=True)
    with pytest.raises(ForeignMasksError, match=r"'legacy': True.* where .*'legacy': False.* is asked for\. Delete"):
        keeper.keep()


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}'])
def test_masks_of_unknown_origin_are_refused(keeper: Keeper, content: str) -> None:
    keeper.folder.mkdir()
    (keeper.folder / "source.json").write_text(content, "utf-8")
    with pytest.raises(
        ForeignMasksError, match=r"Found .* in .*source\.json where .* is asked for\. Delete the folder"
    ):
        keeper.keep()


def test_the_hash_follows_annotations_and_way(keeper: Keeper) -> None:
    first = keeper.keep()
    other = Keeper(keeper.root)
    assert other.keep() == first
    legacy = keep_masks(keeper.root, keeper.root / "legacy", COCO_CLASSES, legacy=True)
    path = keeper.root / "annotations/instances_val2014.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")), indent=1), "utf-8")
    assert len({first, legacy, keep_masks(keeper.root, keeper.root / "third", COCO_CLASSES)}) == 3


def test_missing_annotations_are_refused_before_anything_is_written(keeper: Keeper) -> None:
    (keeper.root / "annotations/instances_val2014.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"Found nothing at .*instances_val2014\.json\. Fetch COCO's annotations"
    ):
        keeper.keep()
    assert not keeper.folder.exists()


def test_annotations_that_cannot_be_painted_are_refused(keeper: Keeper) -> None:
    wrong: Shape = {"counts": [0, 4], "size": [2, 2]}
    write_annotations(keeper.root, "val2014", {"000000000042": [(CAR, wrong, False)]})
    with pytest.raises(
        UnusableAnnotationsError, match=r"Found others, of size \[2, 2\].*\. Fetch the annotations again"
    ):
        keeper.keep()
