import json
from pathlib import Path

import pytest

from fewshot.data.folds import PASCAL_CLASSES
from fewshot.data.index import Index, IndexEntry, StaleIndexError, _hash, build_index, load_index, save_index
from fewshot.data.lists import UnusableListError
from fewshot.data.storage import DamagedFileError
from tests.fewshot.data.voc_tree import TRAIN, VAL, write_image_list, write_pair_list


def build_from_pairs(root: Path, train: list[tuple[str, int]]) -> Index:
    lists = [write_pair_list(root / "pairs.txt", train)]
    val = [write_pair_list(root / "val_pairs.txt", [("2010_000001", 3)])]
    return build_index(root, lists, val, classes=PASCAL_CLASSES)


def test_an_entry_says_where_an_image_is_and_what_it_shows(voc_index: Index) -> None:
    assert [entry.image for entry in voc_index.train.entries] == [f"JPEGImages/{name}.jpg" for name in TRAIN]
    assert [entry.image for entry in voc_index.val.entries] == [f"JPEGImages/{name}.jpg" for name in VAL]
    expected = IndexEntry(
        "JPEGImages/2008_000004.jpg", "SegmentationClassAug/2008_000004.png", {3: 1, 8: 10, 12: 2400}, None
    )
    assert voc_index.train.entries[3] == expected


def test_pairs_keep_the_classes_that_they_are_listed_under(voc_root: Path) -> None:
    index = build_from_pairs(voc_root, [("2008_000003", 12), ("2007_000002", 15)])
    assert [entry.listed for entry in index.train.entries] == [(12,), (15,)]
    assert index.train.entries[0].pixels == {3: 2100, 12: 2100}, "what is not listed is still known"


def test_an_index_is_read_as_it_was_written(voc_root: Path, voc_index: Index, tmp_path: Path) -> None:
    save_index(voc_index, tmp_path / "index.json")
    assert load_index(tmp_path / "index.json") == voc_index
    pairs = build_from_pairs(voc_root, [("2008_000003", 12), ("2008_000003", 3)])
    save_index(pairs, tmp_path / "index.json")
    assert load_index(tmp_path / "index.json") == pairs


def test_an_index_knows_its_lists(voc_root: Path, voc_index: Index) -> None:
    train, val = voc_root / "train.txt", voc_root / "val.txt"
    voc_index.check_lists([train], [val])
    write_image_list(train, list(TRAIN)[1:])
    with pytest.raises(StaleIndexError, match=r"other content in .*train\.txt than in the `train` .*\. Make the index"):
        voc_index.check_lists([train], [val])
    write_image_list(train, list(TRAIN))
    with pytest.raises(StaleIndexError, match=r"other content in .*train\.txt than in the `val` .* \(val\.txt\)"):
        voc_index.check_lists([train], [train])


def test_an_image_to_train_and_to_test_on_is_refused(voc_root: Path) -> None:
    write_image_list(voc_root / "val.txt", [*VAL, "2009_000005"])
    with pytest.raises(
        UnusableListError, match=r"Found 1, among them JPEGImages/2009_000005\.jpg, in .*val\.txt\. Leave"
    ):
        build_index(voc_root, [voc_root / "train.txt"], [voc_root / "val.txt"], classes=PASCAL_CLASSES)


def test_an_image_listed_under_a_class_that_it_does_not_show_is_refused(voc_root: Path) -> None:
    with pytest.raises(
        UnusableListError, match=r"no pixel of class 7 in .*2007_000001\.png, listed in pairs\.txt\. Use"
    ):
        build_from_pairs(voc_root, [("2007_000001", 15), ("2007_000001", 7)])


def test_photographs_are_needed_unless_said_otherwise(voc_root: Path, voc_index: Index) -> None:
    for path in (voc_root / "JPEGImages").iterdir():
        path.unlink()
    lists = ([voc_root / "train.txt"], [voc_root / "val.txt"])
    with pytest.raises(FileNotFoundError, match=r"Found 9 of 18 files missing, the first of them .*2007_000001\.jpg"):
        build_index(voc_root, *lists, classes=PASCAL_CLASSES)
    assert build_index(voc_root, *lists, classes=PASCAL_CLASSES, photographs=False) == voc_index


def test_an_altered_index_is_refused(voc_index: Index, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    save_index(voc_index, path)
    path.write_text(path.read_text("utf-8").replace('"15":2047', '"15":2048'), "utf-8")
    with pytest.raises(DamagedFileError, match=r"Found other content in .*index\.json\. Delete the file and make it"):
        load_index(path)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"version": 1}', '{"version": 1, "classes": ["bi', "3"])
def test_half_an_index_or_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content, "utf-8")
    with pytest.raises(DamagedFileError, match=r"Found no index or half of one .* in .*index\.json\. Delete the file"):
        load_index(tmp_path / "index.json")


def test_counts_that_do_not_fit_the_entries_are_refused(voc_index: Index, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    save_index(voc_index, path)
    content = json.loads(path.read_text("utf-8"))
    del content["sha256"]
    content["counts"]["val"]["pairs"] += 1
    path.write_text(json.dumps({**content, "sha256": _hash(content)}), "utf-8")
    with pytest.raises(DamagedFileError, match=r"Found counts .*'pairs': 5.* in `val` where .*'pairs': 6"):
        load_index(path)


def test_an_index_of_another_version_is_refused(voc_index: Index, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    save_index(voc_index, path)
    path.write_text(path.read_text("utf-8").replace('"version":1', '"version":2'), "utf-8")
    with pytest.raises(StaleIndexError, match=r"Found version 2 in .*index\.json\. Make it again by `fewshot index`"):
        load_index(path)


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.json\. Make it by `fewshot index`"):
        load_index(tmp_path / "none.json")
