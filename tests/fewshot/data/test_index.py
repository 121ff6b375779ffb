import json
from pathlib import Path

import pytest

from fewshot.data.index import Index, IndexEntry, Split, StaleIndexError, _hash, load_index, save_index
from fewshot.data.storage import DamagedFileError


@pytest.mark.parametrize("listed", [None, (3, 12)])
def test_an_index_is_read_as_it_was_written(voc_index: Index, tmp_path: Path, listed: tuple[int, ...] | None) -> None:
    save_index(voc_index, tmp_path / "index.json")
    assert load_index(tmp_path / "index.json") == voc_index
    entry = IndexEntry("abe's_flyingfish/1.jpg", "abe's_flyingfish/1.png", {521: 7}, listed, (3, 4))
    index = Index(("a",), Split(("x.txt",), "hash", 3, (entry,)), Split((), "", 0, ()))
    save_index(index, tmp_path / "index.json")
    assert load_index(tmp_path / "index.json") == index


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
    path.write_text(path.read_text("utf-8").replace('"version":2', '"version":1'), "utf-8")
    with pytest.raises(StaleIndexError, match=r"Found version 1 in .*index\.json\. Make it again by .*--rebuild true`"):
        load_index(path)


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.json\. Make it by `fewshot index`"):
        load_index(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("class_ids", "shown"), [((4,), True), ((9,), True), ((5, 9), True), ((5,), False), ((), False)]
)
def test_an_entry_shows_the_classes_of_its_pixels_and_of_its_crowds(class_ids: tuple[int, ...], shown: bool) -> None:
    entry = IndexEntry("x.jpg", "x.png", {4: 1}, crowds=(9,))
    assert entry.shows(class_ids) is shown
