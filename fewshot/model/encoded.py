"""A batch of episodes after the frozen backbone: what the rest of the network, and a cache of features, begins with."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from fewshot.model.backbone import Features


@dataclass(frozen=True)
class EncodedEpisode:
    """Features in place of the images of an `Episode`.

    Attributes:
        query: Features of the query images, one a task; any float type.
        supports: Features of the support images, task after task: number `task * shot + i` is the i-th of its task.
        support_masks: At pixel size; 1 is the object, everything else is not.
        size: Height and width of the query images in pixels, to which the logits are brought.
        query_valid: False on padding of the query; None where nothing is padded.
        support_valid: Likewise for the supports.
        query_mask: The truth, as `Episode` holds it; None where there is none. The network never reads it.
        class_id: Which class each task is about, likewise.
    """

    query: Features
    supports: Features
    support_masks: Int[Tensor, "batch shot support_height support_width"]
    size: tuple[int, int]
    query_valid: Bool[Tensor, "batch height width"] | None = None
    support_valid: Bool[Tensor, "batch shot support_height support_width"] | None = None
    query_mask: Int[Tensor, "batch query_height query_width"] | None = None
    class_id: Int[Tensor, " batch"] | None = None

    def to(self, device: torch.device | str) -> "EncodedEpisode":
        """Copy every tensor to `device`."""
        moved = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "size"}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})
