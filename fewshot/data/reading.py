"""Images and masks from files, or a refusal that names the file: nothing is guessed, repaired or read half."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded: a file of a few kilobytes can unpack to gigabytes."""

_FORMATS = ("JPEG", "PNG")
_WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
_LABEL_MODES = ("1", "L", "P")

ImageSource = str | Path | Image.Image
"""A file, or an image that is open already."""


class UnreadableImageError(ValueError):
    """A file is no image that can be used, or not the kind of image that was asked for."""


def read_image(source: ImageSource) -> UInt8[Tensor, "3 height width"]:
    """Read a photograph as 8-bit RGB, upright.

    The orientation that a camera wrote into the file is applied. Grey, palette and CMYK images are converted; an
    alpha channel is dropped, so that transparent pixels show the colour stored under them.

    Raises:
        UnreadableImageError: The file is missing, cut short, too large, no JPEG or PNG, or has 16 or more bits.
    """
    return _to_colours(_load(source))


def decode_image(content: bytes, name: str) -> UInt8[Tensor, "3 height width"]:
    """Read a photograph from the bytes of its file, as `read_image` reads the file.

    Args:
        content: What the file holds.
        name: What it is called in errors.

    Raises:
        UnreadableImageError: As for `read_image`.
    """
    with _explain(name):
        opened = _decode(BytesIO(content), name)
    return _to_colours(opened)


def read_labels(source: ImageSource) -> UInt8[Tensor, "height width"]:
    """Read the labels of a mask: the numbers stored for the pixels, whatever colours a palette gives them.

    Raises:
        UnreadableImageError: As for `read_image`, or the file cannot hold labels: colours, or a lossy format.
    """
    image, name, stored_as = _load(source)
    if image.mode not in _LABEL_MODES:
        raise UnreadableImageError(
            f"A mask must have one number per pixel (mode P, L or 1). Found mode {image.mode} in {name}. Save the "
            f"labels as a grey or palette PNG."
        )
    if stored_as == "JPEG":
        raise UnreadableImageError(
            f"A mask must be stored without loss. Found a JPEG, which changes labels, in {name}. Save the mask as PNG."
        )
    return torch.from_numpy(np.array(image).astype(np.uint8))


def read_grey(source: ImageSource) -> UInt8[Tensor, "height width"]:
    """Read a picture as 8-bit grey, as bright as it looks, whether it is stored in grey, in colours or by a palette.

    Raises:
        UnreadableImageError: As for `read_image`.
    """
    image, name, _ = _load(source)
    _check_depth(image, name)
    return torch.from_numpy(np.array(_convert(image, "L")))


def read_size(path: str | Path) -> tuple[int, int]:
    """Read the height and width that `read_image` would give, from the head of the file.

    Raises:
        UnreadableImageError: The file is missing, too large or no JPEG or PNG.
    """
    with _explain(str(path)), Image.open(path, formats=_FORMATS) as image:
        _check_pixels(image, str(path))
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def select_object(
    labels: UInt8[Tensor, "height width"], *, label: int | None = None, name: str = "the mask"
) -> UInt8[Tensor, "height width"]:
    """Turn labels into an episode's mask: 1 on the object, 255 where unknown, 0 elsewhere.

    Args:
        labels: 0 is background. 255 is unknown, unless the mask holds nothing but 0 and 255: then it is the object,
            because that is how black-and-white masks are painted.
        label: Which label is the object; None where the mask holds only one.
        name: What the mask is called in errors.

    Raises:
        ValueError: The mask holds no object, or several objects and no `label`.
    """
    present = [value for value in labels.unique().tolist() if value != 0]
    found = [value for value in present if value != 255] or present
    if label is None and len(found) > 1:
        raise ValueError(
            f"A mask must show one object, or `label` must say which. Found labels {found} in {name}. Pass one of them "
            f"as `label`."
        )
    if not found or (label is not None and label not in present):
        wanted = "a labelled pixel" if label is None else f"a pixel of label {label}"
        raise ValueError(
            f"A support mask must hold at least {wanted}. Found labels {present} in {name}. Draw the object, or leave "
            f"this support out."
        )
    chosen = found[0] if label is None else label
    unknown = (labels == 255) & (chosen != 255)
    return (labels == chosen).to(torch.uint8) + 255 * unknown.to(torch.uint8)


def describe_source(source: ImageSource) -> str:
    """Name an image in errors: its path, or that it came from memory."""
    return "the image given" if isinstance(source, Image.Image) else str(source)


class _Opened(NamedTuple):
    image: Image.Image
    name: str
    format: str | None


def _load(source: ImageSource) -> _Opened:
    """Decode, and turn upright."""
    name = describe_source(source)
    if isinstance(source, Image.Image):
        return _Opened(ImageOps.exif_transpose(source), name, source.format)
    with _explain(name):
        return _decode(source, name)


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Turn what Pillow raises into refusals that name the file."""
    try:
        with warnings.catch_warnings():
            # Pillow warns at a limit of its own; ours is lower and is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError as error:
        problem = f"A path must name an image file. Found nothing at {name}. Correct the path."
        raise UnreadableImageError(problem) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(_describe_bomb(name, "far more")) from error
    except UnidentifiedImageError as error:
        problem = f"An image must be a {' or '.join(_FORMATS)} file. Found something else in {name}. Convert it first."
        raise UnreadableImageError(problem) from error
    except (OSError, SyntaxError) as error:
        problem = f"An image file must be complete. Found {name} cut short or damaged ({error}). Fetch it again."
        raise UnreadableImageError(problem) from error


def _decode(file: str | Path | BytesIO, name: str) -> _Opened:
    with Image.open(file, formats=_FORMATS) as image:
        _check_pixels(image, name)
        return _Opened(ImageOps.exif_transpose(image), name, image.format)


def _to_colours(opened: _Opened) -> UInt8[Tensor, "3 height width"]:
    _check_depth(opened.image, opened.name)
    return torch.from_numpy(np.array(_convert(opened.image, "RGB"))).permute(2, 0, 1).contiguous()


def _check_pixels(image: Image.Image, name: str) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise UnreadableImageError(_describe_bomb(name, str(pixels)))


def _check_depth(image: Image.Image, name: str) -> None:
    if image.mode in _WIDE_MODES:
        raise UnreadableImageError(
            f"An image must have 8 bits per channel. Found mode {image.mode} in {name}. Scale it to 8 bits "
            f"first, because cutting the values off would turn most of it white."
        )


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _describe_bomb(name: str, found: str) -> str:
    return f"An image must have at most {MAX_PIXELS} pixels. Found {found} in {name}. Scale it down first."
