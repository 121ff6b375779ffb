"""One task: the images that it is made of, with their masks, as the network takes them."""

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from fewshot.data.boxes import SupportAnnotation, boxes_from_mask
from fewshot.data.dataset import DataSet
from fewshot.data.index import IndexEntry
from fewshot.data.labels import mask_of_class
from fewshot.data.pools import EpisodePool, relabel_held_out
from fewshot.data.transforms import normalise_padded
from fewshot.episode import Episode


def read_masked_image(
    dataset: DataSet, pool: EpisodePool, number: int, class_id: int
) -> tuple[UInt8[Tensor, "3 height width"], UInt8[Tensor, "height width"]]:
    """Read an image of a pool with the mask of a class; held-out classes are dealt with by the pool's convention.

    Raises:
        UnreadableImageError: A file is missing, damaged or of the wrong kind.
        ValueError: The image does not show the class.
    """
    entry = pool.entries[number]
    read = dataset.read(entry)
    labels = read.labels if pool.convention is None else relabel_held_out(read.labels, pool.fold, pool.convention)
    mask = mask_of_class(labels, class_id)
    if not (mask == 1).any():
        raise ValueError(
            f"An image must show the class that it is drawn for. Found no pixel of class {class_id} in {entry.mask}. "
            f"Make the index again if the masks have changed."
        )
    return read.image, mask


def annotate(
    mask: UInt8[Tensor, "height width"],
    annotation: SupportAnnotation,
    dataset: DataSet,
    entry: IndexEntry,
    class_id: int,
) -> UInt8[Tensor, "height width"]:
    """Turn the mask of a support into what supports are labelled with.

    Raises:
        ValueError: There is no object to box, or boxes are to be made of instances and the data set has none.
    """
    if annotation.kind == "mask":
        return mask
    if not annotation.instances:
        return boxes_from_mask(mask, annotation)
    instances = dataset.read_instances(entry, class_id)
    if instances is None:
        raise ValueError(
            f"Boxes of instances must come from a data set with instance masks. Found none for {entry.image} of "
            f"{type(dataset).__name__}. Turn `instances` off to box the connected parts of its masks."
        )
    return boxes_from_mask(mask, annotation, instances)


def make_task(
    class_id: int,
    pixels: list[UInt8[Tensor, "3 height width"]],
    masks: list[UInt8[Tensor, "height width"]],
    valid: list[Bool[Tensor, "height width"]],
) -> Episode:
    """Make an episode of one task out of images of one size; the query comes first, then the supports.

    Args:
        class_id: What the task is about.
        pixels: RGB of each image.
        masks: 1 on the object, 0 elsewhere, `IGNORED` where unknown.
        valid: True on image, False on padding.
    """
    whole = torch.stack(valid)
    images = normalise_padded(torch.stack(pixels), whole)
    labels = torch.stack(masks).long()
    return Episode(
        support_images=images[1:].unsqueeze(0),
        support_masks=labels[1:].unsqueeze(0),
        query_image=images[:1],
        query_mask=labels[:1],
        support_valid=None if whole[1:].all() else whole[1:].unsqueeze(0),
        query_valid=None if whole[0].all() else whole[:1],
        class_id=torch.tensor([class_id]),
    )
