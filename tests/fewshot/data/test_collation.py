import dataclasses

import pytest
import torch

from fewshot.data.collation import collate, collate_tests
from fewshot.data.fitting import Fit
from fewshot.episode import Episode
from tests.fewshot.data.episode_cases import PLAIN, assert_equal, given, make_test, make_training
from tests.fewshot.data.tiles import HEIGHT, WIDTH


def test_a_batch_holds_its_episodes_in_their_order() -> None:
    episodes = [make_training()[index] for index in range(3)]
    batch = collate(episodes)
    for row, episode in enumerate(episodes):
        for field in dataclasses.fields(Episode):
            assert torch.equal(getattr(batch, field.name)[row], getattr(episode, field.name)[0])


def test_episodes_without_padding_are_valid_as_a_whole_beside_padded_ones() -> None:
    padded = make_training()[0]
    whole = dataclasses.replace(padded, query_valid=None, support_valid=None)
    batch = collate([padded, whole])
    assert torch.equal(given(batch.query_valid)[0], given(padded.query_valid)[0])
    assert given(batch.query_valid)[1].all()
    assert given(batch.support_valid)[1].all()
    assert collate([whole, whole]).query_valid is None
    assert collate([whole, whole]).support_valid is None


def test_a_batch_of_tests_keeps_truths_of_different_sizes() -> None:
    episodes = make_test(Fit(32))
    tests = [episodes[index] for index in range(7)]
    batch = collate_tests(tests)
    assert batch.episode.query_image.shape == (7, 3, 32, 32)
    assert {truth.shape for truth in batch.truths} == {(HEIGHT, WIDTH), (20, 20)}
    assert batch.placements == tuple(test.placement for test in tests)
    assert_equal(batch.episode, collate([test.episode for test in tests]))


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none\. Leave the batch out"):
        collate([])


def test_episodes_of_different_shots_or_sizes_are_refused() -> None:
    message = r"alike in shots and sizes\. Found .*\. Bring images to one size, and batch each number of shots"
    for other in (make_training(shot=1), make_training(augmentation=dataclasses.replace(PLAIN, size=80))):
        with pytest.raises(ValueError, match=message):
            collate([make_training()[0], other[0]])


@pytest.mark.parametrize("name", ["query_mask", "class_id"])
def test_what_only_some_episodes_know_is_refused(name: str) -> None:
    episode = make_training()[0]
    with pytest.raises(ValueError, match=rf"must have `{name}`, or none\. Found it in 1 of 2\. Batch those without"):
        collate([episode, dataclasses.replace(episode, **{name: None})])
    assert getattr(collate([dataclasses.replace(episode, **{name: None})] * 2), name) is None
