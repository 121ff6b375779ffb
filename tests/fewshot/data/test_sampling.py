from collections import Counter
from dataclasses import replace

import jaxtyping
import pytest

from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import (
    EpisodeSampler,
    Order,
)
from tests.fewshot.data.sampling_cases import LARGE, RULE, SMALL, draw, make_pool

IMAGES = 12
ORDERS: tuple[Order, ...] = ("class", "walk", "shuffle")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shot", [1, 2, 5, 7])
def test_query_and_supports_are_different_images_of_the_class(shot: int, order: Order, pool: EpisodePool) -> None:
    for spec in draw(pool, shot=shot, order=order):
        numbers = {spec.query, *spec.supports}
        assert len(numbers) == shot + 1
        assert numbers <= set(pool.images_of[spec.class_id])


@pytest.mark.parametrize("order", ORDERS)
def test_episode_depends_on_pool_seed_and_index_only(order: Order, pool: EpisodePool) -> None:
    sampler = EpisodeSampler(pool, seed=3, order=order)
    late_first = sampler.draw(17 + 5 * IMAGES)
    sampler.draw_many(0, 5)
    assert sampler.draw(17 + 5 * IMAGES) == late_first == draw(pool, seed=3, order=order)[17 + 5 * IMAGES]
    assert draw(pool, seed=3, order=order) != draw(pool, seed=4, order=order)


@pytest.mark.parametrize("order", ORDERS)
def test_more_shots_keep_classes_queries_and_first_supports(order: Order, pool: EpisodePool) -> None:
    for one, five in zip(draw(pool, order=order), draw(pool, shot=5, order=order), strict=True):
        assert (one.class_id, one.query, one.supports[0]) == (five.class_id, five.query, five.supports[0])


@pytest.mark.parametrize("order", ORDERS)
def test_every_image_of_a_class_is_used(order: Order, pool: EpisodePool) -> None:
    specs = draw(pool, order=order)
    for class_id, images in pool.images_of.items():
        assert {spec.query for spec in specs if spec.class_id == class_id} == set(images)
        assert {spec.supports[0] for spec in specs if spec.class_id == class_id} == set(images)


def test_classes_come_equally_often_by_class_however_many_images_they_have() -> None:
    pool = make_pool([{1: LARGE}] * 2 + [{2: LARGE}] * 18)
    counts = Counter(spec.class_id for spec in draw(pool, count=400))
    assert set(counts) == {1, 2}
    assert min(counts.values()) > 150


def test_a_walk_takes_the_images_in_their_order_over_and_over(pool: EpisodePool) -> None:
    assert [spec.query for spec in draw(pool, order="walk", count=30)] == [index % IMAGES for index in range(30)]


def test_a_walk_is_about_either_class_that_an_image_shows(pool: EpisodePool) -> None:
    counts = Counter(spec.class_id for spec in draw(pool, order="walk", count=480) if spec.query == 5)
    assert set(counts) == {1, 2}
    assert min(counts.values()) >= 10


def test_a_shuffle_takes_every_image_once_each_round_in_another_order(pool: EpisodePool) -> None:
    queries = [spec.query for spec in draw(pool, order="shuffle", count=3 * IMAGES)]
    rounds = [queries[start : start + IMAGES] for start in range(0, 3 * IMAGES, IMAGES)]
    assert all(sorted(each) == list(range(IMAGES)) for each in rounds)
    assert len({tuple(each) for each in rounds}) == 3


@pytest.mark.parametrize("order", ORDERS)
def test_images_below_the_filter_are_neither_query_nor_support(order: Order) -> None:
    pool = make_pool([{1: LARGE, 2: SMALL}] * 4 + [{1: SMALL}] * 3 + [{1: SMALL, 2: LARGE}] * 3)
    specs = draw(pool, order=order)
    assert {spec.query for spec in specs if spec.class_id == 1} == {0, 1, 2, 3}
    assert {spec.supports[0] for spec in specs if spec.class_id == 2} == {4, 5, 6}


@pytest.mark.parametrize("order", ORDERS)
def test_the_legacy_draw_takes_small_objects_for_queries_but_not_for_supports(order: Order) -> None:
    shown = [{1: LARGE, 2: SMALL}] * 4 + [{2: LARGE}] * 3
    pool = make_pool(shown, rule=replace(RULE, legacy_class_draw=True))
    about_two = [spec for spec in draw(pool, shot=2, order=order) if spec.class_id == 2]
    assert {spec.query for spec in about_two} == set(range(7))
    assert {number for spec in about_two for number in spec.supports} == {4, 5, 6}


@pytest.mark.parametrize("shot", [8, 9])
def test_fewer_images_than_an_episode_needs_are_refused_at_once(shot: int, pool: EpisodePool) -> None:
    message = rf"at least `shot \+ 1 = {shot + 1}` images .* Found 8 for class 1 under .*min_pixels=100.*\. Lower"
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(pool, shot=shot)


def test_a_class_that_no_image_shows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 0 for class 7 under .* Lower"):
        EpisodeSampler(make_pool([{1: LARGE}] * 3, held_out=(1, 7)))


def test_a_pool_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found none in fold 0\. Draw from the other classes"):
        EpisodeSampler(make_pool([{1: LARGE}] * 3, held_out=()))


def test_less_than_one_shot_is_refused(pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found `shot = 0`\. Pass 1 for one-shot"):
        EpisodeSampler(pool, shot=0)


def test_a_negative_seed_is_refused(pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found `seed = -1`\. Pass a non-negative integer"):
        EpisodeSampler(pool, seed=-1)


def test_an_unknown_order_is_refused(pool: EpisodePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # It would refuse the name before we do.
    message = r"class, walk, shuffle\. Found `order = 'random'`\. Correct its spelling"
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(pool, order="random")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("order", ORDERS)
def test_a_negative_number_is_refused(order: Order, pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found number -1\. Count from 0"):
        EpisodeSampler(pool, order=order).draw(-1)
