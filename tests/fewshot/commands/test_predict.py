import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.checkpoint import save_checkpoint
from fewshot.commands.predict import REPORT, build_predict_parser, list_queries, parse_supports, predict_files
from fewshot.data.folder import Folder
from fewshot.data.reading import UnreadableImageError
from fewshot.reporting.answers import FILE_NAMES
from fewshot.segmenter import Segmenter
from tests.fewshot.photographs import FIT, build_network


@pytest.fixture(scope="module")
def checkpoint(photographs: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cmnet.safetensors"
    save_checkpoint(build_network(photographs, prior=True, transport="partial"), path, fit=FIT)
    return path


@pytest.fixture
def folder(photographs: Folder, tmp_path: Path) -> Path:
    """Two photographs to segment, a third with its mask as support, and a file that is no image."""
    for name in ("00", "04", "08"):
        source = photographs.root / "images" / f"{name}.png"
        (tmp_path / "queries").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / ("support.png" if name == "08" else f"queries/{name}.png"))
    shutil.copy(photographs.root / "masks" / "08.png", tmp_path / "support_mask.png")
    (tmp_path / "queries" / "notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path


def run(*arguments: str | Path) -> str:
    parser = build_predict_parser()
    return predict_files(parser.parse_args([str(one) for one in arguments]), "fewshot predict …")


def test_a_query_leaves_masks_pictures_and_one_report(folder: Path, checkpoint: Path) -> None:
    output, query = folder / "out", folder / "queries" / "00.png"
    support = (folder / "support.png", folder / "support_mask.png")
    said = run("--checkpoint", checkpoint, "--support", *support, "--query", query, "--output", output)
    assert sorted(path.name for path in output.iterdir()) == sorted([*FILE_NAMES, REPORT])
    assert str(output / "mask.png") in said
    assert str(output / REPORT) in said
    expected = Segmenter.from_checkpoint(checkpoint).predict(query, [support])
    with Image.open(output / "mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) == 255, expected.mask.numpy())
    page = (output / REPORT).read_text(encoding="utf-8")
    assert "fewshot predict …" in page
    assert str(checkpoint) in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_a_folder_is_answered_image_by_image(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = folder / "out"
    boxes = ("5,5,20,20", "0,0,4,4")
    said = run(
        "--checkpoint", checkpoint, "--support", folder / "support.png", *boxes, "--query", folder / "queries",
        "--output", output, "--device", "cpu",
    )  # fmt: skip
    assert sorted(path.name for path in output.iterdir()) == ["00", "04", REPORT]
    assert sorted(path.name for path in (output / "04").iterdir()) == sorted(FILE_NAMES)
    assert "2 folders" in said
    assert "2/2" in capsys.readouterr().err, "a bar tells how far it is"
    expected = Segmenter.from_checkpoint(checkpoint).predict(
        folder / "queries" / "04.png", [(folder / "support.png", [(5, 5, 20, 20), (0, 0, 4, 4)])]
    )
    with Image.open(output / "04" / "mask.png") as mask:
        assert torch.equal(torch.from_numpy(np.array(mask)) == 255, expected.mask)


def test_a_label_chooses_among_those_of_a_mask(folder: Path, checkpoint: Path) -> None:
    with Image.open(folder / "support_mask.png") as mask:
        labels = np.array(mask)
    labels[0, :9] = 7
    Image.fromarray(labels).save(folder / "two.png")
    arguments = ["--checkpoint", checkpoint, "--support", folder / "support.png", folder / "two.png"]
    arguments += ["--query", folder / "queries" / "00.png", "--output", folder / "out"]
    with pytest.raises(ValueError, match=r"Found labels \[1, 7\] in .*two\.png\. Pass one of them as `label`"):
        run(*arguments)
    run(*arguments, "--label", "7")
    assert (folder / "out" / "mask.png").is_file()


def test_a_file_of_the_users_is_never_overwritten(folder: Path, checkpoint: Path) -> None:
    shutil.copy(folder / "support_mask.png", folder / "mask.png")
    before = (folder / "mask.png").read_bytes()
    with pytest.raises(ValueError, match=r"Found that .*mask\.png would be\. Choose another folder"):
        run(
            "--checkpoint", checkpoint, "--support", folder / "support.png", folder / "mask.png",
            "--query", folder / "queries" / "00.png", "--output", folder,
        )  # fmt: skip
    assert (folder / "mask.png").read_bytes() == before


def test_supports_are_images_with_masks_or_boxes() -> None:
    words = ["a.jpg", "a.png", "b.jpg", "1,2,30,40", "5,6,7,8", "c.jpg", "c.png"]
    assert parse_supports(words) == [
        (Path("a.jpg"), Path("a.png")),
        (Path("b.jpg"), [(1, 2, 30, 40), (5, 6, 7, 8)]),
        (Path("c.jpg"), Path("c.png")),
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a.jpg"], r"a\.jpg with nothing after it"),
        (["a.jpg", "a.png", "b.jpg"], r"b\.jpg with nothing after it"),
        (["1,2,3,4", "a.png"], r"1,2,3,4 where an image should be"),
        (["a.jpg", "a.png", "1,2,3,4"], r"1,2,3,4 where an image should be"),
    ],
    ids=str,
)
def test_supports_without_label_or_image_are_refused(words: list[str], found: str) -> None:
    with pytest.raises(ValueError, match=rf"Found {found}\. Give each image followed by one mask, or by a box"):
        parse_supports(words)


def test_queries_of_a_folder_are_its_images_by_name(folder: Path) -> None:
    (folder / "queries" / "deeper").mkdir()
    shutil.copy(folder / "support.png", folder / "queries" / "01.PNG")
    names = [path.name for path in list_queries(folder / "queries")]
    assert names == ["00.png", "01.PNG", "04.png"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Found none in .*\. Correct the path; folders inside it are not searched"):
        list_queries(tmp_path)


def test_images_that_would_share_their_results_are_refused(folder: Path) -> None:
    with Image.open(folder / "support.png") as image:
        image.convert("RGB").save(folder / "queries" / "04.jpg")
    with pytest.raises(ValueError, match=r"Found more than one 04 in .*queries\. Rename one of them"):
        list_queries(folder / "queries")


def test_a_file_that_is_no_image_is_found_before_anything_is_segmented(folder: Path, checkpoint: Path) -> None:
    (folder / "queries" / "05.jpg").write_bytes(b"no image")
    support = (folder / "support.png", folder / "support_mask.png")
    with pytest.raises(UnreadableImageError, match=r"Found something else in .*05\.jpg\. Convert it first"):
        run(
            "--checkpoint", checkpoint, "--support", *support, "--query", folder / "queries",
            "--output", folder / "out",
        )  # fmt: skip
    assert not (folder / "out").exists()
