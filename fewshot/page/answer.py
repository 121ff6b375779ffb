"""What the page shows of an answer: photographs, masks and a mass in, pictures out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fewshot.page.mass import find_scale
from fewshot.page.photograph import Photograph
from fewshot.segmenter import Segmentation, Segmenter
from fewshot.visualisation import (
    draw_matching,
    encode_figure,
    encode_picture,
    find_matches,
    overlay_map,
    overlay_mask,
    take_panel,
)


@dataclass(frozen=True)
class Answer:
    """What was found in a photograph.

    Attributes:
        probability: Of the object, at the size that the page works with.
        original_size: Width and height that the photograph came with.
        overlay: The photograph in grey, the object tinted, as PNG; so are the others.
        transport: The transport map, its highest value brightest; None where the network has none, as for what
            follows.
        prior: The prior mask, likewise.
        matching: Lines from the objects of the examples to where their mass goes.
        moved: Mass moved for each example, in nodes.
        grid: Rows and columns of the nodes that the photograph was cut into.
    """

    probability: Float[Tensor, "height width"]
    original_size: tuple[int, int]
    overlay: bytes
    transport: bytes | None
    prior: bytes | None
    matching: bytes | None
    moved: float | None
    grid: tuple[int, int] | None

    @property
    def share(self) -> float:
        """How much of the photograph is object, in [0, 1]."""
        return (self.probability > 0.5).float().mean().item()

    def encode_mask(self) -> bytes:
        """Give the mask as PNG, 255 on the object, at the size that the photograph came with."""
        size = self.original_size[::-1]
        stretched = functional.interpolate(self.probability[None, None], size, mode="bilinear")[0, 0]
        return encode_picture((stretched > 0.5).to(torch.uint8) * 255)


def answer_query(
    segmenter: Segmenter,
    query: Photograph,
    examples: Sequence[tuple[Photograph, Image.Image]],
    *,
    mass: float | None = None,
) -> Answer:
    """Find in a photograph what the examples show.

    Args:
        segmenter: The network.
        query: Where to look.
        examples: Photographs with their masks, 255 on the object.
        mass: What the transport moves, in the unit of `find_scale`; None for what the network was trained with.

    Raises:
        ValueError: There is no example, a mask is empty, or the network has no mass to choose.
    """
    if mass is not None:
        segmenter = _move(segmenter, mass)
    found = segmenter.predict(query.image, [(photograph.image, mask) for photograph, mask in examples])
    plan = found.prediction.plan
    return Answer(
        probability=found.probability,
        original_size=query.original_size,
        overlay=encode_picture(overlay_mask(found.image.permute(1, 2, 0), found.mask)),
        transport=_draw_map(found, found.transport_map),
        prior=_draw_map(found, found.prior_map),
        matching=_draw_lines(found),
        moved=None if plan is None else plan.sum((-1, -2)).mean().item(),
        grid=found.prediction.query_grid,
    )


def _move(segmenter: Segmenter, mass: float) -> Segmenter:
    network = segmenter.model.config
    scale = find_scale(network)
    if scale is None:
        raise ValueError(
            f"The network must have partial transport for a mass to be chosen. Found `transport = "
            f"{network.transport!r}`. Leave `mass` out, or use another checkpoint."
        )
    return segmenter.with_matching(scale.set_mass(network.matching, mass))


def _draw_map(found: Segmentation, values: Float[Tensor, "height width"] | None) -> bytes | None:
    if values is None:
        return None
    return encode_picture(overlay_map(found.image.permute(1, 2, 0), values, top=values.max().item() or 1.0))


def _draw_lines(found: Segmentation) -> bytes | None:
    if found.prediction.plan is None:
        return None
    shots = found.episode.support_masks.shape[1]
    matches = [find_matches(found.episode, found.prediction, shot=shot) for shot in range(shots)]
    return encode_figure(draw_matching(take_panel(found.episode, found.prediction), matches))
