"""Prediction on anybody's images: files in, a mask of the query's own size out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fewshot.checkpoint import load_checkpoint
from fewshot.data.reading import ImageSource, describe_source, read_image, read_labels, select_object
from fewshot.data.transforms import normalise_images
from fewshot.episode import Episode
from fewshot.model.cmnet import CMNet
from fewshot.model.prediction import Prediction


@dataclass(frozen=True)
class Segmentation:
    """What was found in one query image, at its own size.

    Attributes:
        mask: True on the object.
        probability: Of the object, at each pixel.
        prior_map: The prior mask, stretched to the image; None where the network has none.
        transport_map: The transport map, likewise.
        episode: What the network saw: images fitted into its square, with padding.
        prediction: What it answered about them, with the transport plan.
    """

    mask: Bool[Tensor, "height width"]
    probability: Float[Tensor, "height width"]
    prior_map: Float[Tensor, "height width"] | None
    transport_map: Float[Tensor, "height width"] | None
    episode: Episode
    prediction: Prediction

    def to_image(self) -> Image.Image:
        """Give the mask as a black-and-white image, 255 on the object."""
        return Image.fromarray(self.mask.to(torch.uint8).mul(255).numpy())


@dataclass(frozen=True)
class Fitted:
    """An image in the upper left corner of a square, with what is needed to go back.

    Attributes:
        pixels: RGB of the whole square.
        valid: True on the image, False on the rest.
        labels: Mask on the square; 0 where the image has none.
        fitted_size: Height and width of the image inside the square.
        original_size: Height and width it came with.
    """

    pixels: UInt8[Tensor, "3 side side"]
    valid: Bool[Tensor, "side side"]
    labels: UInt8[Tensor, "side side"]
    fitted_size: tuple[int, int]
    original_size: tuple[int, int]


class Segmenter:
    """A trained network that segments images of any size, given any number of labelled examples.

    Args:
        model: The network.
        image_size: Side of the square that images are fitted into: longer side to this, aspect kept.
        device: Where the network runs.
    """

    def __init__(self, model: CMNet, *, image_size: int, device: torch.device | str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.image_size = image_size
        self.device = device

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: torch.device | str = "cpu") -> "Segmenter":
        """Read a network that `fewshot.checkpoint.save_checkpoint` wrote, as the demo does."""
        checkpoint = load_checkpoint(Path(path))
        return cls(checkpoint.model, image_size=checkpoint.image_size, device=device)

    def predict(
        self,
        query: ImageSource,
        supports: Sequence[tuple[ImageSource, ImageSource]],
        *,
        label: int | None = None,
    ) -> Segmentation:
        """Segment in the query what the masks show in the supports.

        Args:
            query: Image to segment, as a path or an open image; JPEG or PNG, any size.
            supports: One or more pairs of image and mask. In a mask 0 is background and one label is the object; 255
                is unknown, unless the mask is black and white (see `fewshot.data.reading.select_object`).
            label: Which label is the object, for masks that hold several.

        Raises:
            ValueError: There is no support; a mask is empty, holds several labels or has another size than its
                image; or a file cannot be read (`UnreadableImageError`).
        """
        if not supports:
            raise ValueError(
                "`supports` must hold at least one pair of image and mask. Found none. Show the network an example of "
                "what it should find."
            )
        fitted_query = fit_to_square(read_image(query), None, self.image_size)
        fitted_supports = [self._read_support(*pair, label=label) for pair in supports]
        episode = _gather(fitted_query, fitted_supports)
        with torch.inference_mode():
            prediction = self.model(episode.to(self.device))
        return _restore(prediction, fitted_query, episode)

    def _read_support(self, image_source: ImageSource, mask_source: ImageSource, *, label: int | None) -> Fitted:
        image, labels = read_image(image_source), read_labels(mask_source)
        if image.shape[-2:] != labels.shape:
            raise ValueError(
                f"A mask must have the size of its image. Found {labels.shape[0]} x {labels.shape[1]} (height x width) "
                f"in {describe_source(mask_source)} where {describe_source(image_source)} has {image.shape[1]} x "
                f"{image.shape[2]}. Pass the mask that was drawn on this image, in the same orientation."
            )
        chosen = select_object(labels, label=label, name=describe_source(mask_source))
        return fit_to_square(image, chosen, self.image_size)


def fit_to_square(
    image: UInt8[Tensor, "3 height width"], labels: UInt8[Tensor, "height width"] | None, side: int
) -> Fitted:
    """Scale the longer side of an image to `side`, keeping its aspect, and put it into the upper left corner.

    Labels take their nearest neighbour; an object so small that it would vanish marks every pixel it touches. An
    image more than `side` times as long as wide keeps one row or column.
    """
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    resized = functional.interpolate(image[None].float(), (rows, columns), mode="bilinear", antialias=True)[0]
    pixels = torch.zeros(3, side, side, dtype=torch.uint8)
    pixels[:, :rows, :columns] = resized.round().clamp(0, 255).to(torch.uint8)
    valid = torch.zeros(side, side, dtype=torch.bool)
    valid[:rows, :columns] = True
    fitted = torch.zeros(side, side, dtype=torch.uint8)
    if labels is not None:
        fitted[:rows, :columns] = _resize_labels(labels, (rows, columns))
    return Fitted(pixels, valid, fitted, (rows, columns), (height, width))


def _resize_labels(labels: UInt8[Tensor, "height width"], size: tuple[int, int]) -> UInt8[Tensor, "rows columns"]:
    resized = functional.interpolate(labels[None, None], size, mode="nearest-exact")[0, 0]
    if (resized == 1).any():
        return resized
    touched = functional.adaptive_max_pool2d((labels == 1)[None].float(), size)[0] > 0
    return torch.where(touched, torch.ones_like(resized), resized)


def _gather(query: Fitted, supports: Sequence[Fitted]) -> Episode:
    """Make an episode of one task; padding becomes the mean colour, that is 0 once normalised."""
    images = torch.stack([query.pixels, *(support.pixels for support in supports)])
    valid = torch.stack([query.valid, *(support.valid for support in supports)])
    normalised = normalise_images(images) * valid.unsqueeze(1)
    return Episode(
        support_images=normalised[1:].unsqueeze(0),
        support_masks=torch.stack([support.labels for support in supports]).long().unsqueeze(0),
        query_image=normalised[:1],
        support_valid=valid[1:].unsqueeze(0),
        query_valid=valid[:1],
    )


def _restore(prediction: Prediction, query: Fitted, episode: Episode) -> Segmentation:
    """Cut the padding off and bring logits and maps to the query's own size."""
    logits = _uncover(prediction.logits[0], query)
    maps = [
        None if nodes is None else _uncover(_stretch(nodes, query.pixels.shape[-1]), query)[0]
        for nodes in (prediction.prior_map, prediction.transport_map)
    ]
    return Segmentation(
        mask=logits[1] > logits[0],
        probability=logits.softmax(0)[1],
        prior_map=maps[0],
        transport_map=maps[1],
        episode=episode,
        prediction=prediction,
    )


def _stretch(nodes: Float[Tensor, "1 h w"], side: int) -> Float[Tensor, "1 side side"]:
    return functional.interpolate(nodes[None].float(), (side, side), mode="bilinear", align_corners=True)[0]


def _uncover(square: Float[Tensor, "channels side side"], fitted: Fitted) -> Float[Tensor, "channels height width"]:
    rows, columns = fitted.fitted_size
    inside = square[None, :, :rows, :columns].float().cpu()
    return functional.interpolate(inside, fitted.original_size, mode="bilinear", align_corners=False)[0]
