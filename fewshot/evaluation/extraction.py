"""Features of all images of a pool: read from a folder if they are there, computed and put there if not."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fewshot.data.dataset import DataSet
from fewshot.data.fitting import Fit, FittedImage, Placement, fit_image
from fewshot.data.packing import PackedLabels, PackedMap, pack_labels
from fewshot.data.pools import EpisodePool, relabel_held_out
from fewshot.data.storage import hash_tensors, load_cached, save_tensors
from fewshot.data.transforms import normalise_padded
from fewshot.evaluation.features import FeatureStore, PoolFeatures, needs_high
from fewshot.model.backbone import Features
from fewshot.model.cmnet import CMNet
from fewshot.processes import first_process_first

FORMAT = 1
"""Part of every cache key; to be raised by whoever changes what is computed from an image."""

MAX_BYTES = 4 * 2**30
"""Size of the features of a pool up to which an evaluation keeps them where it may; they are computed in memory."""

_PROBES = 4
"""Images, at least, whose pixels go into the key: the same names may stand for the same photographs at another size."""

_Files = dict[str, dict[str, Tensor]]
"""What the files of a pool hold, by their names: `mid` with labels and placements, and `high`."""


class _Prepared(NamedTuple):
    fitted: FittedImage
    labels: PackedMap


class _PoolImages(Dataset[_Prepared]):
    """The images of a pool as the backbone gets them, with their labels."""

    def __init__(self, dataset: DataSet, pool: EpisodePool, fit: Fit) -> None:
        self.dataset = dataset
        self.pool = pool
        self.fit = fit

    def __len__(self) -> int:
        return len(self.pool.entries)

    def __getitem__(self, number: int) -> _Prepared:
        picture = self.dataset.read(self.pool.entries[number])
        labels = picture.labels
        if self.pool.convention is not None:
            labels = relabel_held_out(labels, self.pool.fold, self.pool.convention)
        return _Prepared(fit_image(picture.image, None, self.fit), pack_labels(labels))


def measure_features(network: CMNet, pool: EpisodePool, fit: Fit) -> int:
    """Count the bytes that the features of a pool would take, as far as the network needs them.

    The backbone looks at one blank image to find out.
    """
    blank = torch.zeros(1, 3, fit.size, fit.size, device=next(network.backbone.parameters()).device)
    with _in_eval_mode(network):
        features = network.extract(blank)
    numbers = features.mid.numel() + (features.high.numel() if needs_high(network.config) else 0)
    return numbers * torch.float16.itemsize * len(pool.entries)


def load_features(
    network: CMNet,
    dataset: DataSet,
    pool: EpisodePool,
    fit: Fit,
    *,
    digest: str,
    cache: Path | None = None,
    high: bool | None = None,
    batch_size: int = 8,
    workers: int = 0,
) -> FeatureStore:
    """Read the features of the images of a pool, or compute them, with a progress bar.

    Args:
        network: Whose backbone; its device computes.
        dataset: Reads the images.
        pool: Which images; a training pool's held-out classes are relabelled.
        fit: How they come to their canvas.
        digest: Hash of what the pool was made from: that of the index's split.
        cache: Folder that keeps them, in files named by everything they depend on; a damaged file is made again, with
            a warning in the log. Of several processes the first computes, and the others wait and read. None keeps
            them in memory only.
        high: Whether the high-level features are kept too. Default: if the network needs them.
        batch_size: Images in a pass of the backbone.
        workers: Processes that read images; 0 reads in this one.

    Raises:
        ValueError: A feature is too large for float16, or is no number.
        UnreadableImageError: An image cannot be read.
    """
    # Two files: the rows of a table that need no high-level features share the one with those that do.
    wanted = ("mid", "high") if (needs_high(network.config) if high is None else high) else ("mid",)
    images = _PoolImages(dataset, pool, fit)
    weights = hash_tensors(network.backbone.state_dict())
    if cache is None:
        files = _compute(network, images, wanted, batch_size=batch_size, workers=workers)
        return _take_up(files, images, weights)
    key = _key(network, images, weights, digest)
    paths = {name: cache / f"features-{key}-{name}.safetensors" for name in wanted}
    with first_process_first():
        files = {name: tensors for name, path in paths.items() if (tensors := load_cached(path)) is not None}
        if set(files) != set(wanted):
            computed = _compute(network, images, wanted, batch_size=batch_size, workers=workers)
            for name in set(wanted) - set(files):
                save_tensors(paths[name], computed[name])
            files = computed
    return _take_up(files, images, weights)


def _key(network: CMNet, images: _PoolImages, weights: str, digest: str) -> str:
    """Name everything that the features and labels of a pool depend on."""
    pool, dataset = images.pool, images.dataset
    probes = pool.entries[:: max(1, len(pool.entries) // _PROBES)]
    recipe = {
        "format": FORMAT,
        "weights": weights,
        "backbone": [network.config.backbone, network.config.stem, network.backbone.stride],
        "fit": asdict(images.fit),
        "data": [type(dataset).__name__, digest],
        "images": [(entry.image, entry.mask, sorted(entry.pixels.items())) for entry in pool.entries],
        "held out": [pool.convention, pool.fold.held_out] if pool.convention else None,
        "probes": hash_tensors({entry.image: dataset.read(entry).image for entry in probes}),
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]


def _compute(network: CMNet, images: _PoolImages, wanted: tuple[str, ...], *, batch_size: int, workers: int) -> _Files:
    """Run the backbone over the images; what it gives as files hold it."""
    device = next(network.backbone.parameters()).device
    kept: dict[str, Tensor] = {}
    labels: list[PackedMap] = []
    sizes: list[tuple[int, int]] = []
    with _in_eval_mode(network), tqdm(total=len(images), desc="Features", unit="image") as bar:
        for batch in DataLoader(images, batch_size, num_workers=workers, collate_fn=list):
            pixels = torch.stack([one.fitted.pixels for one in batch])
            valid = torch.stack([one.fitted.valid for one in batch])
            features = network.extract(normalise_padded(pixels, valid).to(device))
            for name in wanted:
                _keep(kept, name, getattr(features, name), start=len(labels), total=len(images))
            labels += [one.labels for one in batch]
            sizes += [one.fitted.placement.fitted_size for one in batch]
            bar.update(len(batch))
    packed = PackedLabels.join(labels)
    files = {name: {name: kept[name]} for name in wanted}
    files["mid"] |= {
        "labels": packed.content,
        "ends": packed.ends,
        "sizes": packed.sizes,
        "fitted": torch.tensor(sizes),
    }
    return files


@contextmanager
def _in_eval_mode(network: CMNet) -> Iterator[None]:
    """Keep a backbone from going by the statistics of its batch, as some do in training."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def _keep(kept: dict[str, Tensor], name: str, features: Tensor, *, start: int, total: int) -> None:
    """Put a batch of features into its place, in float16."""
    halved = features.half().cpu()
    if not halved.isfinite().all():
        raise ValueError(
            f"Features must be finite numbers below {torch.finfo(torch.float16).max:.0f} to be kept in float16. Found "
            f"{features.abs().max().item():.3g} among images {start} to {start + len(features) - 1}. Evaluate from "
            f"pixels, without a store of features, or look at the weights of the backbone."
        )
    if name not in kept:
        kept[name] = torch.empty(total, *halved.shape[1:], dtype=torch.float16)
    kept[name][start : start + len(halved)] = halved


def _take_up(files: _Files, images: _PoolImages, weights: str) -> FeatureStore:
    described, mid = files["mid"], files["mid"]["mid"]
    canvas = (images.fit.size, images.fit.size)
    placements = tuple(
        Placement((rows, columns), canvas, (height, width))
        for (rows, columns), (height, width) in zip(
            described["fitted"].tolist(), described["sizes"].tolist(), strict=True
        )
    )
    features = Features(mid, files["high"]["high"] if "high" in files else mid[:, :0])
    labels = PackedLabels(described["labels"], described["ends"], described["sizes"])
    content = PoolFeatures(features, labels, placements)
    return FeatureStore(images.dataset, images.pool, images.fit, content, backbone=weights)
