import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.sampling import EpisodeSpec, collate_episodes
from fewshot.data.synthetic import LabelledImages
from fewshot.demo import BASELINE, PARTIAL, DemoConfig
from fewshot.model.cmnet import CMNet
from fewshot.report import Run, choose_tasks, list_scores, predict_with_prior, summarise_run, write_example

PICTURES = ("scores.png", "loss.png", "segmentations.png", "matching.png")


@pytest.fixture
def folder(tiny_demo: DemoConfig, tiny_run: Run) -> Path:
    assert tiny_run.rows
    return tiny_demo.output


@pytest.mark.parametrize("name", PICTURES)
def test_report_holds_pictures_that_show_something(name: str, folder: Path) -> None:
    pixels = np.asarray(Image.open(folder / name).convert("L"))
    assert min(pixels.shape) > 100
    assert pixels.std() > 5


def test_page_shows_every_picture_and_refers_to_files_that_exist(folder: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    references = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert set(PICTURES) <= set(references)
    assert all((folder / reference).is_file() for reference in references)
    assert "$" not in page, "nothing is left to fill in"


def test_page_prints_the_scores(folder: Path, tiny_run: Run) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name, row in tiny_run.rows.items():
        cells = "".join(f"<td>{score:.1f}</td>" for score in list_scores(row).values())
        assert f"<tr><td>{name}</td>{cells}</tr>" in page


def test_scores_file_holds_scores_and_how_they_were_made(folder: Path, tiny_run: Run) -> None:
    written = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    one_shot = written["rows"][PARTIAL]["evaluations"]["1-shot"]
    assert one_shot["scores"]["miou"] == tiny_run.rows[PARTIAL].evaluations[1].scores.miou
    assert set(one_shot["scores"]["class_intersection"]) == set(one_shot["scores"]["class_union"]) == {"4", "5"}
    assert (one_shot["episodes"], one_shot["ignored_pixels"], one_shot["resolution"]) == (8, "dropped", "original")
    assert written["settings"]["seed"] == 0
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["threads"] == torch.get_num_threads()
    assert set(written["durations"]) == set(tiny_run.durations)


def test_losses_of_every_step_are_kept(tiny_run: Run) -> None:
    summary = summarise_run(tiny_run)
    assert {name: len(losses) for name, losses in summary["losses"].items()} == {BASELINE: 5, PARTIAL: 5}
    assert not summary["supervised_stage"]["reused"]


def test_scores_are_listed_by_shot(tiny_run: Run) -> None:
    assert list(list_scores(tiny_run.rows[PARTIAL])) == [
        "mIoU, 1-shot",
        "FB-IoU, 1-shot",
        "mIoU, 2-shot",
        "FB-IoU, 2-shot",
    ]


def test_pictured_tasks_are_the_first_of_each_class() -> None:
    specs = [EpisodeSpec(class_id, query, (9,)) for query, class_id in enumerate((4, 4, 7, 5, 7, 6))]
    assert [spec.query for spec in choose_tasks(specs, 3)] == [0, 2, 3]


def test_prior_is_added_for_comparison_without_changing_the_answer(
    tiny_network: CMNet, tiny_base: LabelledImages
) -> None:
    episode = collate_episodes(tiny_base, (EpisodeSpec(1, 0, (3,)), EpisodeSpec(2, 1, (4,))))
    found = predict_with_prior(tiny_network, episode)
    assert tiny_network(episode).prior_map is None
    assert found.prior_map is not None
    assert found.prior_map.min() == 0
    assert found.prior_map.max() == 1
    torch.testing.assert_close(found.logits, tiny_network(episode).logits)


def test_example_files_are_the_images_of_the_episode(tiny_base: LabelledImages, tmp_path: Path) -> None:
    write_example(tiny_base, EpisodeSpec(2, 1, (4,)), tmp_path)
    support = np.asarray(Image.open(tmp_path / "support.png"))
    mask = np.asarray(Image.open(tmp_path / "support_mask.png"))
    np.testing.assert_array_equal(support, tiny_base.images[4].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(mask == 255, (tiny_base.labels[4] == 2).numpy())
    assert set(np.unique(mask)) == {0, 255}
