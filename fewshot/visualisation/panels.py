"""One task as it is drawn: what the network was shown, what it saw in it and what it answered."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from fewshot.episode import IGNORED, Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.overlays import restore_colours


@dataclass(frozen=True)
class Panel:
    """One task of an episode as it is drawn. Padding is cut off.

    Attributes:
        support_images: The labelled images, RGB.
        support_masks: Their masks, 0, 1 and 255.
        query_image: The image to segment.
        prediction: The answer, 1 on the object.
        prior_map: Prior mask, stretched to the query's size; None where there is none.
        transport_map: Transport map, likewise.
        query_mask: The truth, 0, 1 and 255; None where it is unknown.
        title: What the task is about, such as the name of the class.
    """

    support_images: tuple[UInt8[Tensor, "_ _ 3"], ...]
    support_masks: tuple[UInt8[Tensor, "_ _"], ...]
    query_image: UInt8[Tensor, "height width 3"]
    prediction: UInt8[Tensor, "height width"]
    prior_map: Float[Tensor, "height width"] | None = None
    transport_map: Float[Tensor, "height width"] | None = None
    query_mask: UInt8[Tensor, "height width"] | None = None
    title: str = ""

    @property
    def iou(self) -> float | None:
        """Intersection over union of this one answer with the truth, unknown pixels left out; None without truth.

        Scores are not means of this: they add up the pixels of all episodes of a class first.
        """
        if self.query_mask is None:
            return None
        known = self.query_mask != IGNORED
        found, true = (self.prediction == 1) & known, (self.query_mask == 1) & known
        union = (found | true).sum().item()
        return (found & true).sum().item() / union if union else 1.0


def take_panel(episode: Episode, prediction: Prediction, *, task: int = 0, title: str = "") -> Panel:
    """Take one task of a batch for drawing."""
    inside = visible_part(None if episode.query_valid is None else episode.query_valid[task])
    size = episode.query_image.shape[-2:]

    def stretch(maps: Tensor | None) -> Tensor | None:
        if maps is None:
            return None
        nodes = maps[task].detach().cpu().float()
        return functional.interpolate(nodes[None, None], size, mode="bilinear", align_corners=True)[0, 0][inside]

    supports = [
        (visible_part(None if episode.support_valid is None else episode.support_valid[task, shot]), image, mask)
        for shot, (image, mask) in enumerate(
            zip(episode.support_images[task], episode.support_masks[task], strict=True)
        )
    ]
    truth = episode.query_mask
    return Panel(
        support_images=tuple(restore_colours(image)[part] for part, image, _ in supports),
        support_masks=tuple(mask.to(torch.uint8).cpu()[part] for part, _, mask in supports),
        query_image=restore_colours(episode.query_image[task])[inside],
        prediction=prediction.mask[task].to(torch.uint8).cpu()[inside],
        prior_map=stretch(prediction.prior_map),
        transport_map=stretch(prediction.transport_map),
        query_mask=None if truth is None else truth[task].to(torch.uint8).cpu()[inside],
        title=title,
    )


def visible_part(valid: Bool[Tensor, "height width"] | None) -> tuple[slice, slice]:
    """Find the rows and columns that hold all of an image in its padding; everything where nothing is padded."""
    if valid is None:
        return slice(None), slice(None)
    rows, columns = valid.cpu().any(1).nonzero().flatten(), valid.cpu().any(0).nonzero().flatten()
    return (
        slice(int(rows.min()), int(rows.max()) + 1),
        slice(int(columns.min()), int(columns.max()) + 1),
    )
