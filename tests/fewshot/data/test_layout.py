from pathlib import Path

import pytest

from fewshot.data.layout import UnusableFolderError, read_layout
from fewshot.data.lists import ListedImage, UnusableListError
from fewshot.data.masks import LabelMask, ObjectMask
from tests.fewshot.data.folder_tree import CLASSES, write_classes, write_image, write_shared

TABLE = "class_id,name,images\n1,cup,4\n2,spoon,3\n3,fork,2\n4,traffic light,2\n"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    write_shared(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    write_classes(tmp_path / "photos", {"spoon": [20, 30], "cup": [40]})
    return tmp_path / "photos"


def test_masks_of_many_classes_take_their_names_from_a_list(shared: Path) -> None:
    layout = read_layout(shared)
    assert (layout.classes, layout.shared) == (CLASSES, True)
    assert layout.list_images()[:3] == (
        ListedImage("images/a.jpg", "masks/a.png", None),
        ListedImage("images/b.JPG", "masks/b.png", None),
        ListedImage("images/c.png", "masks/c.png", None),
    )
    assert layout.mask("masks/a.png") == LabelMask(shared / "masks/a.png", 4)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_or_from_a_table(shared: Path, mark: bytes) -> None:
    (shared / "classes.txt").unlink()
    (shared / "classes.csv").write_bytes(mark + TABLE.encode())
    assert read_layout(shared).classes == CLASSES


def test_masks_of_one_class_take_its_name_from_their_folder(apart: Path) -> None:
    layout = read_layout(apart)
    assert (layout.classes, layout.shared) == (("cup", "spoon"), False)
    assert layout.list_images() == (
        ListedImage("cup/images/0.jpg", "cup/masks/0.png", None),
        ListedImage("spoon/images/0.jpg", "spoon/masks/0.png", None),
        ListedImage("spoon/images/1.jpg", "spoon/masks/1.png", None),
    )
    assert layout.mask("spoon/masks/1.png") == ObjectMask(apart / "spoon/masks/1.png", 2)


def test_the_hash_follows_images_masks_and_classes(shared: Path) -> None:
    found = {read_layout(shared).digest()}
    assert found == {read_layout(shared).digest()}
    (shared / "masks/a.png").write_bytes((shared / "masks/b.png").read_bytes())
    found.add(read_layout(shared).digest())
    (shared / "masks/a.png").unlink()
    found.add(read_layout(shared).digest())
    (shared / "images/a.jpg").unlink()
    found.add(read_layout(shared).digest())
    (shared / "classes.txt").write_text("cup\nspoon\nfork\ntraffic sign\n", "utf-8")
    found.add(read_layout(shared).digest())
    assert len(found) == 5


@pytest.mark.parametrize(
    "table",
    [
        "class_id,name\n",
        "class_id,name\n0,cup\n1,spoon\n",
        "class_id,name\n1,cup\n3,spoon\n",
        "class_id,name\n1,cup\n2,\n",
        "id,name\n1,cup\n2,spoon\n",
        "class_id;name\n1;cup\n",
    ],
)
def test_a_table_that_does_not_number_its_classes_is_refused(shared: Path, table: str) -> None:
    (shared / "classes.csv").write_text(table, "utf-8")
    with pytest.raises(
        UnusableFolderError, match=r"counts from 1, and `name`\. Found numbers .* in .*classes\.csv\. Correct the table"
    ):
        read_layout(shared)


def test_two_classes_of_one_name_are_refused(shared: Path) -> None:
    (shared / "classes.csv").write_text("class_id,name\n1,cup\n2,cup\n", "utf-8")
    with pytest.raises(UnusableFolderError, match=r"Found 'cup' twice in .*classes\.csv\. Rename one of the two"):
        read_layout(shared)


def test_masks_of_many_classes_without_names_are_refused(shared: Path) -> None:
    (shared / "classes.txt").unlink()
    with pytest.raises(UnusableListError, match=r"Found none at .*classes\.txt .*\. Correct the path"):
        read_layout(shared)


def test_a_folder_without_images_and_masks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UnusableFolderError, match=r"Found neither at .*\. Correct the path, or arrange the files so"):
        read_layout(tmp_path)
    with pytest.raises(UnusableFolderError, match=r"Found no folder at .*none\. Correct the path"):
        read_layout(tmp_path / "none")


def test_a_class_without_images_is_refused(apart: Path) -> None:
    (apart / "cup/images/0.jpg").unlink()
    with pytest.raises(UnusableFolderError, match=r"Found none in .*cup/images\. Add images, or remove the folder"):
        read_layout(apart).list_images()


def test_two_images_for_one_mask_are_refused(shared: Path) -> None:
    write_image(shared / "images/a.png")
    with pytest.raises(UnusableFolderError, match=r"Found several of 'a' in .*images\. Rename all but one"):
        read_layout(shared).list_images()
