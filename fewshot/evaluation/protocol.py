"""What an evaluation is made on: which episodes, at which sizes, and how their pixels are counted."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from fewshot.data.boxes import SupportAnnotation
from fewshot.data.dataset import DataSet
from fewshot.data.episode_lists import hash_episodes, load_episodes, save_episodes
from fewshot.data.fitting import Fit
from fewshot.data.folds import canonical_name
from fewshot.data.index import Index
from fewshot.data.pools import DrawRule, EpisodePool, evaluation_pool
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec, Order
from fewshot.evaluation.description import to_plain
from fewshot.evaluation.metrics import Void
from fewshot.hardware import Precision
from fewshot.options import require, require_choice

ScoredClasses = Literal["held_out", "held_in"]
"""Which classes of a fold an evaluation is about."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is evaluated on, and how it is counted. The defaults are those of PASCAL-5i.

    Attributes:
        shots: Numbers of support images to evaluate with, each at least 1; none depends on the number trained with.
        episodes: Episodes for each number of shots and each seed. 1,000 in OSLSM, HSNet, BAM; 5,000 in PFENet's code
            for PASCAL and 20,000 for COCO, where 1,000 are noisy.
        seeds: One list of episodes is drawn for each.
        order: How queries follow each other. `walk` for PASCAL-5i and FSS-1000, `class` for COCO-20i.
        episodes_file: Episodes to evaluate on in place of drawn ones, as `save_episodes` wrote them. One run for each
            number of shots then, on the first supports of each episode; `episodes`, `seeds` and `order` are left for
            what a training draws to choose its weights by.
        episodes_folder: Where the lists of episodes are written to, for another run or another system to be scored on;
            results hold the counts of each episode in the same order. None for nowhere.
        classes: Evaluate on the held-out classes, as results do, or on the held-in ones, by which checkpoints can be
            chosen without a look at what is tested.
        exclude: Names of classes to leave out, such as those that the network was trained on elsewhere; names that the
            data set does not have play no part. COCO's names stand for PASCAL's, `couch` for `sofa`.
        rule: When an image counts for a class. Default, and for a `min_pixels` of None: as the data set says.
        fit: How images come to the size of the network.
        resolution: Where pixels are counted: at the `original` size of each query, or at the size that the canvas of
            `fit.mode` and this side gives it (HSNet: 400 and `square`; PFENet without `ori_resize`: 473), padding
            left out. The original is the harder.
        void: What becomes of pixels of unknown truth.
        annotation: What the supports are labelled with.
        batch_size: Episodes in a pass of the network.
        workers: Processes that read images; 0 reads in this one. No score depends on it.
        precision: Of the network: `32`, or `bf16` where autocast deems bfloat16 safe; transport is solved in single
            precision always.
    """

    shots: tuple[int, ...] = (1, 5)
    episodes: int = 1000
    seeds: tuple[int, ...] = (321, 322, 323, 324, 325)
    order: Order = "walk"
    episodes_file: Path | None = None
    episodes_folder: Path | None = None
    classes: ScoredClasses = "held_out"
    exclude: tuple[str, ...] = ()
    rule: DrawRule | None = None
    fit: Fit = field(default_factory=Fit)
    resolution: Literal["original"] | int = "original"
    void: Void = "ignore"
    annotation: SupportAnnotation = field(default_factory=SupportAnnotation)
    batch_size: int = 4
    workers: int = 2
    precision: Precision = "32"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A field lies outside its range.
        """
        choices = {"order": Order, "classes": ScoredClasses, "void": Void, "precision": Precision}
        for name, allowed in choices.items():
            require_choice(name, getattr(self, name), get_args(allowed))
        for name, least in (("shots", 1), ("seeds", 0)):
            numbers = getattr(self, name)
            distinct = bool(numbers) and min(numbers) >= least and len(set(numbers)) == len(numbers)
            require(distinct, name, f"hold one or more different numbers from {least} on", numbers)
        for name, least in (("episodes", 1), ("batch_size", 1), ("workers", 0)):
            require(getattr(self, name) >= least, name, f"be at least {least}", getattr(self, name))
        sized = self.resolution == "original" or (isinstance(self.resolution, int) and self.resolution > 0)
        require(sized, "resolution", "be 'original' or a positive number of pixels", self.resolution)

    def describe(self) -> dict[str, Any]:
        """Give the values as JSON can hold them, without those that play no part."""
        values = to_plain(asdict(self))
        del values["episodes_folder"]
        if self.episodes_file is not None:
            values |= dict.fromkeys(("episodes", "seeds", "order"))
        return values


@dataclass(frozen=True)
class EpisodeList:
    """Episodes that a network is scored on together.

    Attributes:
        pool: What they were drawn from.
        specs: They themselves, of equal shot, at least one.
        seed: What they were drawn by; None where they were given.
    """

    pool: EpisodePool
    specs: tuple[EpisodeSpec, ...]
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse lists that leave a class out: a mean over the classes would mean nothing.

        Raises:
            ValueError: A class has no episode, or the episodes differ in shots.
        """
        seen = {spec.class_id for spec in self.specs}
        absent = [class_id for class_id in self.pool.images_of if class_id not in seen]
        if absent:
            raise ValueError(
                f"A list must hold at least one episode of every class that is scored. Found none of classes {absent} "
                f"among {len(self.specs)}. Draw more episodes."
            )
        shots = sorted({len(spec.supports) for spec in self.specs})
        if len(shots) > 1:
            raise ValueError(
                f"The episodes of a list must have equally many supports. Found {shots}. Make a list of each number."
            )

    @property
    def shot(self) -> int:
        """Count the supports of an episode."""
        return len(self.specs[0].supports)

    @property
    def digest(self) -> str:
        """Name the list by its images: equal digests, equal tasks in equal order."""
        return hash_episodes(self.pool, self.specs)

    def save(self, folder: Path) -> Path:
        """Write the list as `episodes_file` is read, under a name made of shots and seed; gives the file."""
        path = folder / f"episodes-{self.shot}shot-{'given' if self.seed is None else f'seed{self.seed}'}.json"
        save_episodes(path, self.pool, self.specs)
        return path


def open_pool(dataset: DataSet, index: Index, fold: int, config: EvaluationConfig) -> EpisodePool:
    """Gather what an evaluation draws its episodes from.

    Raises:
        ValueError: There is no such fold, or no class is left to evaluate on.
    """
    rule = dataset.draw_rule if config.rule is None else dataset.complete_rule(config.rule)
    division = dataset.fold(fold)
    tested: tuple[int, ...] = getattr(division, config.classes)
    excluded = {canonical_name(name) for name in config.exclude}
    left = tuple(class_id for class_id in tested if canonical_name(index.classes[class_id - 1]) not in excluded)
    if not left:
        raise ValueError(
            f"At least one class must be left to evaluate on. Found that `exclude` names all {len(tested)} of fold "
            f"{fold}. Evaluate on another fold or data set."
        )
    return evaluation_pool(index.val, replace(division, **{config.classes: left}), rule=rule, classes=config.classes)


def list_episodes(pool: EpisodePool, config: EvaluationConfig) -> tuple[EpisodeList, ...]:
    """Draw the episodes of an evaluation, or read them: a list for each number of shots and each seed.

    Lists of one seed have the same classes and queries, and the same first supports.

    Raises:
        ValueError: A class has no episode or too few images for the shots, or episodes that were given have too few
            supports or are about other images.
        FileNotFoundError: There is no `episodes_file`.
        DamagedFileError: It is damaged.
    """
    if config.episodes_file is None:
        return tuple(
            EpisodeList(
                pool,
                EpisodeSampler(pool, shot=shot, seed=seed, order=config.order).draw_many(0, config.episodes),
                seed,
            )
            for shot in config.shots
            for seed in config.seeds
        )
    given = load_episodes(config.episodes_file, pool)
    available = len(given[0].supports)
    if max(config.shots) > available:
        raise ValueError(
            f"`shots` must not exceed the supports of the episodes that are given. Found `shots = {config.shots}` "
            f"where {config.episodes_file} holds {available} for each. Lower `shots`, or draw the episodes."
        )
    return tuple(
        EpisodeList(pool, tuple(replace(spec, supports=spec.supports[:shot]) for spec in given))
        for shot in config.shots
    )
