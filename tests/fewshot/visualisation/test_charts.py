from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import BarContainer
from PIL import Image

from fewshot.visualisation.charts import draw_loss, draw_scores
from fewshot.visualisation.figures import save_figure


def test_the_loss_is_drawn_with_its_running_mean() -> None:
    figure = draw_loss({"partial": [4.0, 2.0, 3.0, 1.0], "none": [5.0]}, window=2)
    mean, raw, *_ = figure.axes[0].lines
    assert np.asarray(raw.get_ydata()).tolist() == [4.0, 2.0, 3.0, 1.0]
    assert np.asarray(mean.get_ydata()).tolist() == [3.0, 2.5, 2.0]
    assert np.asarray(mean.get_xdata()).tolist() == [1, 2, 3]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["partial", "none"]


def test_a_run_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none in 'empty'\. Leave the run out"):
        draw_loss({"empty": []})


def test_scores_stand_side_by_side_with_their_values() -> None:
    figure = draw_scores({"none": {"mIoU": 40.0, "FB-IoU": 60.0}, "partial": {"mIoU": 47.25}})
    axes = figure.axes[0]
    heights = [[bar.get_height() for bar in group] for group in axes.containers if isinstance(group, BarContainer)]
    assert heights == [[40.0, 47.25], [60.0]]
    assert [text.get_text() for text in axes.texts] == ["40.0", "47.2", "60.0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "partial"]


def test_a_figure_is_written_with_its_folder(tmp_path: Path) -> None:
    save_figure(draw_loss({"run": [1.0, 0.5]}), tmp_path / "report" / "loss.png")
    with Image.open(tmp_path / "report" / "loss.png") as picture:
        assert picture.size == (900, 525)
