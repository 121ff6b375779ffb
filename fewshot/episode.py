"""The one object that data hand to the network: a query image and the labelled support images that explain it."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

IGNORED = 255
"""Label of pixels that take part in neither the loss nor the scores (object borders in PASCAL VOC, padding)."""


@dataclass(frozen=True)
class Episode:
    """A batch of few-shot tasks: «segment in the query what the masks show in the supports».

    Images are RGB, normalised as the backbone expects. Masks hold 1 on the object, 0 elsewhere and `IGNORED` where the
    truth is unknown. Pixels that are not `valid` are padding: they carry no features and take part in nothing.

    Attributes:
        support_images: The labelled images, `shot` for each task.
        support_masks: Their masks; `IGNORED` counts as background here.
        query_image: The image to segment.
        query_mask: Its truth; None where there is none (prediction on a user's own images).
        support_valid: True on image, False on padding; None where nothing is padded.
        query_valid: Likewise for the query.
        class_id: Which class each task is about, for the scores only: the network never reads it.
    """

    support_images: Float[Tensor, "batch shot 3 support_height support_width"]
    support_masks: Int[Tensor, "batch shot support_height support_width"]
    query_image: Float[Tensor, "batch 3 query_height query_width"]
    query_mask: Int[Tensor, "batch query_height query_width"] | None = None
    support_valid: Bool[Tensor, "batch shot support_height support_width"] | None = None
    query_valid: Bool[Tensor, "batch query_height query_width"] | None = None
    class_id: Int[Tensor, " batch"] | None = None

    def to(self, device: torch.device | str) -> "Episode":
        """Copy every tensor to `device`."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})
