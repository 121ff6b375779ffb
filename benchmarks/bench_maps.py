"""What the maps of CMNet are worth before anything is trained: average precision on classes of a fold's test.

python benchmarks/bench_maps.py --out maps.json --config photographs --data Folder --data.root voc20mini ...

Beside its own options it takes those of `fewshot train`, which name data, backbone and size. Every map is made of the
frozen features that `network.matching.features` names and scored, node by node, against the nodes that the object
covers by half, on the first episodes of the first list; the mean over all folds is taken.
"""

import json
import sys
from dataclasses import asdict, replace
from statistics import fmean, stdev
from typing import Any

import torch
from record import arguments, keep
from torch import Tensor
from torch.nn import functional
from workload import machine

from fewshot.commands.options import parse_run, read_run
from fewshot.evaluation.extraction import load_features
from fewshot.evaluation.protocol import list_episodes, open_pool
from fewshot.model.matching import MatchingConfig, OptimalTransportMatching
from fewshot.model.nodes import NodeFeatures, NodeMasks, find_nodes, foreground_share
from fewshot.model.prior import compute_prior
from fewshot.model.prototype import pool_prototype
from fewshot.presets import expand_presets
from fewshot.run_config import RunConfig
from fewshot.runs import build_network

BATCH = 20


def variants(config: MatchingConfig) -> dict[str, tuple[str, MatchingConfig]]:
    """Name every transport problem that is compared: the paper's, and one choice changed at a time."""
    partial = {
        "partial": config,
        "partial, reg 0.02": replace(config, reg=0.02, max_iter=200),
        "partial, reg 0.05": replace(config, reg=0.05, max_iter=100),
        "partial, reg 0.2": replace(config, reg=0.2),
        "partial, half the mass": replace(config, mass_ratio=0.5),
        "partial, twice the mass": replace(config, mass_ratio=2.0),
        "partial, 0.95 of all": replace(config, mass_fraction=0.95),
        "partial, object supplies": replace(config, suppliers="foreground"),
        "partial, cross weights": replace(config, weights="cross"),
    }
    full = {"full": config, "full, reg 0.05": replace(config, reg=0.05, max_iter=100)}
    return {
        **{name: ("full", one) for name, one in full.items()},
        **{name: ("partial", one) for name, one in partial.items()},
    }


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Area under precision over recall, for the nodes of one query."""
    hits = truth[scores.argsort(descending=True)].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return ((precision * hits).sum() / hits.sum()).item()


def draw_maps(features: NodeFeatures, masks: NodeMasks, config: MatchingConfig) -> dict[str, Tensor]:
    """Make every map of a batch of tasks."""
    prototype = pool_prototype(features.supports, masks.foreground)
    maps = {
        "prototype": functional.cosine_similarity(features.query, prototype[..., None, None]),
        "prior": compute_prior(features.query, features.supports, masks),
    }
    for name, (transport, one) in variants(config).items():
        matching = OptimalTransportMatching(transport, one)  # pyright: ignore[reportArgumentType] - one of two names
        maps[name] = matching(features.query, features.supports, masks).map
    return maps


def score_fold(config: RunConfig, episodes: int) -> dict[str, list[float]]:
    """Give the average precision of every map on the first episodes of a fold."""
    index = config.data.load_index(config.fold)
    pool = open_pool(config.data, index, config.fold, config.evaluation)
    specs = list_episodes(pool, replace(config.evaluation, shots=(1,)))[0].specs[:episodes]
    network = build_network(config, index).eval()
    fit = config.evaluation.fit
    store = load_features(network, config.data, pool, fit, digest=index.val.digest, cache=config.cache, high=True)
    scores: dict[str, list[float]] = {}
    for start in range(0, len(specs), BATCH):
        encoded = store.gather(specs[start : start + BATCH])
        name = "high" if config.network.matching.features == "high" else "mid"
        query, supports = (getattr(one, name).float() for one in (encoded.query, encoded.supports))
        grid = (query.shape[-2], query.shape[-1])
        masks = find_nodes(encoded.support_masks, encoded.query_valid, encoded.support_valid, grid, grid)
        features = NodeFeatures(query, supports.unflatten(0, encoded.support_masks.shape[:2])).keep(masks)
        assert encoded.query_mask is not None
        truth = foreground_share(encoded.query_mask.unsqueeze(1), grid)[:, 0] >= 0.5
        for name, maps in draw_maps(features, masks, config.network.matching).items():
            found = zip(maps.flatten(1), truth.flatten(1), strict=True)
            # A query whose object covers no node by half cannot be scored at nodes.
            scores.setdefault(name, []).extend(average_precision(one, true) for one, true in found if true.any())
    return scores


def summarise(scores: dict[str, list[float]]) -> dict[str, Any]:
    """Give each map's mean, and its mean difference from the full transport of the same tasks with its error."""
    summary = {}
    for name, values in scores.items():
        differences = [one - full for one, full in zip(values, scores["full"], strict=True)]
        error = stdev(differences) / len(differences) ** 0.5
        summary[name] = {"precision": fmean(values), "above full": fmean(differences), "standard error": error}
    return summary


if __name__ == "__main__":
    parser = arguments(__doc__, "maps")
    parser.add_argument("--episodes", type=int, default=300, help="on each fold")
    options, rest = parser.parse_known_args()
    config = read_run(parse_run(expand_presets([*rest, "--output=none"])))
    folds = [score_fold(replace(config, fold=fold), options.episodes) for fold in range(config.data.fold_count)]
    together = summarise({name: [value for fold in folds for value in fold[name]] for name in folds[0]})
    keep(options.out, machine(), {"matching": asdict(config.network.matching), "maps": together})
    print(json.dumps(together, indent=1), file=sys.stdout)
