from dataclasses import replace

import pytest
import torch

from fewshot.data.transforms import normalise_images
from fewshot.episode import Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.panels import draw_panels, overlay_mask, restore_colours, take_panel


def test_restored_colours_are_those_before_normalisation() -> None:
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(restore_colours(normalise_images(image)).permute(2, 0, 1), image)


def test_an_overlay_tints_the_object_and_what_is_unknown_and_greys_the_rest() -> None:
    image = torch.randint(0, 256, (2, 3, 3), dtype=torch.uint8)
    mask = torch.tensor([[1, 0, 255], [0, 0, 0]], dtype=torch.uint8)
    tinted = overlay_mask(image, mask)
    grey = (tinted == tinted[..., :1]).all(-1)
    assert grey.tolist() == [[False, True, False], [True, True, True]]
    assert tinted[0, 0, 0] > tinted[0, 0, 1]
    assert (tinted[0, 2] >= 127).all()


@pytest.mark.parametrize(("opacity", "value"), [(0.0, 100), (1.0, 230)])
def test_opacity_runs_from_the_image_to_the_tint(opacity: float, value: int) -> None:
    image = torch.full((1, 1, 3), 100, dtype=torch.uint8)
    assert overlay_mask(image, torch.ones(1, 1, dtype=torch.bool), opacity=opacity)[0, 0, 0] == value


def test_a_panel_holds_the_task_and_the_shot_asked_for(episode: Episode, prediction: Prediction) -> None:
    panel = take_panel(episode, prediction, task=1, shot=1)
    assert torch.equal(panel.support_image, restore_colours(episode.support_images[1, 1]))
    assert torch.equal(panel.query_image, restore_colours(episode.query_image[1]))
    assert torch.equal(panel.prediction.long(), prediction.mask[1])
    assert panel.query_mask is not None
    assert panel.query_mask.unique().tolist() == [0, 1, 255]


def test_the_grid_has_a_row_per_task_and_a_titled_column_per_picture(episode: Episode, prediction: Prediction) -> None:
    figure = draw_panels([take_panel(episode, prediction, task=task) for task in range(2)])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["support", "query", "prior", "transport", "prediction", "truth", *[""] * 6]
    assert all(len(axes.images) == 1 for axes in figure.axes)


def test_columns_that_no_task_fills_are_left_out(episode: Episode, prediction: Prediction) -> None:
    plain = replace(prediction, prior_map=None, transport_map=None)
    figure = draw_panels([take_panel(replace(episode, query_mask=None), plain)])
    assert [axes.get_title() for axes in figure.axes] == ["support", "query", "prediction"]


def test_a_grid_without_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none\. Pass what `take_panel` returns"):
        draw_panels([])
