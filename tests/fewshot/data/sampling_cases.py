"""Pools of images of which only the pixels of each class are known, and draws from them."""

from fewshot.data.folds import Fold
from fewshot.data.index import IndexEntry, Split
from fewshot.data.pools import DrawRule, EpisodePool, evaluation_pool
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec, Order

LARGE, SMALL = 500, 20
"""Pixels of an object above and below the filter of the pools here."""
RULE = DrawRule(min_pixels=100)


def make_pool(
    pixels: list[dict[int, int]], *, held_out: tuple[int, ...] = (1, 2), rule: DrawRule = RULE
) -> EpisodePool:
    entries = [IndexEntry(f"{number}.jpg", f"{number}.png", each) for number, each in enumerate(pixels)]
    return evaluation_pool(Split(("list",), "", 0, tuple(entries)), Fold(0, (), held_out), rule=rule)


def draw(
    pool: EpisodePool, *, shot: int = 1, seed: int = 0, order: Order = "class", count: int = 240
) -> tuple[EpisodeSpec, ...]:
    return EpisodeSampler(pool, shot=shot, seed=seed, order=order).draw_many(0, count)
