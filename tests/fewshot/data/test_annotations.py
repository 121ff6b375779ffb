import json
from pathlib import Path

import numpy as np
import pytest

from fewshot.data.annotations import AnnotatedImage, UnusableAnnotationsError, paint, read_annotations
from fewshot.data.folds import COCO_CLASSES
from tests.fewshot.data.coco_tree import (
    BICYCLE,
    CAR,
    HEIGHT,
    PERSON,
    TIE,
    TRAIN,
    WIDTH,
    Shape,
    box,
    packed,
    runs,
    write_annotations,
)


def annotate(root: Path, *objects: tuple[int, Shape, bool]) -> AnnotatedImage:
    path = write_annotations(root, "train2014", {"000000000001": list(objects)})
    return read_annotations(path, COCO_CLASSES)[0]


def count(mask: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_images_with_an_object_are_read_and_those_with_crowds_only_left_out(coco_root: Path) -> None:
    images = read_annotations(coco_root / "annotations/instances_train2014.json", COCO_CLASSES)
    assert [image.name for image in images] == [f"COCO_train2014_{name}.jpg" for name in list(TRAIN)[:4]]
    assert {(image.height, image.width) for image in images} == {(HEIGHT, WIDTH)}
    assert [image.labels for image in images] == [(PERSON,), (TIE, PERSON), (PERSON, CAR), (BICYCLE, BICYCLE)]
    assert [found.crowd for found in images[2].objects] == [True, False]


def test_every_part_of_an_object_is_painted(tmp_path: Path) -> None:
    painting = paint(annotate(tmp_path, (PERSON, [box(0, 0, 40, 50), box(45, 10, 80, 50)], False)))
    assert count(painting.labels) == {0: WIDTH * HEIGHT - 2000 - 1400, PERSON: 2000 + 1400}
    assert (painting.labels[:50, :40] == PERSON).all()
    assert (painting.labels[10:50, 45:] == PERSON).all()


@pytest.mark.parametrize("shape", [[box(10, 5, 70, 50)], runs(10, 5, 70, 50), packed(10, 5, 70, 50)])
def test_polygons_and_run_lengths_say_the_same(tmp_path: Path, shape: Shape) -> None:
    labels = paint(annotate(tmp_path, (CAR, shape, False))).labels
    assert count(labels) == {0: HEIGHT * WIDTH - 60 * 45, CAR: 60 * 45}
    assert (labels[5:50, 10:70] == CAR).all()


@pytest.mark.parametrize("tie_first", [True, False])
def test_the_smaller_object_lies_over_the_larger_whatever_their_order(tmp_path: Path, tie_first: bool) -> None:
    objects = [(TIE, [box(20, 10, 30, 40)], False), (PERSON, [box(5, 0, 65, 60)], False)]
    painting = paint(annotate(tmp_path, *(objects if tie_first else objects[::-1])))
    assert count(painting.labels) == {0: 20 * HEIGHT, PERSON: 60 * 60 - 300, TIE: 300}
    assert count(painting.objects[painting.labels == TIE]) == {1 if tie_first else 2: 300}


def test_of_two_equally_large_objects_the_later_lies_over_the_earlier(tmp_path: Path) -> None:
    image = annotate(tmp_path, (CAR, [box(0, 0, 20, 20)], False), (PERSON, [box(10, 0, 30, 20)], False))
    assert count(paint(image).labels)[PERSON] == 400
    assert count(paint(image).labels)[CAR] == 200


def test_a_crowd_is_unknown_where_no_object_is(tmp_path: Path) -> None:
    crowd, car = (PERSON, runs(0, 0, 80, 20), True), (CAR, [box(10, 10, 70, 50)], False)
    for objects in ([crowd, car], [car, crowd]):
        painting = paint(annotate(tmp_path, *objects))
        assert count(painting.labels) == {0: 80 * 40 - 60 * 30, CAR: 60 * 40, 255: 80 * 20 - 60 * 10}
        assert count(painting.objects) == {0: 80 * 40 - 60 * 30, 1: 60 * 40, 255: 80 * 20 - 60 * 10}


def test_objects_are_numbered_without_regard_to_class_and_crowds(tmp_path: Path) -> None:
    painting = paint(
        annotate(
            tmp_path,
            (BICYCLE, [box(0, 0, 10, 10)], False),
            (BICYCLE, runs(0, 50, 80, 60), True),
            (PERSON, [box(20, 0, 30, 10)], False),
            (BICYCLE, [box(40, 0, 50, 10)], False),
        )
    )
    assert count(painting.objects) == {0: HEIGHT * WIDTH - 1100, 1: 100, 2: 100, 3: 100, 255: 800}
    assert count(painting.objects[painting.labels == BICYCLE]) == {1: 100, 3: 100}


def test_legacy_masks_lack_further_parts_and_crowds_and_keep_the_order_of_the_file(tmp_path: Path) -> None:
    image = annotate(
        tmp_path,
        (TIE, [box(20, 10, 30, 40)], False),
        (PERSON, [box(5, 0, 65, 50), box(66, 0, 80, 50)], False),
        (PERSON, runs(0, 55, 80, 60), True),
    )
    assert count(paint(image, legacy=True).labels) == {0: HEIGHT * WIDTH - 60 * 50, PERSON: 60 * 50}
    assert count(paint(image).labels) == {0: 800 - 200 + 200, PERSON: 60 * 50 + 14 * 50 - 300, TIE: 300, 255: 400} | {
        0: HEIGHT * WIDTH - 60 * 50 - 14 * 50 - 400
    }


def test_legacy_masks_show_objects_in_run_lengths_too(tmp_path: Path) -> None:
    image = annotate(tmp_path, (CAR, packed(10, 10, 70, 50), False))
    assert np.array_equal(paint(image, legacy=True).labels, paint(image).labels)


def test_a_polygon_of_fewer_than_three_corners_paints_nothing(tmp_path: Path) -> None:
    image = annotate(tmp_path, (CAR, [[5.0, 5.0, 50.0, 50.0], box(0, 0, 10, 10)], False), (TIE, [[3.0, 3.0]], False))
    assert count(paint(image).labels) == {0: HEIGHT * WIDTH - 100, CAR: 100}


def short(shape: Shape) -> Shape:
    assert isinstance(shape, dict)
    counts = shape["counts"]
    return {**shape, "counts": counts[: len(counts) // 2]}


@pytest.mark.parametrize(
    "shape",
    [
        {"counts": [0, 30 * 40], "size": [30, 40]},
        {"counts": [0, 10, 20], "size": [HEIGHT, WIDTH]},
        {"counts": [100, -50, HEIGHT * WIDTH - 50], "size": [HEIGHT, WIDTH]},
        short(runs(10, 10, 70, 50)),
        short(packed(10, 10, 70, 50)),
        {"counts": "0" + "o" * 40, "size": [HEIGHT, WIDTH]},
    ],
    ids=["another size", "too few", "negative", "half", "half, packed", "nonsense"],
)
def test_run_lengths_that_do_not_cover_the_image_are_refused(tmp_path: Path, shape: Shape) -> None:
    image = annotate(tmp_path, (CAR, shape, False))
    with pytest.raises(
        UnusableAnnotationsError, match=r"60 x 80\. Found others, of size .* in COCO_train2014_.*1\.jpg\. Fetch the"
    ):
        paint(image)


def test_more_objects_than_bytes_can_number_are_refused(tmp_path: Path) -> None:
    image = annotate(tmp_path, *[(CAR, [box(0, 0, 10, 10)], False)] * 255)
    with pytest.raises(UnusableAnnotationsError, match=r"fewer than 255 objects\. Found 255 in .*\.jpg\. Split"):
        paint(image)


def test_annotations_of_other_classes_are_refused(coco_root: Path) -> None:
    path = coco_root / "annotations/instances_train2014.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, "categories": content["categories"][:3]}), "utf-8")
    with pytest.raises(
        UnusableAnnotationsError, match=r"the 80 of COCO\. Found 3 in .*instances_train2014\.json, .*Use COCO's own"
    ):
        read_annotations(path, COCO_CLASSES)


@pytest.mark.parametrize(
    "content", ["", '{"images": [', "[]", '{"images": [], "categories": []}', '{"annotations": 3}']
)
def test_a_file_that_holds_no_annotations_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "instances.json").write_text(content, "utf-8")
    with pytest.raises(UnusableAnnotationsError, match=r"Found .*instances\.json.*\. (Fetch it again|Use COCO's own)"):
        read_annotations(tmp_path / "instances.json", COCO_CLASSES)


def test_captions_are_refused(coco_root: Path) -> None:
    path = coco_root / "annotations/instances_train2014.json"
    content = json.loads(path.read_text("utf-8"))
    content["annotations"] = [{"id": 1, "image_id": 9, "caption": "A person behind a post."}]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(
        UnusableAnnotationsError, match=r"Found another, or half a file, at .*\(AttributeError.*Fetch it"
    ):
        read_annotations(path, COCO_CLASSES)


def test_missing_annotations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.json\. Fetch COCO's annotations of 2014"):
        read_annotations(tmp_path / "none.json", COCO_CLASSES)
