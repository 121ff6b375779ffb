from dataclasses import replace

import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.matching import draw_matching, find_matches
from fewshot.visualisation.panels import take_panel


def test_matches_join_object_nodes_to_where_most_of_their_mass_goes(episode: Episode, prediction: Prediction) -> None:
    starts, ends, mass = find_matches(take_panel(episode, prediction), prediction)
    # Only node 0 is covered by the object; node 5 is the last of 2 x 3 nodes on 24 x 32 pixels.
    assert starts.tolist() == [[0.0, 0.0]]
    assert ends.tolist() == [[31.0, 23.0]]
    assert mass.tolist() == pytest.approx([0.7])


def test_the_heaviest_matches_come_first_and_no_more_than_asked(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.fill_(1)
    plan = torch.zeros(2, 2, 4, 6)
    plan[0, 1] = torch.arange(4.0).unsqueeze(-1) * torch.eye(6)[:4]
    panel = take_panel(episode, prediction, shot=1)
    _, _, mass = find_matches(panel, replace(prediction, plan=plan), shot=1, lines=2)
    assert mass.tolist() == [3.0, 2.0]


def test_as_many_lines_are_drawn_as_nodes_match(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.fill_(1)
    figure = draw_matching(take_panel(episode, prediction), prediction, lines=3)
    assert len(figure.artists) == 3
    assert [axes.get_title() for axes in figure.axes] == ["support", "query, predicted"]


def test_a_mask_that_is_empty_draws_no_lines(episode: Episode, prediction: Prediction) -> None:
    episode.support_masks.zero_()
    assert not draw_matching(take_panel(episode, prediction), prediction).artists


def test_a_prediction_without_plan_is_refused(episode: Episode, prediction: Prediction) -> None:
    without = replace(prediction, plan=None)
    with pytest.raises(ValueError, match=r"Found none\. Use a network whose `transport` is not 'none'"):
        draw_matching(take_panel(episode, without), without)
