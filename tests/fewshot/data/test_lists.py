from pathlib import Path

import pytest

from fewshot.data.lists import ListedImage, UnusableListError, read_lists, read_names, read_text
from tests.fewshot.data.voc_tree import write_image_list, write_pair_list


def listed(name: str, *class_ids: int) -> ListedImage:
    return ListedImage(f"JPEGImages/{name}.jpg", f"SegmentationClassAug/{name}.png", class_ids or None)


def test_lines_of_image_and_mask_are_read(tmp_path: Path) -> None:
    found = read_lists([write_image_list(tmp_path / "train.txt", ["2007_000032", "2007_000039"])])
    assert found.images == (listed("2007_000032"), listed("2007_000039"))
    assert (found.names, found.duplicates) == (("train.txt",), 0)


def test_lines_of_image_and_class_become_one_entry_an_image(tmp_path: Path) -> None:
    paths = [
        write_pair_list(tmp_path / "fold0.txt", [("2007_000032", 1)]),
        write_pair_list(tmp_path / "fold2.txt", [("2007_000032", 15), ("2007_000032", 11), ("2007_000480", 15)]),
    ]
    found = read_lists(paths)
    assert found.images == (listed("2007_000032", 1, 11, 15), listed("2007_000480", 15))
    assert (found.names, found.duplicates) == (("fold0.txt", "fold2.txt"), 0)


@pytest.mark.parametrize("ending", ["\r\n", "\n\n", " \n"])
def test_foreign_line_endings_and_blank_lines_change_nothing(tmp_path: Path, ending: str) -> None:
    (tmp_path / "list.txt").write_bytes(f"2007_000032__01{ending}2007_000480__15{ending}".encode())
    assert read_lists([tmp_path / "list.txt"]).images == (listed("2007_000032", 1), listed("2007_000480", 15))


def test_repeated_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    images = [write_image_list(tmp_path / "a.txt", ["x", "y"]), write_image_list(tmp_path / "b.txt", ["y", "z"])]
    merged = read_lists(images)
    assert (merged.images, merged.duplicates) == ((listed("x"), listed("y"), listed("z")), 1)
    pairs = read_lists([write_pair_list(tmp_path / "c.txt", [("x", 3), ("x", 4), ("x", 3)])])
    assert (pairs.images, pairs.duplicates) == ((listed("x", 3, 4),), 1)


def test_the_hash_follows_the_content_not_the_name(tmp_path: Path) -> None:
    first = read_lists([write_image_list(tmp_path / "a.txt", ["x", "y"])])
    renamed = read_lists([write_image_list(tmp_path / "b.txt", ["x", "y"])])
    other = read_lists([write_image_list(tmp_path / "a.txt", ["x", "z"])])
    assert first.digest == renamed.digest != other.digest


@pytest.mark.parametrize(
    "line", ["2007_000032", "2007_000032__", "2007_000032__cat", "a.jpg b.png c.png", "a/b__01", "<!DOCTYPE html>"]
)
def test_a_line_of_no_known_format_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"2007_000032__01\n{line}\n", encoding="utf-8")
    with pytest.raises(UnusableListError, match=r"Found .* in line 2 of .*list\.txt\. Correct the line"):
        read_lists([tmp_path / "list.txt"])


@pytest.mark.parametrize("word", ["/JPEGImages/x.jpg", "../JPEGImages/x.jpg"])
def test_paths_outside_the_data_folder_are_refused(tmp_path: Path, word: str) -> None:
    (tmp_path / "list.txt").write_text(f"{word} SegmentationClassAug/x.png\n", encoding="utf-8")
    with pytest.raises(UnusableListError, match=rf"Found '{word}' in line 1 of .*list\.txt\. Write it relative to"):
        read_lists([tmp_path / "list.txt"])


def test_two_masks_for_one_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x.jpg x.png\nx.jpg y.png\n", encoding="utf-8")
    with pytest.raises(
        UnusableListError, match=r"Found y\.png in line 2 .* and x\.png before for x\.jpg\. Correct one"
    ):
        read_lists([tmp_path / "list.txt"])


@pytest.mark.parametrize("image", ["x", "y"])
def test_lists_of_two_formats_are_not_mixed(tmp_path: Path, image: str) -> None:
    paths = [write_image_list(tmp_path / "a.txt", ["x"]), write_pair_list(tmp_path / "b.txt", [(image, 3)])]
    with pytest.raises(UnusableListError, match=r"Found lines `image mask` and lines .*b\.txt\. Give the lists of one"):
        read_lists(paths)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(UnusableListError, match=r"Found no line in .*list\.txt\. Fetch it again"):
        read_lists([tmp_path / "list.txt"])


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"2007_000032__01\n\xff\xfe")
    with pytest.raises(UnusableListError, match=r"Found other bytes at 16 of .*list\.txt\. Fetch it again"):
        read_lists([tmp_path / "list.txt"])


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableListError, match=r"Found none at .*none\.txt \(No such file.*\)\. Correct the path"):
        read_lists([tmp_path / "none.txt"])


@pytest.mark.parametrize(
    "content", ["bus\nabe's_flyingfish\n", "bus\r\nabe's_flyingfish", "\n bus \n\nabe's_flyingfish\n"]
)
def test_names_are_read_as_they_stand(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.txt").write_bytes(content.encode())
    assert read_names(tmp_path / "names.txt") == ("bus", "abe's_flyingfish")


def test_a_name_may_hold_spaces_inside(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("traffic light\n", "utf-8")
    assert read_names(tmp_path / "names.txt") == ("traffic light",)


def test_a_list_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(" \n", "utf-8")
    with pytest.raises(UnusableListError, match=r"Found no line in .*names\.txt\. Fetch it again"):
        read_names(tmp_path / "names.txt")


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("bus\ntaxi\nbus \n", "utf-8")
    with pytest.raises(UnusableListError, match=r"Found 'bus' again in .*names\.txt\. Leave out the second"):
        read_names(tmp_path / "names.txt")


def test_the_mark_of_an_encoding_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbfbus\n")
    assert read_text(tmp_path / "names.txt") == "bus\n"
