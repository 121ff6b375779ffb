"""`fewshot index` counts the masks and lists that others publish as they do, where those are at hand."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.commands.index import FoldCounts, count_fold
from fewshot.data.fss1000 import FSS1000
from fewshot.data.lists import read_lists, read_names
from fewshot.data.pascal import Pascal

pytestmark = pytest.mark.skipif(
    "PARTIALOT_DATA" not in os.environ, reason="PARTIALOT_DATA names no folder with the masks of VOC2012 and SBD"
)
PFENET_COUNTS = (
    (4760, 6546, 373, 364, 365, (81, 63, 89, 61, 71)),
    (4588, 5896, 775, 445, 467, (70, 100, 118, 110, 69)),
    (4097, 4628, 1136, 592, 734, (73, 125, 76, 74, 386)),
    (5108, 6639, 549, 336, 357, (63, 53, 90, 82, 69)),
)
"""From CyCTR's cached lists: train images, train pairs, also held out, val images, val pairs, val per class."""
HSNET_COUNTS = ((11394, 637, 346), (10255, 1298, 451), (7797, 1945, 725), (11594, 896, 346))
"""From HSNet's lists: train pairs, images of them also listed under held-out classes, val pairs."""


@pytest.fixture(scope="module")
def true_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("true_masks")
    with zipfile.ZipFile(Path(os.environ["PARTIALOT_DATA"]) / "SegmentationClassAug.zip") as archive:
        archive.extractall(root)
    assert sum(1 for _ in (root / "SegmentationClassAug").glob("*.png")) == 12_031
    return root


def true_masks(root: Path, train: Sequence[str], val: Sequence[str]) -> Pascal:
    """Make the index, which is then read from its file, so that both ways are held to the counts."""
    lists = Path(os.environ["PARTIALOT_DATA"]) / "lists"
    data = Pascal(
        root,
        tuple(lists / name for name in train),
        tuple(lists / name for name in val),
        root / "index.json",
        photographs=False,
        processes=2,
    )
    data.rebuild_index()
    return data


def count_folds(data: Pascal) -> list[FoldCounts]:
    return [
        count_fold(data.load_index(number), data.fold(number), rule=data.draw_rule) for number in range(data.fold_count)
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("train", "duplicates"),
    [
        (["pfenet_pascal/voc_sbd_merge_noduplicate.txt"], 0),
        (["pfenet_pascal/voc_original_train.txt", "pfenet_pascal/sbd_data.txt"], 1134),
    ],
    ids=["merged", "VOC and SBD apart"],
)
def test_true_masks_give_the_counts_of_pfenets_lists(true_root: Path, train: list[str], duplicates: int) -> None:
    data = true_masks(true_root, train, ["pfenet_pascal/val.txt"])
    index = data.load_index(0)
    assert (len(index.train.entries), len(index.val.entries), index.train.duplicates) == (5953, 1449, duplicates)
    for found, expected in zip(count_folds(data), PFENET_COUNTS, strict=True):
        row = (found.train_images, found.train_pairs, found.also_held_out, found.val_images, found.val_pairs)
        assert (*row, found.val_per_class) == expected
        assert found.query_pairs == found.train_pairs


@pytest.mark.timeout(600)
def test_true_masks_give_the_counts_of_hsnets_lists(true_root: Path) -> None:
    names = {part: [f"hsnet_pascal/{part}/fold{number}.txt" for number in range(4)] for part in ("trn", "val")}
    data = true_masks(true_root, names["trn"], names["val"])
    index = data.load_index(0)
    found = [(counts.train_pairs, counts.also_held_out, counts.val_pairs) for counts in count_folds(data)]
    assert tuple(found) == HSNET_COUNTS
    assert sum(len(entry.listed or ()) for entry in index.train.entries) == 13_680
    pfenet = read_lists([Path(os.environ["PARTIALOT_DATA"]) / "lists/pfenet_pascal/voc_sbd_merge_noduplicate.txt"])
    foreign = {entry.image for entry in index.train.entries} - {listed.image for listed in pfenet.images}
    assert round(100 * len(foreign) / len(index.train.entries)) == 44


def test_true_lists_of_fss1000_name_every_class_once(tmp_path: Path) -> None:
    lists = Path(os.environ["PARTIALOT_DATA"]) / "lists/fss1000"
    parts = {name: read_names(lists / f"{name}.txt") for name in ("trn", "val", "test")}
    assert [len(names) for names in parts.values()] == [520, 240, 240]
    assert len({name for names in parts.values() for name in names}) == 1000
    assert "abe's_flyingfish" in parts["test"]
    data = FSS1000(tmp_path, lists / "trn.txt", lists / "test.txt", tmp_path / "fss.json")
    assert data.fold(0).held_out == tuple(range(521, 761))
    assert replace(data, test=lists / "val.txt").fold(0).held_in == data.fold(0).held_in
