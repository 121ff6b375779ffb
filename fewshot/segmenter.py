"""Prediction on anybody's images: files in, a mask of the query's own size out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fewshot.checkpoint import load_checkpoint
from fewshot.data.fitting import Fit, FittedImage, Placement, fit_image, restore_logits
from fewshot.data.reading import ImageSource, read_image
from fewshot.data.transforms import normalise_padded
from fewshot.episode import Episode
from fewshot.labelling import Annotation, read_annotation
from fewshot.model.backbone import Features
from fewshot.model.cmnet import CMNet
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.prediction import Prediction


@dataclass(frozen=True)
class Segmentation:
    """What was found in one query image, at its own size.

    Attributes:
        image: The query, RGB, upright.
        mask: True on the object.
        probability: Of the object, at each pixel.
        prior_map: The prior mask, stretched to the image; None where the network has none.
        transport_map: The transport map, likewise.
        episode: What the network saw: images fitted onto its canvas, with padding.
        prediction: What it answered about them, with the transport plan: 52 MB for each support at 473 pixels.
    """

    image: UInt8[Tensor, "3 height width"]
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
class _Examples:
    """The supports of a task, on the canvas and behind the backbone."""

    images: Float[Tensor, "1 shot 3 side side"]
    masks: UInt8[Tensor, "1 shot side side"]
    valid: Bool[Tensor, "1 shot side side"]
    features: Features


class Segmenter:
    """A trained network that segments images of any size, given any number of labelled examples.

    Args:
        model: The network; brought to single precision and into eval mode.
        fit: How images come onto the canvas that it was trained with.
        device: Where it runs, such as `cuda`; `auto` takes a GPU where there is one.

    Raises:
        ValueError: There is no such device here.
    """

    def __init__(self, model: CMNet, *, fit: Fit, device: torch.device | str = "cpu") -> None:
        self.device = choose_device(device)
        self.model = model.to(device=self.device, dtype=torch.float32).eval()
        self.fit = fit

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, device: torch.device | str = "cpu") -> "Segmenter":
        """Read a network that `fewshot.checkpoint.save_checkpoint` wrote, as every training does.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged or no checkpoint of this network, or there is no such device.
        """
        checkpoint = load_checkpoint(Path(path))
        return cls(checkpoint.model, fit=checkpoint.fit, device=device)

    def with_matching(self, matching: MatchingConfig) -> "Segmenter":
        """Give a segmenter of the same weights, not copied, that solves another transport problem.

        To move twice the object's size, say: `segmenter.with_matching(MatchingConfig(mass_ratio=2.0))`, or start from
        `segmenter.model.config.matching`.

        Raises:
            ValueError: The network has no transport, or `matching` does not fit it.
        """
        return Segmenter(self.model.with_matching(matching), fit=self.fit, device=self.device)

    def predict(
        self, query: ImageSource, supports: Sequence[tuple[ImageSource, Annotation]], *, label: int | None = None
    ) -> Segmentation:
        """Segment in the query what the supports show.

        Args:
            query: Image to segment, as a path or an open image; JPEG or PNG, any size.
            supports: One or more images, each with a mask or with boxes. In a mask 0 is background and one label is
                the object; 255 is unknown, unless the mask is black and white (see
                `fewshot.data.reading.select_object`). A box is (x0, y0, x1, y1); x1 and y1 lie just outside.
            label: Which label is the object, for masks that hold several.

        Raises:
            ValueError: There is no support; a mask is empty, holds several labels or has another size than its
                image; a box reaches out of its image; or a file cannot be read (`UnreadableImageError`).
        """
        return next(self.predict_many([query], supports, label=label))

    def predict_many(
        self,
        queries: Iterable[ImageSource],
        supports: Sequence[tuple[ImageSource, Annotation]],
        *,
        label: int | None = None,
    ) -> Iterator[Segmentation]:
        """Segment the same object in many queries, each as `predict` would; the supports are read and encoded once.

        The answers come one by one, so that a folder of any size fits in memory: take what is needed of one before
        asking for the next.

        Raises:
            ValueError: As for `predict`; about supports at once, about a query when it is its turn.
        """
        examples = self._encode(supports, label)
        return (self._segment(query, examples) for query in queries)

    @torch.inference_mode()
    def _encode(self, supports: Sequence[tuple[ImageSource, Annotation]], label: int | None) -> _Examples:
        if not supports:
            raise ValueError(
                "`supports` must hold at least one image with its mask or boxes. Found none. Show the network an "
                "example of what it should find."
            )
        fitted = [self._read_support(*pair, label=label) for pair in supports]
        valid = torch.stack([each.valid for each in fitted])
        images = normalise_padded(torch.stack([each.pixels for each in fitted]), valid)
        masks = torch.stack([each.mask for each in fitted])
        features = self.model.extract(images.to(self.device))
        return _Examples(images[None], masks[None], valid[None], features)

    @torch.inference_mode()
    def _segment(self, source: ImageSource, examples: _Examples) -> Segmentation:
        image = read_image(source)
        query = fit_image(image, None, self.fit)
        episode = Episode(
            support_images=examples.images,
            support_masks=examples.masks.long(),
            query_image=normalise_padded(query.pixels, query.valid)[None],
            support_valid=examples.valid,
            query_valid=query.valid[None],
        )
        encoded = EncodedEpisode(
            query=self.model.extract(episode.query_image.to(self.device)),
            supports=examples.features,
            support_masks=episode.support_masks,
            size=query.placement.canvas_size,
            query_valid=episode.query_valid,
            support_valid=episode.support_valid,
        )
        prediction = _bring_home(self.model.segment(encoded.to(self.device)))
        return _restore(image, prediction, query.placement, episode)

    def _read_support(self, source: ImageSource, annotation: Annotation, *, label: int | None) -> FittedImage:
        image = read_image(source)
        return fit_image(image, read_annotation(annotation, source, image, label=label), self.fit)


def choose_device(name: torch.device | str) -> torch.device:
    """Find a device by its name; `auto` is a GPU where there is one.

    Raises:
        ValueError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # Names that no device has, and devices that this machine or this build of PyTorch lacks.
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`device` must be one that is here. Found {str(name)!r} ({str(error).splitlines()[0]}). Pass 'auto' or "
            f"'cpu'."
        ) from error


def _bring_home(prediction: Prediction) -> Prediction:
    """Copy every tensor to main memory: answers of many queries would fill a GPU."""
    moved = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    return replace(prediction, **{name: value.cpu() for name, value in moved.items() if isinstance(value, Tensor)})


def _restore(
    image: UInt8[Tensor, "3 height width"], prediction: Prediction, placement: Placement, episode: Episode
) -> Segmentation:
    """Cut the padding off and bring logits and maps to the query's own size."""
    logits = restore_logits(prediction.logits[0], placement, placement.original_size)

    def stretch(nodes: Tensor | None) -> Tensor | None:
        if nodes is None:
            return None
        size = placement.canvas_size
        whole = functional.interpolate(nodes[None].float(), size, mode="bilinear", align_corners=True)[0]
        return restore_logits(whole, placement, placement.original_size)[0]

    return Segmentation(
        image=image,
        mask=logits[1] > logits[0],
        probability=logits.softmax(0)[1],
        prior_map=stretch(prediction.prior_map),
        transport_map=stretch(prediction.transport_map),
        episode=episode,
        prediction=prediction,
    )
