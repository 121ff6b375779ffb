from pathlib import Path

import pytest

from fewshot.data.index import Index
from fewshot.data.pascal import Pascal
from tests.fewshot.data import coco_tree
from tests.fewshot.data.voc_tree import TRAIN, VAL, write_image_list, write_tree


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """A data folder with photographs, masks and the two lists `train.txt` and `val.txt`."""
    root = tmp_path / "VOC2012"
    write_tree(root, {**TRAIN, **VAL})
    write_image_list(root / "train.txt", list(TRAIN))
    write_image_list(root / "val.txt", list(VAL))
    return root


@pytest.fixture
def pascal(voc_root: Path) -> Pascal:
    return Pascal(voc_root, (voc_root / "train.txt",), (voc_root / "val.txt",), voc_root.parent / "index.json")


@pytest.fixture
def voc_index(pascal: Pascal) -> Index:
    return pascal.load_index(0)


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """A data folder with photographs and annotations."""
    root = tmp_path / "COCO"
    coco_tree.write_tree(root)
    return root
