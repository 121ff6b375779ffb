from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from fewshot.episode import Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.matching import Matches, draw_matching, find_matches
from fewshot.visualisation.panels import take_panel


def list_lines(figure: Figure) -> list[np.ndarray]:
    return [segment for one in list_collections(figure) for segment in one.get_segments()]


def list_collections(figure: Figure) -> list[LineCollection]:
    # The last axes are those of the colour bar.
    return [one for axes in figure.axes[:-1] for one in axes.collections if isinstance(one, LineCollection)]


def find_all(episode: Episode, prediction: Prediction, *, lines: int = 40) -> list[Matches]:
    return [find_matches(episode, prediction, shot=shot, lines=lines) for shot in range(2)]


def test_matches_join_object_nodes_to_where_most_of_their_mass_goes(episode: Episode, prediction: Prediction) -> None:
    found = find_matches(episode, prediction)
    # Only node 0 is covered by the object; node 5 is the last of 2 x 3 nodes on 24 x 32 pixels.
    assert found.starts.tolist() == [[0.0, 0.0]]
    assert found.ends.tolist() == [[31.0, 23.0]]
    assert found.mass.tolist() == pytest.approx([0.7])


def test_averaged_nodes_are_meant_by_the_centres_of_their_cells(episode: Episode, prediction: Prediction) -> None:
    found = find_matches(episode, replace(prediction, prior_map=None, transport_map=torch.rand(2, 4, 6)))
    assert found.starts.tolist() == [[3.5, 3.5]]
    assert found.ends.tolist() == [pytest.approx([32 * 5 / 6 - 0.5, 17.5])]


def test_matches_of_padded_images_lie_where_the_pictures_without_padding_have_them(
    episode: Episode, prediction: Prediction
) -> None:
    valid = torch.zeros(2, 24, 32, dtype=torch.bool)
    valid[:, 4:, 3:] = True
    found = find_matches(replace(episode, query_valid=valid), prediction)
    assert found.ends.tolist() == [[28.0, 19.0]]


def test_the_heaviest_matches_come_first_and_no_more_than_asked(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.fill_(1)
    plan = torch.zeros(2, 2, 4, 6)
    plan[0, 1] = torch.arange(4.0).unsqueeze(-1) * torch.eye(6)[:4]
    assert find_matches(episode, replace(prediction, plan=plan), shot=1, lines=2).mass.tolist() == [3.0, 2.0]


def test_each_support_has_a_row_with_as_many_lines_as_nodes_match(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.fill_(1)
    figure = draw_matching(take_panel(episode, prediction), find_all(episode, prediction, lines=3))
    assert len(list_lines(figure)) == 2 * 3
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["support 1", "query, predicted", "support 2", "query, predicted"]


def test_lines_run_from_the_left_picture_to_the_right_one(episode: Episode, prediction: Prediction) -> None:
    figure = draw_matching(take_panel(episode, prediction), find_all(episode, prediction))
    for axes, line in zip(figure.axes[:2], list_lines(figure), strict=True):
        left, right = (image.get_extent() for image in axes.images)
        (start_x, start_y), (end_x, end_y) = line
        assert left[0] < start_x < left[1] < right[0] < end_x < right[1]
        # The first node of the support, the last of the query.
        assert (start_y, end_y) == pytest.approx((0.5 / 16, 23.5 / 24))


def test_more_mass_is_a_lighter_line_on_one_scale_for_all_supports(episode: Episode, prediction: Prediction) -> None:
    assert prediction.plan is not None
    plan = prediction.plan.clone()
    plan[:, 1] /= 2
    half = replace(prediction, plan=plan)
    figure = draw_matching(take_panel(episode, half), find_all(episode, half))
    strong, weak = (np.asarray(one.get_colors())[0, :3].mean() for one in list_collections(figure))
    assert strong > weak
    assert figure.axes[-1].get_ylim() == pytest.approx((0, 0.7))


def test_a_mask_that_is_empty_draws_no_lines(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.zero_()
    assert not list_lines(draw_matching(take_panel(episode, prediction), find_all(episode, prediction)))


def test_a_prediction_without_plan_is_refused(episode: Episode, prediction: Prediction) -> None:
    with pytest.raises(ValueError, match=r"Found none\. Use a network whose `transport` is not 'none'"):
        find_matches(episode, replace(prediction, plan=None))


def test_matches_of_one_support_of_two_are_refused(episode: Episode, prediction: Prediction) -> None:
    panel = take_panel(episode, prediction)
    with pytest.raises(ValueError, match=r"Found 1 for 2 supports\. Call `find_matches` with each `shot`"):
        draw_matching(panel, [find_matches(episode, prediction)])
