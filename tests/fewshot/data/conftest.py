from pathlib import Path

import pytest

from fewshot.data.index import Index
from fewshot.data.pascal import Pascal
from fewshot.data.pools import EpisodePool
from tests.fewshot.data import coco_tree, voc_tree
from tests.fewshot.data.sampling_cases import LARGE, make_pool


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """A data folder with photographs, masks and the two lists `train.txt` and `val.txt`."""
    return voc_tree.write_shared(tmp_path / "VOC2012")


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


@pytest.fixture
def pool() -> EpisodePool:
    """Twelve images: class 1 in images 0-7, class 2 in images 4-11."""
    shown = [{1: LARGE}] * 4 + [{1: LARGE, 2: LARGE}] * 4 + [{2: LARGE}] * 4
    return make_pool([dict(each) for each in shown])
