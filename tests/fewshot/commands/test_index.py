"""`fewshot index` on miniature trees."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fewshot.cli import main
from fewshot.commands.index import build_index_parser, index_data
from tests.fewshot.data import coco_tree, folder_tree, fss_tree
from tests.fewshot.data.voc_tree import write_mask, write_pair_list, write_shared


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_shared(tmp_path / "VOC2012")


@pytest.fixture
def arguments(root: Path, tmp_path: Path) -> list[str]:
    lists = [f"--data.train=[{root / 'train.txt'}]", f"--data.val=[{root / 'val.txt'}]"]
    return ["--data=Pascal", f"--data.root={root}", f"--data.index={tmp_path / 'index.json'}", *lists]


def run(arguments: Sequence[str]) -> str:
    return index_data(build_index_parser().parse_args(arguments), "fewshot index")


def read_rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.split("\n\n")[1].splitlines()[1:]]


def test_index_prints_the_counts_of_every_fold(arguments: list[str]) -> None:
    printed = run(arguments)
    assert "train: 6 images from train.txt (0 repeated lines left out), lists sha256 " in printed
    assert read_rows(printed) == [
        ["0", "4", "5", "1", "5", "2", "2", "0", "0", "1", "1", "0"],
        ["1", "5", "6", "1", "6", "0", "0", "0", "0", "0", "0", "0"],
        ["2", "3", "4", "1", "4", "2", "2", "0", "0", "0", "0", "2"],
        ["3", "5", "6", "1", "6", "0", "0", "0", "0", "0", "0", "0"],
    ]


def test_the_command_prints_what_it_counted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["index", *arguments])
    assert capsys.readouterr().out == f"{run(arguments)}\n"


def test_the_command_ends_with_what_stopped_it(arguments: list[str], root: Path) -> None:
    (root / "SegmentationClassAug/2008_000003.png").unlink()
    with pytest.raises(SystemExit, match=r"fewshot index: .* Found 1 of 18 files missing.*2008_000003\.png\. Correct"):
        main(["index", *arguments])
    with pytest.raises(SystemExit, match=r"fewshot index: `processes` must .*Found `processes = 0`\. Pass 1"):
        main(["index", *arguments, "--data.processes=0"])


def test_convention_and_rule_reach_the_counts(arguments: list[str]) -> None:
    assert read_rows(run([*arguments, "--convention=exclude"]))[0][:5] == ["0", "2", "3", "0", "3"]
    assert read_rows(run([*arguments, "--rule.legacy_class_draw=true"]))[0][:5] == ["0", "4", "5", "1", "6"]
    assert read_rows(run([*arguments, "--rule.min_pixels=2047"]))[0][:5] == ["0", "5", "6", "1", "6"]


def test_index_takes_several_lists_of_pairs(arguments: list[str], tmp_path: Path) -> None:
    trn = [
        str(write_pair_list(tmp_path / "fold0.txt", [("2008_000003", 3)])),
        str(write_pair_list(tmp_path / "fold2.txt", [("2008_000003", 12), ("2007_000002", 15)])),
    ]
    val = str(write_pair_list(tmp_path / "val0.txt", [("2010_000001", 3)]))
    printed = run([*arguments[:3], f"--data.train=[{', '.join(trn)}]", f"--data.val=[{val}]"])
    assert read_rows(printed)[0] == ["0", "2", "2", "1", "2", "1", "1", "0", "0", "1", "0", "0"]


def test_index_takes_its_options_from_a_file(arguments: list[str], root: Path, tmp_path: Path) -> None:
    (tmp_path / "index.yaml").write_text(
        "data:\n  class_path: Pascal\n  init_args:\n"
        f"    root: {root}\n    index: {tmp_path / 'index.json'}\n"
        f"    train: [{root / 'train.txt'}]\n    val: [{root / 'val.txt'}]\n",
        "utf-8",
    )
    assert run([f"--config={tmp_path / 'index.yaml'}"]) == run(arguments)


def test_index_prints_both_conventions_of_coco(tmp_path: Path) -> None:
    coco_tree.write_tree(tmp_path / "COCO")
    options = ["--data=Coco", f"--data.root={tmp_path / 'COCO'}", f"--data.index={tmp_path / 'coco.json'}"]
    printed = run(options)
    assert "train: 4 images from train.txt" in printed
    # A person, held out by fold 0 in both conventions, is in two images for training and in one of the test.
    assert read_rows(printed)[0][:7] == ["0", "1", "1", "0", "1", "1", "1"]
    assert read_rows(printed)[3][:7] == ["3", "3", "3", "0", "3", "1", "1"], "a stop sign"
    contiguous = read_rows(run([*options, "--data.folds=contiguous"]))
    assert contiguous[0][:7] == ["0", "0", "0", "0", "0", "2", "2"]
    assert contiguous[3][:7] == ["3", "3", "3", "0", "3", "0", "0"]


def test_index_sums_up_many_classes(tmp_path: Path) -> None:
    names = [f"class_{number}" for number in range(21)]
    fss_tree.write_tree(tmp_path / "fss", ["taxi", *names])
    lists = [
        f"--data.{part}={fss_tree.write_names(tmp_path / f'{part}.txt', found)}"
        for part, found in (("train", ["taxi"]), ("test", names))
    ]
    printed = run(
        ["--data=FSS1000", f"--data.root={tmp_path / 'fss'}", f"--data.index={tmp_path / 'fss.json'}", *lists]
    )
    assert "val: 210 images from test.txt (0 repeated lines left out)" in printed
    assert " ".join(read_rows(printed)[0]) == "0 10 10 0 10 210 210 10 to 10 in each of 21 classes"


def test_index_says_how_each_fold_divides_a_folder(tmp_path: Path) -> None:
    folder_tree.write_shared(tmp_path / "photos")
    options = ["--data=Folder", f"--data.root={tmp_path / 'photos'}", f"--data.index={tmp_path / 'photos.json'}"]
    printed = run([*options, "--data.folds=2", "--data.min_pixels=4"])
    assert "fold 0, train: 4 images from photos (0 repeated lines left out)" in printed
    assert "fold 1, val: 4 images from photos (0 repeated lines left out)" in printed
    assert read_rows(printed) == [
        ["0", "3", "3", "0", "3", "4", "5", "2", "3"],
        ["1", "3", "4", "0", "4", "4", "4", "2", "2"],
    ]
    assert read_rows(run([*options, "--data.held_out=[cup]"]))[0] == ["0", "4", "5", "0", "5", "3", "3", "3"]


def test_index_draws_the_built_in_data_set(tmp_path: Path) -> None:
    recipe = [f"--data.recipe.{name}=2" for name in ("base_classes", "novel_classes", "base_images", "novel_images")]
    printed = run(["--data=Synthetic", f"--data.cache={tmp_path}", *recipe])
    assert "train: 4 images from synthetic base" in printed
    assert len(read_rows(printed)) == 1


def test_index_counts_without_photographs_on_demand(arguments: list[str], root: Path) -> None:
    for path in (root / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Every image and mask .* Found 9 of 18 files missing"):
        run(arguments)
    assert read_rows(run([*arguments, "--data.photographs=false"]))[0][:3] == ["0", "4", "5"]


def test_index_reads_changed_masks_on_demand(arguments: list[str], root: Path) -> None:
    for rebuild, images in (("false", "4"), ("false", "4"), ("true", "3"), ("false", "3")):
        assert read_rows(run([*arguments, f"--rebuild={rebuild}"]))[0][1] == images
        write_mask(root / "SegmentationClassAug/2007_000001.png", {15: 5})


@pytest.mark.parametrize("damaged", ["SegmentationClassAug/2008_000003.png", "train.txt", "JPEGImages/2008_000003.jpg"])
def test_index_names_the_file_that_stops_it(arguments: list[str], root: Path, damaged: str) -> None:
    (root / damaged).write_bytes(b"<html> moved permanently </html>")
    with pytest.raises(ValueError, match=rf" in .*{Path(damaged).name}\. "):
        run(arguments)


@pytest.mark.parametrize(
    "option", ["--convention=drop", "--rule.min_pixel=3", "--data.test=a", "--data.photograph=true", "--data=Pascall"]
)
def test_index_refuses_options_that_it_does_not_know(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run([*arguments, option])
    assert exit_.value.code == 2
    assert option.split("=")[0].strip("-").split(".")[-1] in capsys.readouterr().err


def test_help_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "one of Pascal, Coco, FSS1000, Folder, Synthetic" in " ".join(capsys.readouterr().out.split())
