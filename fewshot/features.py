"""Features of a frozen backbone, computed once for every image and gathered episode by episode.

While the backbone does not learn and images are not augmented, this is the same computation as running the backbone in
every step, at a fraction of the cost.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from fewshot.data.sampling import EpisodeSpec, mask_of_class
from fewshot.data.synthetic import LabelledImages
from fewshot.data.transforms import normalise_images
from fewshot.model.backbone import Features
from fewshot.model.cmnet import CMNet

EXTRACTION_BATCH = 50


@dataclass(frozen=True)
class FeatureEpisodes:
    """A batch of episodes after the backbone.

    Attributes:
        specs: Which episodes.
        query: Features of the query images.
        supports: Features of the support images, task after task.
        support_masks: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        query_mask: Likewise.
        class_id: The class of each episode.
    """

    specs: tuple[EpisodeSpec, ...]
    query: Features
    supports: Features
    support_masks: Int[Tensor, "batch shot height width"]
    query_mask: Int[Tensor, "batch height width"]
    class_id: Int[Tensor, " batch"]

    def to(self, device: torch.device) -> "FeatureEpisodes":
        """Copy every tensor to `device`."""
        return replace(
            self,
            query=Features(self.query.mid.to(device), self.query.high.to(device)),
            supports=Features(self.supports.mid.to(device), self.supports.high.to(device)),
            support_masks=self.support_masks.to(device),
            query_mask=self.query_mask.to(device),
            class_id=self.class_id.to(device),
        )


class FeatureStore:
    """The features of all images of a split, in float16, with their labels."""

    def __init__(self, network: CMNet, data: LabelledImages, *, description: str) -> None:
        """Run the network's frozen backbone over all images, with a progress bar called `description`."""
        mid, high = [], []
        with tqdm(total=len(data.images), desc=description, unit="image") as bar:
            for images in data.images.split(EXTRACTION_BATCH):
                features = network.extract(normalise_images(images))
                mid.append(features.mid.half())
                high.append(features.high.half())
                bar.update(len(images))
        self.features = Features(torch.cat(mid), torch.cat(high))
        self.data = data

    def gather(self, specs: tuple[EpisodeSpec, ...]) -> FeatureEpisodes:
        """Put together the episodes of `specs`, which must be of equal shot."""
        query = torch.tensor([spec.query for spec in specs])
        supports = torch.tensor([spec.supports for spec in specs])
        class_id = torch.tensor([spec.class_id for spec in specs])
        return FeatureEpisodes(
            specs=specs,
            query=self._select(query),
            supports=self._select(supports.flatten()),
            support_masks=mask_of_class(self.data.labels[supports], class_id[:, None]),
            query_mask=mask_of_class(self.data.labels[query], class_id),
            class_id=class_id,
        )

    def _select(self, numbers: Int[Tensor, " number"]) -> Features:
        return Features(self.features.mid[numbers].float(), self.features.high[numbers].float())
