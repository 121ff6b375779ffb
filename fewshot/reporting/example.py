"""An episode as files that anybody can look at, and that `fewshot predict` reads."""

import io
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from fewshot.data.dataset import DataSet
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSpec
from fewshot.data.storage import write_whole
from fewshot.data.tasks import read_masked_image
from fewshot.episode import IGNORED
from fewshot.visualisation import save_picture

_COLOURS = {1: (230, 60, 40), IGNORED: (224, 224, 224)}


def write_example(dataset: DataSet, pool: EpisodePool, spec: EpisodeSpec, folder: Path) -> tuple[Path, ...]:
    """Write the images of an episode at their own size, each beside its mask.

    Masks are palette images: 1 on the object, shown red, 255 where unknown, 0 elsewhere.

    Returns:
        Query and mask, then image and mask of each support: `query.png`, `query_mask.png`, `support.png`,
        `support_mask.png`, with numbers where there are several supports.

    Raises:
        UnreadableImageError: A file of the data set is missing or damaged.
        ValueError: An image does not show the class.
    """
    shots = len(spec.supports)
    names = ["query", *(["support"] if shots == 1 else [f"support_{shot}" for shot in range(1, shots + 1)])]
    written: list[Path] = []
    for name, number in zip(names, (spec.query, *spec.supports), strict=True):
        image, mask = read_masked_image(dataset, pool, number, spec.class_id)
        paths = folder / f"{name}.png", folder / f"{name}_mask.png"
        save_picture(image.permute(1, 2, 0), paths[0])
        write_whole(paths[1], encode_mask(mask))
        written += paths
    return tuple(written)


def encode_mask(mask: UInt8[Tensor, "height width"]) -> bytes:
    """Give a mask as the bytes of a palette PNG: its numbers are kept, and its object is seen."""
    palette = [0] * 768
    for value, colour in _COLOURS.items():
        palette[3 * value : 3 * value + 3] = colour
    picture = Image.fromarray(mask.contiguous().numpy())
    picture.putpalette(palette)
    content = io.BytesIO()
    picture.save(content, format="png")
    return content.getvalue()
