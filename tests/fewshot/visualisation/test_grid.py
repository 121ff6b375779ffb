from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from fewshot.episode import Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.grid import draw_grid
from fewshot.visualisation.panels import Panel, take_panel


@pytest.fixture
def panels(episode: Episode, prediction: Prediction) -> list[Panel]:
    return [take_panel(episode, prediction, task=task, title=title) for task, title in enumerate(("bird", "boat"))]


def list_texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def list_titles(figure: Figure, names: Sequence[str] = ("bird", "boat")) -> list[str]:
    return [text for text in list_texts(figure) if text not in names and not text.startswith("IoU")]


def count_pictures(figure: Figure) -> int:
    return sum(len(axes.images) for axes in figure.axes)


def test_the_grid_has_a_row_per_task_and_a_titled_column_per_picture(panels: list[Panel]) -> None:
    figure = draw_grid({"partial": panels})
    assert list_titles(figure) == ["2 supports", "query", "prior", "transport map", "prediction", "truth"]
    assert count_pictures(figure) == 2 * 6


def test_names_and_ious_stand_beside_the_pictures(panels: list[Panel]) -> None:
    texts = list_texts(draw_grid({"partial": panels}))
    assert {"bird", "boat"} <= set(texts)
    for panel in panels:
        assert panel.iou is not None
        assert f"IoU {100 * panel.iou:.0f}" in texts


def test_columns_that_no_task_fills_are_left_out(episode: Episode, prediction: Prediction) -> None:
    plain = replace(prediction, prior_map=None, transport_map=None)
    one_shot = replace(
        episode,
        support_images=episode.support_images[:, :1],
        support_masks=episode.support_masks[:, :1],
        query_mask=None,
    )
    figure = draw_grid({"baseline": [take_panel(one_shot, plain)]})
    assert list_texts(figure) == ["support", "query", "prediction"]


def test_several_networks_stand_side_by_side_and_share_their_prior(panels: list[Panel]) -> None:
    plain = [replace(panel, prior_map=None, transport_map=None) for panel in panels]
    figure = draw_grid({"baseline": plain, "full": panels, "partial": panels})
    assert list_titles(figure) == [
        "2 supports",
        "query",
        "prior",
        "baseline\nprediction",
        "full\ntransport map",
        "full\nprediction",
        "partial\ntransport map",
        "partial\nprediction",
        "truth",
    ]


def test_priors_that_differ_are_drawn_for_each_network(panels: list[Panel]) -> None:
    assert panels[0].prior_map is not None
    other = [replace(panels[0], prior_map=1 - panels[0].prior_map), panels[1]]
    titles = list_titles(draw_grid({"one": panels, "other": other}))
    assert [title for title in titles if "prior" in title] == ["one\nprior", "other\nprior"]


def test_the_scale_of_a_map_ends_at_the_greatest_value_of_its_column(panels: list[Panel]) -> None:
    maps = [torch.full((24, 32), value) for value in (0.02, 0.05)]
    figure = draw_grid({"": [replace(panel, transport_map=values) for panel, values in zip(panels, maps, strict=True)]})
    ends = [[tick.get_text() for tick in inset.get_xticklabels()] for axes in figure.axes for inset in axes.child_axes]
    assert ["0", "0.05"] in ends
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    columns = len(pictures) // 2
    low, high = (np.asarray(pictures[row * columns + 3]).mean() for row in (0, 1))
    assert low < high


def test_a_map_of_zeros_is_drawn(panels: list[Panel]) -> None:
    empty = [replace(panel, transport_map=torch.zeros(24, 32)) for panel in panels]
    assert count_pictures(draw_grid({"": empty})) == 2 * 6


def test_rows_are_as_high_as_their_queries_are(panels: list[Panel]) -> None:
    wide = draw_grid({"": panels})
    tall = [
        Panel(
            panel.support_images,
            panel.support_masks,
            panel.query_image.transpose(0, 1),
            panel.prediction.T.contiguous(),
        )
        for panel in panels
    ]
    assert draw_grid({"": tall}).get_figheight() > 1.3 * wide.get_figheight()


@pytest.mark.parametrize("counts", [(), (0,), (2, 1)], ids=str)
def test_a_grid_without_tasks_or_of_different_ones_is_refused(counts: tuple[int, ...], panels: list[Panel]) -> None:
    networks = {f"network {number}": panels[:count] for number, count in enumerate(counts)}
    with pytest.raises(ValueError, match=r"Found \{.*\} tasks\. Pass what `take_panel` returns for each, in one order"):
        draw_grid(networks)
