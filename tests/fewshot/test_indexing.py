"""`fewshot index`, on a miniature tree and, where the true masks are at hand, on those."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from fewshot.cli import main
from fewshot.data.folds import pascal_fold
from fewshot.data.index import Index, StaleIndexError, load_index
from fewshot.data.lists import read_lists
from fewshot.indexing import FoldCounts, ListFiles, count_fold, make_index
from tests.fewshot.data.voc_tree import TRAIN, VAL, write_image_list, write_mask, write_pair_list, write_tree

needs_true_masks = pytest.mark.skipif(
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


@pytest.fixture
def files(tmp_path: Path) -> ListFiles:
    root = tmp_path / "VOC2012"
    write_tree(root, {**TRAIN, **VAL})
    train, val = write_image_list(root / "train.txt", list(TRAIN)), write_image_list(root / "val.txt", list(VAL))
    return ListFiles(root, [train], [val])


@pytest.fixture
def arguments(files: ListFiles, tmp_path: Path) -> list[str]:
    lists = [f"--lists.train={files.train[0]}", f"--lists.val={files.val[0]}"]
    return ["index", f"--data={files.root}", *lists, f"--out={tmp_path / 'index.json'}"]


def read_rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()[-4:]]


def test_index_prints_the_counts_of_every_fold(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    printed = capsys.readouterr().out
    assert "train: 6 images from train.txt (0 repeated lines left out), lists sha256 " in printed
    assert read_rows(printed) == [
        ["0", "4", "5", "1", "5", "2", "2", "0", "0", "1", "1", "0"],
        ["1", "5", "6", "1", "6", "0", "0", "0", "0", "0", "0", "0"],
        ["2", "3", "4", "1", "4", "2", "2", "0", "0", "0", "0", "2"],
        ["3", "5", "6", "1", "6", "0", "0", "0", "0", "0", "0", "0"],
    ]


def test_convention_and_rule_reach_the_counts(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*arguments, "--convention=exclude"])
    assert read_rows(capsys.readouterr().out)[0][:5] == ["0", "2", "3", "0", "3"]
    main([*arguments, "--rule.legacy_class_draw=true"])
    assert read_rows(capsys.readouterr().out)[0][:5] == ["0", "4", "5", "1", "6"]
    main([*arguments, "--rule.min_pixels=2047"])
    assert read_rows(capsys.readouterr().out)[0][:5] == ["0", "5", "6", "1", "6"]


def test_index_takes_several_lists_of_pairs(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trn = [
        str(write_pair_list(tmp_path / "fold0.txt", [("2008_000003", 3)])),
        str(write_pair_list(tmp_path / "fold2.txt", [("2008_000003", 12), ("2007_000002", 15)])),
    ]
    val = str(write_pair_list(tmp_path / "val0.txt", [("2010_000001", 3)]))
    main([*arguments[:2], "--lists.train", *trn, f"--lists.val={val}", arguments[4]])
    assert read_rows(capsys.readouterr().out)[0] == ["0", "2", "2", "1", "2", "1", "1", "0", "0", "1", "0", "0"]


def test_an_index_that_is_there_is_not_made_again(files: ListFiles, tmp_path: Path) -> None:
    made = make_index(files, tmp_path / "index.json")
    for path in (files.root / "SegmentationClassAug").iterdir():
        path.unlink()
    assert make_index(files, tmp_path / "index.json") == made
    with pytest.raises(FileNotFoundError, match="Found 9 of 18 files missing"):
        make_index(files, tmp_path / "index.json", rebuild=True)
    assert load_index(tmp_path / "index.json") == made, "a failure leaves the file that was there"


def test_an_index_of_other_lists_is_refused_until_it_is_rebuilt(files: ListFiles, tmp_path: Path) -> None:
    make_index(files, tmp_path / "index.json")
    write_image_list(files.train[0], list(TRAIN)[:3])
    with pytest.raises(StaleIndexError, match=r"Found other content in .*train\.txt .*Make the index again"):
        make_index(files, tmp_path / "index.json")
    assert len(make_index(files, tmp_path / "index.json", rebuild=True).train.entries) == 3
    assert len(make_index(files, tmp_path / "index.json").train.entries) == 3


def test_index_counts_without_photographs_on_demand(
    arguments: list[str], files: ListFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (files.root / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=r"fewshot index: Every image and mask .* Found 9 of 18 files missing"):
        main(arguments)
    main([*arguments, "--photographs=false"])
    assert read_rows(capsys.readouterr().out)[0][:3] == ["0", "4", "5"]


def test_index_reads_changed_masks_on_demand(
    arguments: list[str], files: ListFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    for rebuild, images in (("false", "4"), ("false", "4"), ("true", "3"), ("false", "3")):
        main([*arguments, f"--rebuild={rebuild}"])
        assert read_rows(capsys.readouterr().out)[0][1] == images
        write_mask(files.root / "SegmentationClassAug/2007_000001.png", {15: 5})


def test_index_refuses_to_read_with_no_process(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"Found `processes = 0`\. Pass 1"):
        main([*arguments, "--processes=0"])


@pytest.mark.parametrize("damaged", ["SegmentationClassAug/2008_000003.png", "train.txt", "JPEGImages/2008_000003.jpg"])
def test_index_names_the_file_that_stops_it(arguments: list[str], files: ListFiles, damaged: str) -> None:
    (files.root / damaged).write_bytes(b"<html> moved permanently </html>")
    with pytest.raises(SystemExit, match=rf"fewshot index: .* in .*{Path(damaged).name}\. "):
        main(arguments)


@pytest.mark.parametrize("option", ["--convention=drop", "--rule.min_pixel=3", "--lists.test=a"])
def test_index_refuses_options_that_it_does_not_know(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, option])
    assert exit_.value.code == 2
    assert option.split("=")[0].strip("-").split(".")[-1] in capsys.readouterr().err


@pytest.fixture(scope="module")
def true_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("true_masks")
    with zipfile.ZipFile(Path(os.environ["PARTIALOT_DATA"]) / "SegmentationClassAug.zip") as archive:
        archive.extractall(root)
    assert sum(1 for _ in (root / "SegmentationClassAug").glob("*.png")) == 12_031
    return root


def index_true_masks(root: Path, train: Sequence[str], val: Sequence[str]) -> Index:
    """Make the index, and take it from its file, so that both ways are held to the counts."""
    lists = Path(os.environ["PARTIALOT_DATA"]) / "lists"
    files = ListFiles(root, [lists / name for name in train], [lists / name for name in val])
    made = make_index(files, root / "index.json", rebuild=True, processes=2, photographs=False)
    assert make_index(files, root / "index.json", photographs=False) == made
    return made


def count_folds(index: Index) -> list[FoldCounts]:
    return [count_fold(index, pascal_fold(number)) for number in range(4)]


@needs_true_masks
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
    index = index_true_masks(true_root, train, ["pfenet_pascal/val.txt"])
    assert (len(index.train.entries), len(index.val.entries), index.train.duplicates) == (5953, 1449, duplicates)
    for found, expected in zip(count_folds(index), PFENET_COUNTS, strict=True):
        row = (found.train_images, found.train_pairs, found.also_held_out, found.val_images, found.val_pairs)
        assert (*row, found.val_per_class) == expected
        assert found.query_pairs == found.train_pairs


@needs_true_masks
@pytest.mark.timeout(600)
def test_true_masks_give_the_counts_of_hsnets_lists(true_root: Path) -> None:
    names = {part: [f"hsnet_pascal/{part}/fold{number}.txt" for number in range(4)] for part in ("trn", "val")}
    index = index_true_masks(true_root, names["trn"], names["val"])
    found = [(counts.train_pairs, counts.also_held_out, counts.val_pairs) for counts in count_folds(index)]
    assert tuple(found) == HSNET_COUNTS
    assert sum(len(entry.listed or ()) for entry in index.train.entries) == 13_680
    pfenet = read_lists([Path(os.environ["PARTIALOT_DATA"]) / "lists/pfenet_pascal/voc_sbd_merge_noduplicate.txt"])
    foreign = {entry.image for entry in index.train.entries} - {listed.image for listed in pfenet.images}
    assert round(100 * len(foreign) / len(index.train.entries)) == 44
