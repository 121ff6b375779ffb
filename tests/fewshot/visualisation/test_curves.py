import numpy as np
import pytest

from fewshot.visualisation.curves import Curve, draw_loss


def test_the_loss_is_drawn_with_its_running_mean() -> None:
    losses = {"partial": Curve((10, 20, 30, 40), (4.0, 2.0, 3.0, 1.0)), "none": Curve.of_every_step([5.0])}
    figure = draw_loss(losses, window=2)
    mean, raw, *_ = figure.axes[0].lines
    assert np.asarray(raw.get_xdata()).tolist() == [10, 20, 30, 40]
    assert np.asarray(raw.get_ydata()).tolist() == [4.0, 2.0, 3.0, 1.0]
    assert np.asarray(mean.get_ydata()).tolist() == [3.0, 2.5, 2.0]
    assert np.asarray(mean.get_xdata()).tolist() == [20, 30, 40]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["partial", "none"]


def test_values_of_every_step_count_from_0() -> None:
    assert Curve.of_every_step([3.0, 2.0]) == Curve((0, 1), (3.0, 2.0))


@pytest.mark.parametrize(("steps", "values"), [((), ()), ((1, 2), (0.5,))], ids=["empty", "uneven"])
def test_a_curve_without_a_value_at_each_step_is_refused(steps: tuple[int, ...], values: tuple[float, ...]) -> None:
    message = rf"Found {len(values)} values at {len(steps)} steps\. Leave a run out that logged nothing"
    with pytest.raises(ValueError, match=message):
        Curve(steps, values)
