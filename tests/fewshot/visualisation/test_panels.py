from dataclasses import replace

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.overlays import restore_colours
from fewshot.visualisation.panels import take_panel


def test_a_panel_holds_the_task_asked_for_with_all_its_supports(episode: Episode, prediction: Prediction) -> None:
    panel = take_panel(episode, prediction, task=1, title="bird")
    assert panel.title == "bird"
    for shot, image in enumerate(panel.support_images):
        assert torch.equal(image, restore_colours(episode.support_images[1, shot]))
    assert len(panel.support_images) == len(panel.support_masks) == 2
    assert torch.equal(panel.query_image, restore_colours(episode.query_image[1]))
    assert torch.equal(panel.prediction.long(), prediction.mask[1])
    assert panel.query_mask is not None
    assert panel.query_mask.unique().tolist() == [0, 1, 255]


def test_maps_are_stretched_to_the_query(episode: Episode, prediction: Prediction) -> None:
    panel = take_panel(episode, prediction)
    assert panel.prior_map is not None
    assert prediction.prior_map is not None
    assert panel.prior_map.shape == (24, 32)
    corners = panel.prior_map[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners, prediction.prior_map[0][[0, 0, -1, -1], [0, -1, 0, -1]])


def test_padding_is_cut_off(episode: Episode, prediction: Prediction) -> None:
    query_valid, support_valid = torch.zeros(2, 24, 32, dtype=torch.bool), torch.zeros(2, 2, 16, 16, dtype=torch.bool)
    query_valid[:, :20, :31] = True
    support_valid[:, 0, :, :9] = support_valid[:, 1, :7] = True
    panel = take_panel(replace(episode, query_valid=query_valid, support_valid=support_valid), prediction)
    assert panel.query_image.shape == (20, 31, 3)
    assert panel.prediction.shape == (20, 31)
    assert panel.transport_map is not None
    assert panel.transport_map.shape == (20, 31)
    assert [tuple(mask.shape) for mask in panel.support_masks] == [(16, 9), (7, 16)]


def test_iou_counts_known_pixels_only(episode: Episode, prediction: Prediction) -> None:
    logits = torch.zeros(2, 2, 24, 32)
    # Rows 6 to 17 are found and the last two; rows 0 to 11 are true and nobody knows the last two.
    logits[:, 1, 6:18] = logits[:, 1, -2:] = 1
    panel = take_panel(episode, replace(prediction, logits=logits))
    assert panel.iou == pytest.approx(6 / 18)


def test_nothing_found_where_nothing_is_counts_as_right(episode: Episode, prediction: Prediction) -> None:
    assert episode.query_mask is not None
    nothing = replace(prediction, logits=torch.zeros(2, 2, 24, 32))
    panel = take_panel(replace(episode, query_mask=torch.zeros_like(episode.query_mask)), nothing)
    assert panel.iou == 1


def test_without_truth_there_is_no_iou(episode: Episode, prediction: Prediction) -> None:
    assert take_panel(replace(episode, query_mask=None), prediction).iou is None
