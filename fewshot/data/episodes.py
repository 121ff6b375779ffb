"""Episodes as torch data sets: what item i holds depends on i only, whichever process reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from fewshot.data.augmentation import Augmentation, augment, make_generator
from fewshot.data.boxes import SupportAnnotation
from fewshot.data.dataset import DataSet
from fewshot.data.fitting import Fit, FittedImage, Placement, fit_image
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.data.tasks import annotate, make_task, read_masked_image
from fewshot.episode import Episode
from fewshot.options import require_seed


class TrainingEpisodes(Dataset[Episode]):
    """The first `length` episodes of a sampler, every image of them augmented for itself.

    Item i is an episode of one task. It depends on the data, the sampler, the augmentation, `seed` and i only: on no
    other item, no generator of the process and not on how many workers there are.
    """

    def __init__(
        self, dataset: DataSet, sampler: EpisodeSampler, augmentation: Augmentation, *, seed: int, length: int
    ) -> None:
        """Read nothing yet.

        Args:
            dataset: Where the images of the sampler's pool are.
            sampler: Draws the episodes.
            augmentation: What becomes of each image.
            seed: What is drawn for the augmentation, at least 0.
            length: How many episodes there are, at least 1.

        Raises:
            ValueError: `seed` is negative, or `length` smaller than 1.
        """
        require_seed(seed)
        if length < 1:
            raise ValueError(f"`length` must be at least 1. Found `length = {length}`. Pass how many episodes to draw.")
        self.dataset = dataset
        self.sampler = sampler
        self.augmentation = augmentation
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Count the episodes."""
        return self.length

    def __getitem__(self, index: int) -> Episode:
        """Make episode `index`, from 0.

        Raises:
            IndexError: There is no such episode.
            UnreadableImageError: A file is missing, damaged or of the wrong kind.
            ValueError: An image does not show the class that the index says it shows.
        """
        _check_index(index, self.length)
        spec = self.sampler.draw(index)
        images = []
        for position, number in enumerate((spec.query, *spec.supports)):
            image, mask = read_masked_image(self.dataset, self.sampler.pool, number, spec.class_id)
            images.append(augment(image, mask, self.augmentation, make_generator(self.seed, index, position)))
        return make_task(
            spec.class_id,
            [each.pixels for each in images],
            [each.labels for each in images],
            [each.valid for each in images],
        )


@dataclass(frozen=True)
class TestEpisode:
    """An episode of a test, and what it is scored against.

    Attributes:
        episode: One task on the canvas of the network.
        truth: Mask of the query at its own size: 1 on the class, 0 elsewhere, `IGNORED` where unknown.
        placement: Where the query lies on the canvas.
    """

    __test__ = False  # Not for pytest to collect.

    episode: Episode
    truth: UInt8[Tensor, "height width"]
    placement: Placement


class TestEpisodes(Dataset[TestEpisode]):
    """Given episodes as a test sees them: nothing drawn at random, supports labelled by masks or boxes."""

    __test__ = False

    def __init__(
        self,
        dataset: DataSet,
        pool: EpisodePool,
        specs: Sequence[EpisodeSpec],
        fit: Fit,
        annotation: SupportAnnotation,
    ) -> None:
        """Read nothing yet.

        Args:
            dataset: Where the images of the pool are.
            pool: What the episodes were drawn from.
            specs: The episodes, as `EpisodeSampler` draws or `load_episodes` reads them.
            fit: How images come onto the canvas of the network.
            annotation: What the supports are labelled with; queries always have their masks.
        """
        self.dataset = dataset
        self.pool = pool
        self.specs = tuple(specs)
        self.fit = fit
        self.annotation = annotation

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self.specs)

    def __getitem__(self, index: int) -> TestEpisode:
        """Make episode `index`, from 0.

        Raises:
            IndexError: There is no such episode.
            UnreadableImageError: A file is missing, damaged or of the wrong kind.
            ValueError: An image does not show the class that the index says it shows, or boxes are to be made of
                instances and the data set has none.
        """
        _check_index(index, len(self.specs))
        spec = self.specs[index]
        image, truth = read_masked_image(self.dataset, self.pool, spec.query, spec.class_id)
        query = fit_image(image, truth, self.fit)
        images = [query, *(self._read_support(number, spec.class_id) for number in spec.supports)]
        episode = make_task(
            spec.class_id,
            [each.pixels for each in images],
            [each.mask for each in images],
            [each.valid for each in images],
        )
        return TestEpisode(episode, truth, query.placement)

    def _read_support(self, number: int, class_id: int) -> FittedImage:
        image, mask = read_masked_image(self.dataset, self.pool, number, class_id)
        labelled = annotate(mask, self.annotation, self.dataset, self.pool.entries[number], class_id)
        return fit_image(image, labelled, self.fit)


def _check_index(index: int, length: int) -> None:
    if not 0 <= index < length:
        raise IndexError(f"An episode must be numbered from 0 to {length - 1}. Found {index}. Count from 0.")
