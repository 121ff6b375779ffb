"""The built-in few-shot data set: procedural pictures of classes made of parts, drawn from an integer seed.

The recipe is frozen: every picture is a pure function of (seed, split, index). Drawing takes seconds; what was drawn is
kept in a cache folder, one file for each split, named by the recipe and checked by its hash when it is read.
"""

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm import tqdm

from fewshot.data.dataset import DataSet
from fewshot.data.folds import Fold, check_fold
from fewshot.data.index import Index, IndexEntry, Split
from fewshot.data.labels import LabelledImage, labels_from_bytes
from fewshot.data.pools import DrawRule
from fewshot.data.scene import IMAGE_SIZE, Scene, draw_scene
from fewshot.data.storage import load_cached, save_tensors
from fewshot.data.vocabulary import ObjectClass, Vocabulary, draw_vocabulary
from fewshot.options import require_seed

SyntheticSplit = Literal["base", "novel"]
STREAM: dict[SyntheticSplit, int] = {"base": 1, "novel": 2}
GENERATOR_VERSION = 2
"""Part of every cache key; to be raised by whoever changes what the generator draws."""
CHUNK = 50


@dataclass(frozen=True)
class SyntheticRecipe:
    """What is drawn.

    Attributes:
        seed: Every picture follows from it; at least 0.
        base_classes: How many classes there are for training, numbered from 1.
        novel_classes: How many further classes there are for evaluation, numbered on from the base classes.
        base_images: Pictures whose target is a given base class.
        novel_images: Pictures whose target is a given novel class.
    """

    seed: int = 0
    base_classes: int = 60
    novel_classes: int = 15
    base_images: int = 60
    novel_images: int = 50

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        require_seed(self.seed)
        for name in ("base_classes", "novel_classes", "base_images", "novel_images"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Found `{name} = {getattr(self, name)}`. "
                    f"Pass how many there shall be, {getattr(SyntheticRecipe, name)} in the benchmark."
                )
        if self.base_classes + self.novel_classes > np.iinfo(np.uint8).max - 1:
            raise ValueError(
                f"`base_classes + novel_classes` must be at most 254, as labels are 8-bit and 255 means unknown. "
                f"Found {self.base_classes} + {self.novel_classes}. Ask for fewer classes."
            )

    def class_ids(self, split: SyntheticSplit) -> tuple[int, ...]:
        """List the labels of the classes of a split; the two splits share none."""
        if split == "base":
            return tuple(range(1, self.base_classes + 1))
        return tuple(range(self.base_classes + 1, self.base_classes + self.novel_classes + 1))

    def size(self, split: SyntheticSplit) -> int:
        """Count the pictures of a split."""
        return self.base_classes * self.base_images if split == "base" else self.novel_classes * self.novel_images

    def key(self, split: SyntheticSplit) -> str:
        """Name the split's content: equal keys, equal pictures."""
        recipe = {"generator": GENERATOR_VERSION, "image_size": IMAGE_SIZE, "split": split, **asdict(self)}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


MIN_AREA = 120
"""Pixels of a class that a picture of 64 x 64 must show to count for it."""


@dataclass(frozen=True)
class LabelledImages:
    """Pictures with the class of every pixel.

    Attributes:
        images: RGB, 0 to 255.
        labels: Class of every pixel; 0 is background, 255 unknown.
        class_ids: The classes that the pictures are about; others may be in sight.
    """

    images: UInt8[Tensor, "number 3 height width"]
    labels: UInt8[Tensor, "number height width"]
    class_ids: tuple[int, ...]


@dataclass(frozen=True)
class Synthetic(DataSet):
    """The built-in data set: base pictures to train on, novel ones to test on, in a single fold.

    Attributes:
        recipe: What is drawn.
        cache: Folder that keeps the pictures.
        workers: Processes that draw them; the result does not depend on it.
    """

    recipe: SyntheticRecipe = field(default_factory=SyntheticRecipe)
    cache: Path = Path(".cache/fewshot")
    workers: int = 1

    @property
    def fold_count(self) -> int:
        """There is one fold: classes are base or novel for good."""
        return 1

    def fold(self, number: int) -> Fold:
        """Give the fold, number 0.

        Raises:
            ValueError: Another one was asked for.
        """
        check_fold(number, self.fold_count)
        return Fold(0, self.recipe.class_ids("base"), self.recipe.class_ids("novel"))

    def load_index(self, fold: int) -> Index:
        """Draw the pictures, or read them from the cache, and count their pixels."""
        self.fold(fold)
        count = self.recipe.base_classes + self.recipe.novel_classes
        classes = tuple(f"class {class_id}" for class_id in range(1, count + 1))
        return Index(classes, self._index_split("base"), self._index_split("novel"))

    def rebuild_index(self) -> None:
        """Draw the pictures again, and keep them in place of those in the cache."""
        for split in STREAM:
            pictures = generate_split(self.recipe, split, workers=self.workers)
            save_tensors(_cache_file(self.recipe, split, self.cache), pictures)

    def read(self, entry: IndexEntry) -> LabelledImage:
        """Give a picture; both splits stay in memory once one of their pictures was asked for."""
        split, _, number = entry.image.partition("/")
        pictures = self._base if split == "base" else self._novel
        return LabelledImage(pictures.images[int(number)], labels_from_bytes(pictures.labels[int(number)]))

    @property
    def draw_rule(self) -> DrawRule:
        """A picture counts for a class from 120 of its 4,096 pixels on."""
        return DrawRule(min_pixels=MIN_AREA)

    @cached_property
    def _base(self) -> LabelledImages:
        return load_split(self.recipe, "base", cache=self.cache, workers=self.workers)

    @cached_property
    def _novel(self) -> LabelledImages:
        return load_split(self.recipe, "novel", cache=self.cache, workers=self.workers)

    def _index_split(self, split: SyntheticSplit) -> Split:
        pictures = self._base if split == "base" else self._novel
        entries = []
        for number, labels in enumerate(pictures.labels):
            counts = torch.bincount(labels.flatten(), minlength=256).tolist()
            pixels = {label: counts[label] for label in range(1, 255) if counts[label]}
            entries.append(IndexEntry(f"{split}/{number}", f"{split}/{number}", pixels))
        return Split((f"synthetic {split}",), self.recipe.key(split), 0, tuple(entries))


def load_split(recipe: SyntheticRecipe, split: SyntheticSplit, *, cache: Path, workers: int = 1) -> LabelledImages:
    """Read a split from the cache, or draw it and put it there.

    Args:
        recipe: What to draw.
        split: The pictures for training, or those for evaluation. Novel classes never appear in base pictures;
            base classes may stand beside novel ones as distractors.
        cache: Folder to keep the pictures in; made if it is missing.
        workers: Processes to draw with; 1 draws in this process.

    Returns:
        All pictures of the split, in order of their index.
    """
    path = _cache_file(recipe, split, cache)
    tensors = load_cached(path)
    if tensors is None:
        tensors = generate_split(recipe, split, workers=workers)
        save_tensors(path, tensors)
    return LabelledImages(tensors["images"], tensors["labels"], recipe.class_ids(split))


def _cache_file(recipe: SyntheticRecipe, split: SyntheticSplit, cache: Path) -> Path:
    return cache / f"synthetic-{split}-{recipe.key(split)}.safetensors"


def generate_split(recipe: SyntheticRecipe, split: SyntheticSplit, *, workers: int = 1) -> dict[str, Tensor]:
    """Draw all pictures of a split, with a progress bar; the result does not depend on `workers`.

    Returns:
        `images` and `labels` as `LabelledImages` holds them.

    Raises:
        ValueError: `workers` is smaller than 1.
    """
    if workers < 1:
        raise ValueError(
            f"`workers` must be at least 1. Found `workers = {workers}`. Pass 1 to draw in this process, or the number "
            f"of cores to use."
        )
    total = recipe.size(split)
    starts = range(0, total, CHUNK)
    draw = partial(draw_chunk, recipe, split)
    with tqdm(total=total, desc=f"Drawing {split} images", unit="image") as bar:
        chunks: list[Scene] = []
        if workers == 1 or len(starts) == 1:
            for start in starts:
                chunks.append(draw(start))
                bar.update(len(chunks[-1].labels))
        else:
            # Spawned, not forked: torch's threads are already running in this process.
            with ProcessPoolExecutor(min(workers, len(starts)), mp_context=get_context("spawn")) as pool:
                for chunk in pool.map(draw, starts):
                    chunks.append(chunk)
                    bar.update(len(chunk.labels))
    images = torch.from_numpy(np.concatenate([chunk.image for chunk in chunks]))
    labels = torch.from_numpy(np.concatenate([chunk.labels for chunk in chunks]))
    return {"images": images.permute(0, 3, 1, 2).contiguous(), "labels": labels}


def draw_chunk(recipe: SyntheticRecipe, split: SyntheticSplit, start: int) -> Scene:
    """Draw up to `CHUNK` neighbouring pictures, stacked along a first dimension."""
    vocabulary = draw_vocabulary(recipe.seed, base_classes=recipe.base_classes, novel_classes=recipe.novel_classes)
    stop = min(start + CHUNK, recipe.size(split))
    scenes = [_draw_indexed(recipe, vocabulary, split, index) for index in range(start, stop)]
    return Scene(np.stack([scene.image for scene in scenes]), np.stack([scene.labels for scene in scenes]))


def _draw_indexed(recipe: SyntheticRecipe, vocabulary: Vocabulary, split: SyntheticSplit, index: int) -> Scene:
    targets: tuple[ObjectClass, ...] = vocabulary.base if split == "base" else vocabulary.novel
    known = vocabulary.base if split == "base" else vocabulary.base + vocabulary.novel
    return draw_scene(vocabulary, targets[index % len(targets)], known, (recipe.seed, STREAM[split], index))
