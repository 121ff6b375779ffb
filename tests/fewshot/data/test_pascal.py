from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from fewshot.data.folds import pascal_fold
from fewshot.data.index import IndexEntry, StaleIndexError
from fewshot.data.lists import UnusableListError
from fewshot.data.masks import WrongLabelError
from fewshot.data.pascal import Pascal
from fewshot.data.reading import UnreadableImageError, read_image
from tests.fewshot.data.voc_tree import HEIGHT, TRAIN, VAL, WIDTH, write_image_list, write_objects, write_pair_list

DOG, BIRD, PERSON = 12, 3, 15


@pytest.fixture
def pairs(pascal: Pascal) -> Pascal:
    """The same images, by lists as HSNet has them: a file for each fold, images under some of their classes."""
    root = pascal.root
    train = (
        write_pair_list(root / "trn0.txt", [("2008_000003", BIRD)]),
        write_pair_list(root / "trn2.txt", [("2008_000003", DOG), ("2007_000002", PERSON)]),
    )
    val = (write_pair_list(root / "val0.txt", [("2010_000001", BIRD)]),)
    return replace(pascal, train=train, val=val, index=root / "pairs.json")


def test_an_entry_says_where_an_image_is_and_what_it_shows(pascal: Pascal) -> None:
    index = pascal.load_index(0)
    assert [entry.image for entry in index.train.entries] == [f"JPEGImages/{name}.jpg" for name in TRAIN]
    assert [entry.image for entry in index.val.entries] == [f"JPEGImages/{name}.jpg" for name in VAL]
    expected = IndexEntry(
        "JPEGImages/2008_000004.jpg", "SegmentationClassAug/2008_000004.png", {3: 1, 8: 10, 12: 2400}, None
    )
    assert index.train.entries[3] == expected


def test_images_of_pair_lists_keep_the_classes_that_they_are_listed_under(pairs: Pascal) -> None:
    index = pairs.load_index(0)
    assert [entry.listed for entry in index.train.entries] == [(BIRD, DOG), (PERSON,)]
    assert index.train.entries[1].pixels == {PERSON: 2047}
    assert index.train.lists == ("trn0.txt", "trn2.txt")


def test_the_four_folds_of_pascal_share_one_index(pascal: Pascal) -> None:
    assert pascal.fold_count == 4
    assert [pascal.fold(number) for number in range(4)] == [pascal_fold(number) for number in range(4)]
    assert all(pascal.load_index(number) == pascal.load_index(0) for number in range(1, 4))
    with pytest.raises(ValueError, match=r"between 0 and 3\. Found fold 4\. Count from 0"):
        pascal.load_index(4)


def test_an_index_is_made_once(pascal: Pascal) -> None:
    made = pascal.load_index(0)
    for path in (pascal.root / "SegmentationClassAug").iterdir():
        path.unlink()
    assert pascal.load_index(0) == made
    with pytest.raises(FileNotFoundError, match="Found 9 of 18 files missing"):
        pascal.rebuild_index()
    assert pascal.load_index(0) == made, "a failure leaves the file that was there"


def test_an_index_of_other_lists_is_refused_until_it_is_rebuilt(pascal: Pascal) -> None:
    pascal.load_index(0)
    write_image_list(pascal.train[0], list(TRAIN)[:3])
    with pytest.raises(
        StaleIndexError, match=r"Found other content in train\.txt than in the `train` .*Make the index"
    ):
        pascal.load_index(0)
    pascal.rebuild_index()
    assert len(pascal.load_index(0).train.entries) == 3


def test_an_image_and_its_labels_are_read_at_their_own_size(pascal: Pascal) -> None:
    entry = pascal.load_index(0).train.entries[2]
    found = pascal.read(entry)
    assert found.image.shape == (3, HEIGHT, WIDTH)
    assert torch.equal(found.image, read_image(pascal.root / entry.image))
    assert found.labels.dtype == torch.int16
    values, counts = found.labels.unique(return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {-1: 30, 0: 1170, BIRD: 2100, DOG: 2100}


def test_objects_are_read_where_voc_has_them(pascal: Pascal) -> None:
    entry = pascal.load_index(0).train.entries[2]
    path = pascal.root / "SegmentationObject/2008_000003.png"
    # Dogs are the first 2,100 pixels, birds those after them; object 2 lies on both, and 4 on the background.
    write_objects(path, {1: (0, 1000), 2: (1000, 2300), 3: (2300, 4200), 4: (4200, 4300)})
    dogs, birds = pascal.read_instances(entry, DOG), pascal.read_instances(entry, BIRD)
    assert dogs is not None
    assert birds is not None
    assert dogs.sum((1, 2)).tolist() == [1000, 1100], "what lies outside of the class is cut off"
    assert birds.sum((1, 2)).tolist() == [200, 1900]
    assert torch.equal(dogs.any(0), pascal.read(entry).labels == DOG)
    assert pascal.read_instances(entry, PERSON) is None


def test_images_that_voc_has_no_objects_of_have_none(pascal: Pascal) -> None:
    assert pascal.read_instances(pascal.load_index(0).train.entries[2], DOG) is None


def test_objects_of_another_size_are_refused(pascal: Pascal, voc_root: Path) -> None:
    entry = pascal.load_index(0).train.entries[2]
    (voc_root / "SegmentationObject").mkdir()
    Image.new("L", (3, 2)).save(voc_root / "SegmentationObject/2008_000003.png")
    with pytest.raises(
        WrongLabelError, match=r"Found \(2, 3\) in .*SegmentationObject.* \(height, width\)\. Fetch both"
    ):
        pascal.read_instances(entry, DOG)


def test_photographs_are_needed_unless_said_otherwise(pascal: Pascal) -> None:
    for path in (pascal.root / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Found 9 of 18 files missing, the first of them .*2007_000001\.jpg"):
        pascal.load_index(0)
    counted = replace(pascal, photographs=False).load_index(0)
    assert counted.train.entries[0].pixels == {PERSON: 2048}
    with pytest.raises(UnreadableImageError, match=r"Found nothing at .*2007_000001\.jpg\. Correct the path"):
        pascal.read(counted.train.entries[0])


def test_a_photograph_that_has_changed_its_size_is_refused(pascal: Pascal) -> None:
    entry, other = pascal.load_index(0).train.entries[:2]
    Image.new("RGB", (3, 2)).save(pascal.root / entry.image)
    with pytest.raises(
        WrongLabelError, match=r"Found \(2, 3\) in .*2007_000001\.jpg and \(60, 90\) in .*\. Fetch both"
    ):
        pascal.read(entry)
    pascal.read(other)


def test_a_list_that_cannot_be_read_is_refused(pascal: Pascal) -> None:
    with pytest.raises(UnusableListError, match=r"Found none at .*none\.txt .*\. Correct the path"):
        replace(pascal, val=(pascal.root / "none.txt",)).load_index(0)


def test_no_process_is_refused(pascal: Pascal) -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = 0`\. Pass 1"):
        replace(pascal, processes=0)
