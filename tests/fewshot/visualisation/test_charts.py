from statistics import stdev

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure

from fewshot.visualisation.charts import draw_class_scores, draw_differences, draw_scores


def list_bars(figure: Figure) -> list[list[float]]:
    groups = [group for group in figure.axes[0].containers if isinstance(group, BarContainer)]
    return [[bar.get_width() for bar in group] for group in groups]


def list_labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def list_error_bars(axes: Axes) -> list[np.ndarray]:
    found = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    return [lines[0].get_segments()[0][:, 0] for one in found if (lines := one.lines[2])]


def test_scores_stand_side_by_side_with_their_values() -> None:
    figure = draw_scores({"none": {"mIoU": [40.0], "FB-IoU": [60.0]}, "partial": {"mIoU": [47.25]}})
    assert list_bars(figure) == [[40.0, 47.25], [60.0]]
    assert list_labels(figure.axes[0]) == ["40.0", "47.2", "60.0"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["none", "partial"]
    assert figure.axes[0].get_xlim()[0] == 0, "a bar that does not start at 0 exaggerates"


def test_scores_of_zero_are_drawn() -> None:
    figure = draw_scores({"none": {"mIoU": [0.0]}})
    assert list_bars(figure) == [[0.0]]
    assert figure.axes[0].get_xlim() == (0, 1)


def test_several_seeds_are_drawn_as_mean_deviation_and_points() -> None:
    seeds = [40.0, 44.0, 45.0]
    figure = draw_scores({"partial": {"mIoU": seeds}})
    axes = figure.axes[0]
    assert list_bars(figure) == [[43.0]]
    assert list_labels(axes) == [f"43.0 ± {stdev(seeds):.1f}"]
    (error,) = list_error_bars(axes)
    assert error.tolist() == pytest.approx([43.0 - stdev(seeds), 43.0 + stdev(seeds)])
    drawn = [np.asarray(one.get_offsets())[:, 0].tolist() for one in axes.collections]
    assert seeds in drawn


def test_classes_have_a_bar_for_each_network() -> None:
    figure = draw_class_scores({"none": {"bird": 30.0, "boat": 20.0}, "partial": {"bird": 35.0, "boat": 25.0}})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["bird", "boat"]
    assert list_bars(figure) == [[30.0, 20.0], [35.0, 25.0]]


def test_differences_have_bars_of_two_standard_errors_about_their_mean() -> None:
    seeds = [1.0, 2.0, 6.0]
    figure = draw_differences({"partial": seeds, "full": [-1.0]}, baseline="none")
    axes = figure.axes[0]
    (error,) = list_error_bars(axes)
    half = 2 * stdev(seeds) / 3**0.5
    assert error.tolist() == pytest.approx([3 - half, 3 + half])
    assert list_labels(axes) == ["+3.0", "-1.0"]
    assert "above none" in axes.get_xlabel()


@pytest.mark.parametrize("rows", [{}, {"partial": {"mIoU": []}}], ids=["no rows", "no values"])
def test_scores_without_values_are_refused(rows: dict[str, dict[str, list[float]]]) -> None:
    with pytest.raises(ValueError, match=r"Found (no row at all|none in 'partial, mIoU')\. Leave out rows"):
        draw_scores(rows)


def test_a_difference_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none in 'partial'\. Leave out rows that were not evaluated"):
        draw_differences({"partial": []}, baseline="none")
