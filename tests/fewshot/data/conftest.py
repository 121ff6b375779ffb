from pathlib import Path

import pytest

from fewshot.data.folds import PASCAL_CLASSES
from fewshot.data.index import Index, build_index
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
def voc_index(voc_root: Path) -> Index:
    return build_index(voc_root, [voc_root / "train.txt"], [voc_root / "val.txt"], classes=PASCAL_CLASSES)
