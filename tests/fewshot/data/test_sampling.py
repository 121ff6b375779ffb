from collections import Counter

import pytest
import torch
from torch import Tensor

from fewshot.data.sampling import EpisodeSampler, EpisodeSpec, collate_episodes, mask_of_class
from fewshot.data.synthetic import LabelledImages
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED

IMAGES, SIDE = 12, 8


@pytest.fixture
def labels() -> Tensor:
    """Twelve label maps: class 1 on the left half of images 0-7, class 2 on the right half of images 4-11."""
    labels = torch.zeros(IMAGES, SIDE, SIDE, dtype=torch.uint8)
    labels[:8, :, :4] = 1
    labels[4:, :, 4:] = 2
    return labels


def draw(labels: Tensor, *, shot: int = 1, seed: int = 0, count: int = 200) -> tuple[EpisodeSpec, ...]:
    return EpisodeSampler(labels, (1, 2), shot=shot, seed=seed, min_area=20).draw_many(0, count)


@pytest.mark.parametrize("shot", [1, 2, 5])
def test_query_and_supports_are_different_images_of_the_class(shot: int, labels: Tensor) -> None:
    for spec in draw(labels, shot=shot):
        numbers = {spec.query, *spec.supports}
        assert len(numbers) == shot + 1
        assert all((labels[number] == spec.class_id).any() for number in numbers)


def test_classes_are_drawn_about_equally_often(labels: Tensor) -> None:
    counts = Counter(spec.class_id for spec in draw(labels, count=400))
    assert set(counts) == {1, 2}
    assert min(counts.values()) > 150


def test_every_image_of_a_class_is_used(labels: Tensor) -> None:
    specs = draw(labels)
    assert {spec.query for spec in specs if spec.class_id == 1} == set(range(8))
    assert {spec.supports[0] for spec in specs if spec.class_id == 2} == set(range(4, 12))


def test_episode_depends_on_seed_and_index_only(labels: Tensor) -> None:
    sampler = EpisodeSampler(labels, (1, 2), seed=3, min_area=20)
    late_first = sampler.draw(17)
    sampler.draw_many(0, 5)
    assert sampler.draw(17) == late_first == draw(labels, seed=3)[17]
    assert draw(labels, seed=3) != draw(labels, seed=4)


def test_more_shots_keep_classes_queries_and_first_supports(labels: Tensor) -> None:
    for one, five in zip(draw(labels), draw(labels, shot=5), strict=True):
        assert (one.class_id, one.query, one.supports[0]) == (five.class_id, five.query, five.supports[0])


def test_images_that_show_too_little_of_a_class_are_left_out(labels: Tensor) -> None:
    labels[0] = 0
    labels[0, 0] = 1
    used = {number for spec in draw(labels) for number in (spec.query, *spec.supports)}
    assert 0 not in used
    assert used == set(range(1, IMAGES))


@pytest.mark.parametrize("shot", [8, 9])
def test_fewer_images_than_an_episode_needs_are_refused_at_once(shot: int, labels: Tensor) -> None:
    message = rf"at least `shot \+ 1 = {shot + 1}` images.* Found 8 for class 1\. Lower `shot` or `min_area`"
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(labels, (1, 2), shot=shot, min_area=20)


def test_a_class_that_no_image_shows_is_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Found 0 for class 7\. Lower"):
        EpisodeSampler(labels, (1, 7), min_area=20)


@pytest.mark.parametrize("class_ids", [(), (0, 1), (1, IGNORED)], ids=str)
def test_background_and_unknown_are_no_classes(class_ids: tuple[int, ...], labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Found `class_ids = \(.*\)`\. Leave out background"):
        EpisodeSampler(labels, class_ids)


def test_less_than_one_shot_is_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Found `shot = 0`\. Pass 1 for one-shot"):
        EpisodeSampler(labels, (1,), shot=0)


def test_mask_holds_the_class_and_keeps_unknown_pixels() -> None:
    labels = torch.tensor([[[0, 1], [2, IGNORED]]], dtype=torch.uint8)
    assert mask_of_class(labels, torch.tensor([2])).tolist() == [[[0, 0], [1, IGNORED]]]


def test_collated_episode_holds_the_images_and_masks_of_its_specs(labels: Tensor) -> None:
    images = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    specs = (EpisodeSpec(1, 5, (0, 6)), EpisodeSpec(2, 5, (11, 4)))
    episode = collate_episodes(LabelledImages(images, labels, (1, 2)), specs)
    torch.testing.assert_close(episode.support_images[1, 0], normalise_images(images[11]))
    torch.testing.assert_close(episode.query_image[0], episode.query_image[1])
    assert episode.query_mask is not None
    assert torch.equal(episode.query_mask[0], (labels[5] == 1).long())
    assert torch.equal(episode.query_mask[1], (labels[5] == 2).long())
    assert torch.equal(episode.support_masks[0, 1], (labels[6] == 1).long())
    assert episode.class_id is not None
    assert episode.class_id.tolist() == [1, 2]
