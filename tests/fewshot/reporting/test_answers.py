from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.folder import Folder
from fewshot.reporting.answers import (
    FILE_NAMES,
    PICTURED,
    AnswerSummary,
    compose_report,
    summarise_answer,
    write_answer,
)
from fewshot.reporting.report import Report, Section, Table, render_report
from fewshot.segmenter import Segmentation, Segmenter
from tests.fewshot.photographs import FIT, build_network

MAKING = Section("How it was made", ())


@pytest.fixture(scope="module")
def queries(photographs: Folder) -> list[Path]:
    return sorted((photographs.root / "images").iterdir())[:6]


@pytest.fixture(scope="module")
def found(photographs: Folder, queries: list[Path]) -> Segmentation:
    """What a network with prior and transport found, given two supports."""
    segmenter = Segmenter(build_network(photographs, prior=True, transport="partial"), fit=FIT)
    masks = photographs.root / "masks"
    return segmenter.predict(queries[0], [(one, masks / one.name) for one in queries[4:6]])


@pytest.fixture(scope="module")
def plain(photographs: Folder, queries: list[Path], found: Segmentation) -> Segmentation:
    """The same of a network that has neither."""
    segmenter = Segmenter(build_network(photographs), fit=FIT)
    return segmenter.predict(queries[0], [(queries[4], photographs.root / "masks" / queries[4].name)])


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def list_rows(report: Report) -> Table:
    (table,) = (part for part in report.sections[0].parts if isinstance(part, Table))
    return table


def test_mask_and_probability_are_files_of_the_querys_size(found: Segmentation, tmp_path: Path) -> None:
    write_answer(found, tmp_path)
    mask, probability = read_pixels(tmp_path / "mask.png"), read_pixels(tmp_path / "probability.png")
    np.testing.assert_array_equal(mask, 255 * found.mask.numpy())
    np.testing.assert_allclose(probability / 255, found.probability.numpy(), atol=0.5 / 255 + 1e-6)
    assert read_pixels(tmp_path / "overlay.png").shape == (*mask.shape, 3)
    assert 0 < mask.mean() < 255, "a network that finds everything or nothing shows nothing"


def test_every_map_that_the_network_has_is_a_picture(found: Segmentation, plain: Segmentation, tmp_path: Path) -> None:
    assert [path.name for path in write_answer(found, tmp_path / "whole")] == list(FILE_NAMES)
    assert [path.name for path in write_answer(plain, tmp_path / "plain")] == list(FILE_NAMES[:3])
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == sorted(FILE_NAMES)
    for name in FILE_NAMES[3:]:
        assert read_pixels(tmp_path / "whole" / name).std() > 5


def test_an_answer_says_how_much_was_found_and_how_surely(found: Segmentation) -> None:
    answer = summarise_answer(found, "photo.png", pictured=False)
    assert answer.size == tuple(found.mask.shape)
    assert answer.share == pytest.approx(found.mask.float().mean().item())
    assert answer.certainty == pytest.approx(found.probability[found.mask].mean().item())
    assert found.prediction.fg_flow_fraction is not None
    assert answer.fg_flow_fraction == found.prediction.fg_flow_fraction.item()
    assert answer.pictures is None


def test_where_nothing_was_found_there_is_no_certainty(plain: Segmentation) -> None:
    nothing = Segmentation(
        plain.image,
        torch.zeros_like(plain.mask),
        torch.zeros_like(plain.probability),
        None,
        None,
        plain.episode,
        plain.prediction,
    )
    answer = summarise_answer(nothing, "photo.png", pictured=True)
    assert (answer.share, answer.certainty, answer.flow_entropy) == (0.0, None, None)
    assert "–" in render_report(compose_report([answer], MAKING))


def test_the_report_of_one_query_shows_it_large_with_maps_and_flows(found: Segmentation) -> None:
    report = compose_report([summarise_answer(found, "photo.png", pictured=True)], MAKING)
    titles = [section.title for section in report.sections]
    assert titles == ["Answers", "The object", "Segmentations", "Matching", "How it was made"]
    assert report.title == "Segmentation of photo.png"
    assert "2 labelled images" in report.summary
    assert "mass from the object, % of what moved" in list_rows(report).columns


def test_the_report_without_transport_speaks_of_none(plain: Segmentation) -> None:
    report = compose_report([summarise_answer(plain, "photo.png", pictured=True)], MAKING)
    assert [section.title for section in report.sections] == [
        "Answers",
        "The object",
        "Segmentations",
        "How it was made",
    ]
    assert list_rows(report).columns == ("query", "width × height", "object, % of pixels", "mean probability on it, %")
    assert "1 labelled image." in report.summary


def test_the_report_of_a_folder_lists_all_and_shows_the_first(found: Segmentation) -> None:
    shown = [summarise_answer(found, f"{number}.png", pictured=True) for number in range(2)]
    others = [AnswerSummary(f"{number}.png", (30, 40), 0.1, 0.9, 0.5, 0.5, None) for number in range(2, PICTURED + 1)]
    report = compose_report([*shown, *others], MAKING)
    assert len(list_rows(report).rows) == PICTURED + 1
    assert report.sections[0].folded
    assert "The first 2 queries by name." in render_report(report)
    assert "The object" not in [section.title for section in report.sections]
    assert report.title == f"Segmentation of {PICTURED + 1} images"
