"""Which images make an episode: a pure function of (seed, index)."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fewshot.data.pools import EpisodePool
from fewshot.options import require_choice, require_seed

Order = Literal["class", "walk", "shuffle"]
"""How queries follow each other.

`class`: a class, each alike, then a query that shows it (PANet, HSNet on COCO). `walk`: the images in the order of the
lists, over and over, then one of the classes that the image shows (the test of PFENet and HSNet on PASCAL). `shuffle`:
every image once, in another order each time round, then one of its classes (PFENet's training).
"""


@dataclass(frozen=True)
class EpisodeSpec:
    """One task by its numbers.

    Attributes:
        class_id: The class to segment.
        query: Number of the query image in the pool.
        supports: Numbers of the support images, none twice and none the query.
    """

    class_id: int
    query: int
    supports: tuple[int, ...]


class EpisodeSampler:
    """Draws episodes from a pool.

    Episode `index` of a sampler depends on the pool, the seed and `index` only, not on what was drawn before. A sampler
    of more shots draws the same classes and queries and the same first supports.
    """

    def __init__(self, pool: EpisodePool, *, shot: int = 1, seed: int = 0, order: Order = "class") -> None:
        """Make sure that every class has enough images.

        Args:
            pool: The images and the classes that they count for.
            shot: Support images in an episode, at least 1.
            seed: Which sequence of episodes to draw, at least 0.
            order: How queries follow each other.

        Raises:
            ValueError: `shot` is smaller than 1, `seed` negative, there is no such order, no class, or a class has not
                more images than shots: an episode needs those and a query.
        """
        if shot < 1:
            raise ValueError(f"`shot` must be at least 1. Found `shot = {shot}`. Pass 1 for one-shot episodes.")
        require_seed(seed)
        require_choice("order", order, get_args(Order))
        if not pool.images_of:
            raise ValueError(
                f"A pool must have at least one class. Found none in fold {pool.fold.number}. Draw from the other "
                f"classes of the fold, or from another fold."
            )
        for class_id, images in pool.images_of.items():
            if len(images) <= shot:
                raise ValueError(
                    f"Every class must have at least `shot + 1 = {shot + 1}` images that count for it. Found "
                    f"{len(images)} for class {class_id} under {pool.rule}. Lower `shot` or `min_pixels`, or add "
                    f"images."
                )
        self.pool = pool
        self.shot = shot
        self.seed = seed
        self.order = order
        self.class_ids = tuple(pool.images_of)
        queries_of: dict[int, list[int]] = {class_id: [] for class_id in self.class_ids}
        for number, class_id in pool.query_pairs:
            queries_of[class_id].append(number)
        # Arrays, made once: most of the time of a draw would go into making them anew.
        self._queries_of = {class_id: np.array(numbers) for class_id, numbers in queries_of.items()}
        self._images_of = {class_id: np.array(numbers) for class_id, numbers in pool.images_of.items()}
        self._round: tuple[int, np.ndarray] | None = None

    def draw(self, index: int) -> EpisodeSpec:
        """Draw episode number `index`, from 0.

        Raises:
            ValueError: `index` is negative.
        """
        if index < 0:
            raise ValueError(f"Episodes must be numbered from 0. Found number {index}. Count from 0.")
        rng = np.random.default_rng((self.seed, index))
        if self.order == "class":
            class_id = self.class_ids[rng.integers(len(self.class_ids))]
            query = int(rng.choice(self._queries_of[class_id]))
        else:
            query = self._walk_to(index)
            class_id = int(rng.choice(self.pool.classes_of[query]))
        # A permutation, cut: with more shots, the query and the first supports stay the same.
        first = rng.permutation(self._images_of[class_id])[: self.shot + 1].tolist()
        return EpisodeSpec(class_id, query, tuple([number for number in first if number != query][: self.shot]))

    def draw_many(self, start: int, count: int) -> tuple[EpisodeSpec, ...]:
        """Draw the `count` episodes from number `start` on."""
        return tuple(self.draw(index) for index in range(start, start + count))

    def _walk_to(self, index: int) -> int:
        turn, place = divmod(index, len(self.pool.entries))
        if self.order == "walk":
            return place
        if self._round is None or self._round[0] != turn:
            # A stream apart from the episodes' own, whose second number is an index.
            order = np.random.default_rng((self.seed, turn, 1)).permutation(len(self.pool.entries))
            self._round = (turn, order)
        return int(self._round[1][place])
