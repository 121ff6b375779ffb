"""Scores are exact counts at the photographs' own size, and whoever computes them, they are the same."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from fewshot.data.boxes import SupportAnnotation
from fewshot.data.episodes import TestEpisodes
from fewshot.data.fitting import Fit
from fewshot.data.folder import Folder
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.data.storage import load_tensors, save_tensors
from fewshot.episode import IGNORED
from fewshot.evaluation.evaluate import evaluate
from fewshot.evaluation.extraction import load_features
from fewshot.evaluation.features import FeatureStore
from fewshot.evaluation.metrics import Void
from fewshot.evaluation.protocol import EpisodeList, list_episodes
from fewshot.evaluation.results import Evaluation
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from tests.fewshot.photographs import CONFIG, FIT, build_network, without_time

GLOO = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo, over which two processes would talk",
)


@pytest.fixture
def episodes(photo_pool: EpisodePool) -> EpisodeList:
    return list_episodes(photo_pool, CONFIG)[2]


def count_by_hand(network: CMNet, data: Folder, episodes: EpisodeList, *, void: Void = "ignore") -> list[list[int]]:
    """Count each episode for itself, from the definition: crop the padding off, stretch, compare pixel by pixel."""
    counts = []
    for test in TestEpisodes(data, episodes.pool, episodes.specs, FIT, SupportAnnotation()):
        with torch.inference_mode():
            logits = network(test.episode).logits
        rows, columns = test.placement.fitted_size
        stretched = functional.interpolate(logits[:, :, :rows, :columns], test.truth.shape, mode="bilinear")
        found = (stretched[0, 1] > stretched[0, 0]).flatten().tolist()
        truth = test.truth.flatten().tolist()
        pairs = [pair for pair in zip(found, truth, strict=True) if void == "background" or pair[1] != IGNORED]
        both = sum(guess and true == 1 for guess, true in pairs)
        counts.append([both, sum(guess or true == 1 for guess, true in pairs)])
    return counts


@pytest.mark.parametrize("void", ["ignore", "background"])
def test_counts_are_those_of_the_episodes_one_by_one(
    void: Void, network: CMNet, photographs: Folder, episodes: EpisodeList
) -> None:
    found = evaluate(network, photographs, episodes, replace(CONFIG, void=void, batch_size=1))
    expected = count_by_hand(network, photographs, episodes, void=void)
    assert [[one.intersection, one.union] for one in found.episodes] == expected
    assert [one.class_id for one in found.episodes] == [spec.class_id for spec in episodes.specs]
    for class_id in (1, 2):
        of_class = [one for one in found.episodes if one.class_id == class_id]
        assert found.scores.class_intersection[class_id] == sum(one.intersection for one in of_class)
        assert found.scores.class_union[class_id] == sum(one.union for one in of_class)
        assert found.scores.class_episodes[class_id] == len(of_class)
    assert found.scores.episode_iou == pytest.approx(sum(one.iou for one in found.episodes) / len(found.episodes))
    assert 5 < found.scores.miou < 95, "the network is right here and wrong there"


def test_evaluation_says_what_it_was_made_on(network: CMNet, photographs: Folder, episodes: EpisodeList) -> None:
    found = evaluate(network, photographs, episodes, CONFIG)
    assert (found.shot, found.seed, found.episode_hash) == (2, 7, episodes.digest)
    assert found.seconds > 0


def test_batches_and_workers_change_no_score(network: CMNet, photographs: Folder, episodes: EpisodeList) -> None:
    expected = evaluate(network, photographs, episodes, CONFIG)
    found = evaluate(network, photographs, episodes, replace(CONFIG, workers=2))
    assert without_time(found) == without_time(expected)
    one_by_one = evaluate(network, photographs, episodes, replace(CONFIG, batch_size=1))
    assert one_by_one.scores.miou == pytest.approx(expected.scores.miou, abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fit": Fit(64, "square")},
        {"fit": Fit(64, "pfenet"), "resolution": 64},
        {"annotation": SupportAnnotation(kind="box"), "void": "background"},
    ],
    ids=["pad", "square", "pfenet at 64", "boxes, void"],
)
def test_kept_features_give_the_scores_of_the_images(
    options: dict[str, Any], network: CMNet, photographs: Folder, photo_index: Index, episodes: EpisodeList
) -> None:
    config = replace(CONFIG, **options)
    store = load_features(network, photographs, episodes.pool, config.fit, digest=photo_index.val.digest)
    from_pixels = evaluate(network, photographs, episodes, config)
    from_store = evaluate(network, photographs, episodes, config, store=store)
    # Half precision turns over single pixels of thousands.
    assert from_store.scores.miou == pytest.approx(from_pixels.scores.miou, abs=0.2)
    assert from_store.scores.fb_iou == pytest.approx(from_pixels.scores.fb_iou, abs=0.2)
    assert from_store.episode_hash == from_pixels.episode_hash


def test_network_with_every_map_is_scored_from_kept_features(
    photographs: Folder, photo_index: Index, episodes: EpisodeList
) -> None:
    network = build_network(photographs, prior=True, transport="partial", message_flow=("inner", "cross"))
    store = load_features(network, photographs, episodes.pool, FIT, digest=photo_index.val.digest)
    expected = evaluate(network, photographs, episodes, CONFIG).scores
    found = evaluate(network, photographs, episodes, CONFIG, store=store).scores
    assert found.miou == pytest.approx(expected.miou, abs=0.5)


def test_original_resolution_counts_every_known_pixel_of_the_photographs(
    network: CMNet, photographs: Folder, episodes: EpisodeList
) -> None:
    found = evaluate(network, photographs, episodes, replace(CONFIG, void="background")).scores
    pixels = [photographs.read(episodes.pool.entries[spec.query]).labels.numel() for spec in episodes.specs]
    # Whatever is not in the union of one side is in the intersection of the other.
    assert found.union[0] + found.intersection[1] == found.union[1] + found.intersection[0] == sum(pixels)


@pytest.mark.parametrize(("mode", "share"), [("square", [4096] * 4), ("pad", [46 * 64, 64 * 64, 64 * 30, 24 * 64])])
def test_resolution_by_number_counts_on_the_canvas_without_padding(
    mode: Any, share: list[int], network: CMNet, photographs: Folder, photo_pool: EpisodePool
) -> None:
    config = replace(CONFIG, fit=Fit(32, mode), resolution=64, void="background")
    (episodes,) = list_episodes(photo_pool, replace(config, shots=(1,), seeds=(0,), episodes=8))
    found = evaluate(network, photographs, episodes, config).scores
    # The eight photographs of the test have four sizes, two of each.
    assert found.union[0] + found.intersection[1] == 2 * sum(share)


def test_more_shots_than_trained_with_need_no_other_network(
    network: CMNet, photographs: Folder, photo_pool: EpisodePool
) -> None:
    (episodes,) = list_episodes(photo_pool, replace(CONFIG, shots=(3,), seeds=(7,)))
    assert evaluate(network, photographs, episodes, CONFIG).shot == 3


def test_network_is_in_eval_mode_for_the_time_being(
    network: CMNet, photographs: Folder, episodes: EpisodeList, photo_store: FeatureStore
) -> None:
    expected = evaluate(network, photographs, episodes, CONFIG, store=photo_store)
    network.train()
    found = evaluate(network, photographs, episodes, CONFIG, store=photo_store)
    assert network.training
    network.eval()
    assert without_time(found) == without_time(expected), "nothing is dropped"


def test_bfloat16_moves_scores_a_little(
    network: CMNet, photographs: Folder, episodes: EpisodeList, photo_store: FeatureStore
) -> None:
    single = evaluate(network, photographs, episodes, CONFIG, store=photo_store)
    half = evaluate(network, photographs, episodes, replace(CONFIG, precision="bf16"), store=photo_store)
    assert half.scores.miou == pytest.approx(single.scores.miou, abs=2.0)
    assert half.episodes != single.episodes, "it is another precision"


def test_store_of_another_fit_or_pool_is_refused(
    network: CMNet, photographs: Folder, episodes: EpisodeList, photo_store: FeatureStore
) -> None:
    with pytest.raises(ValueError, match=r"Found Fit\(size=64, mode='pad'\) and 8 images for Fit\(size=32.*Load the"):
        evaluate(network, photographs, episodes, replace(CONFIG, fit=Fit(32)), store=photo_store)
    fewer = replace(episodes.pool, entries=episodes.pool.entries[:-1])
    with pytest.raises(ValueError, match=r"and 8 images for .* and 7\. Load the features"):
        evaluate(network, photographs, replace(episodes, pool=fewer), CONFIG, store=photo_store)


def test_store_of_another_backbone_is_refused(
    tiny_network: CMNet, photographs: Folder, episodes: EpisodeList, photo_store: FeatureStore
) -> None:
    with pytest.raises(ValueError, match=r"those of the network's own backbone\. Found"):
        evaluate(tiny_network, photographs, episodes, CONFIG, store=photo_store)


def work(rank: int, folder: Path, config: CMNetConfig, data: Folder, episodes: EpisodeList, digest: str) -> None:
    """What each of the two processes does."""
    network = CMNet(config)
    network.load_state_dict(load_tensors(folder / "weights.safetensors"))
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    store = load_features(network, data, episodes.pool, FIT, digest=digest)
    found = {
        "pixels": evaluate(network, data, episodes, CONFIG),
        "store": evaluate(network, data, episodes, CONFIG, store=store),
    }
    (folder / f"{rank}.json").write_text(json.dumps({name: describe(one) for name, one in found.items()}))
    distributed.destroy_process_group()


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """Everything that an evaluation says but its time, as a file gives it back."""
    return json.loads(json.dumps(asdict(without_time(evaluation))))


@GLOO
def test_two_processes_have_exactly_the_scores_of_one(
    network: CMNet,
    photographs: Folder,
    photo_index: Index,
    photo_store: FeatureStore,
    episodes: EpisodeList,
    tmp_path: Path,
) -> None:
    save_tensors(tmp_path / "weights.safetensors", network.state_dict())
    spawn(work, (tmp_path, network.config, photographs, episodes, photo_index.val.digest), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["pixels"] == describe(evaluate(network, photographs, episodes, CONFIG))
    assert first["store"] == describe(evaluate(network, photographs, episodes, CONFIG, store=photo_store))
    assert len(first["pixels"]["episodes"]) == 11, "an odd number of batches and episodes"
