"""Features of a frozen backbone, computed once for every image of a pool and gathered episode by episode.

While the backbone does not learn and images are not augmented, this is the same computation as running the backbone on
every episode, at a fraction of the cost. `fewshot.evaluation.extraction` makes and keeps them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from fewshot.data.boxes import SupportAnnotation
from fewshot.data.dataset import DataSet
from fewshot.data.fitting import Fit, Placement, fit_mask
from fewshot.data.labels import mask_of_class
from fewshot.data.packing import PackedLabels
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSpec
from fewshot.data.storage import hash_tensors
from fewshot.data.tasks import annotate
from fewshot.model.backbone import Features
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.encoded import EncodedEpisode

MASKS = SupportAnnotation()
"""Supports labelled as the data set labels them."""


def needs_high(config: CMNetConfig) -> bool:
    """Tell whether a network looks at the features of the last stage, which are most of a backbone's channels."""
    return config.prior or (config.transport != "none" and config.matching.features == "high")


@dataclass(frozen=True)
class PoolFeatures:
    """Everything that is kept of the images of a pool.

    Attributes:
        features: One of each image, float16; without high-level channels where nobody needs them.
        labels: The class of every pixel at the image's own size, held-out classes relabelled if the pool says so.
        placements: Where each image lies on its canvas.
    """

    features: Features
    labels: PackedLabels
    placements: tuple[Placement, ...]


class FeatureStore:
    """The features of all images of a pool, from which episodes are put together.

    Args:
        dataset: Where the images are, for the masks of single objects.
        pool: The images, whose numbers episodes name.
        fit: How the images came to their canvas.
        content: What was computed from them.
        backbone: Hash of the weights that computed it.
    """

    def __init__(self, dataset: DataSet, pool: EpisodePool, fit: Fit, content: PoolFeatures, *, backbone: str) -> None:
        self.dataset = dataset
        self.pool = pool
        self.fit = fit
        self.content = content
        self.backbone = backbone

    def check(self, network: CMNet) -> None:
        """Make sure that the features are what the network's own backbone would compute, and all that it needs.

        Raises:
            ValueError: They are another backbone's, or the high-level ones are missing.
        """
        expected = hash_tensors(network.backbone.state_dict())
        if self.backbone != expected:
            raise ValueError(
                f"Stored features must be those of the network's own backbone. Found features by the weights "
                f"{self.backbone[:12]} for a network with {expected[:12]}. Load them anew with this network."
            )
        if needs_high(network.config) and not self.content.features.high.shape[1]:
            raise ValueError(
                "A network with a prior mask, or with transport between high-level features, must be given those. "
                "Found none in the store. Load the features with `high=True`."
            )

    def gather(self, specs: tuple[EpisodeSpec, ...], annotation: SupportAnnotation = MASKS) -> EncodedEpisode:
        """Put together the episodes of `specs`.

        Args:
            specs: Episodes of the pool, of equal shot.
            annotation: What the supports are labelled with; queries always have their masks.

        Raises:
            ValueError: An image does not show its class, or boxes are to be made of instances and the data set has
                none.
        """
        query = [spec.query for spec in specs]
        supports = [number for spec in specs for number in spec.supports]
        shape = (len(specs), len(specs[0].supports))
        masks = [self._label_support(number, spec.class_id, annotation) for spec in specs for number in spec.supports]
        valid = self._draw_valid(supports)
        return EncodedEpisode(
            query=self._select(query),
            supports=self._select(supports),
            support_masks=torch.stack(masks).unflatten(0, shape).long(),
            size=(self.fit.size, self.fit.size),
            query_valid=self._draw_valid(query),
            support_valid=None if valid is None else valid.unflatten(0, shape),
            query_mask=torch.stack([fit_mask(self.truth(spec), self.placement(spec)) for spec in specs]).long(),
            class_id=torch.tensor([spec.class_id for spec in specs]),
        )

    def truth(self, spec: EpisodeSpec) -> UInt8[Tensor, "height width"]:
        """Give the truth of an episode's query at its own size: 1, 0 and `IGNORED`."""
        return mask_of_class(self.content.labels[spec.query], spec.class_id)

    def placement(self, spec: EpisodeSpec) -> Placement:
        """Say where an episode's query lies on its canvas."""
        return self.content.placements[spec.query]

    def _label_support(self, number: int, class_id: int, annotation: SupportAnnotation) -> UInt8[Tensor, "side side"]:
        mask = mask_of_class(self.content.labels[number], class_id)
        labelled = annotate(mask, annotation, self.dataset, self.pool.entries[number], class_id)
        return fit_mask(labelled, self.content.placements[number])

    def _select(self, numbers: list[int]) -> Features:
        return Features(self.content.features.mid[numbers], self.content.features.high[numbers])

    def _draw_valid(self, numbers: list[int]) -> Bool[Tensor, "number side side"] | None:
        sizes = [self.content.placements[number].fitted_size for number in numbers]
        if self.fit.mode != "pad" or set(sizes) == {(self.fit.size, self.fit.size)}:
            return None
        line = torch.arange(self.fit.size)
        rows, columns = torch.tensor(sizes).T
        return (line < rows[:, None])[:, :, None] & (line < columns[:, None])[:, None]
