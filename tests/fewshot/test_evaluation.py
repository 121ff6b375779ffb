import pytest
import torch

from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.evaluation import EVALUATION_BATCH, evaluate, hash_episodes
from fewshot.features import FeatureStore
from fewshot.metrics import SegmentationScore
from fewshot.model.cmnet import CMNet


@pytest.fixture
def specs(tiny_store: FeatureStore) -> tuple[EpisodeSpec, ...]:
    sampler = EpisodeSampler(tiny_store.data.labels, tiny_store.data.class_ids, shot=2, seed=1)
    return sampler.draw_many(0, EVALUATION_BATCH + 3)


def test_scores_are_those_of_the_episodes_one_by_one(
    tiny_network: CMNet, tiny_store: FeatureStore, specs: tuple[EpisodeSpec, ...]
) -> None:
    found = evaluate(tiny_network, tiny_store, specs, tiny_store.data.class_ids, description="Evaluation")
    score = SegmentationScore(tiny_store.data.class_ids)
    with torch.inference_mode():
        for spec in specs:
            one = tiny_store.gather((spec,))
            score.update(
                tiny_network.segment(one.query, one.supports, one.support_masks).mask, one.query_mask, one.class_id
            )
    assert sum(found.scores.class_episodes.values()) == len(specs)
    assert found.scores.miou == pytest.approx(score.compute().miou, abs=0.1)
    assert found.scores.fb_iou == pytest.approx(score.compute().fb_iou, abs=0.1)


def test_same_network_scores_the_same_twice(
    tiny_network: CMNet, tiny_store: FeatureStore, specs: tuple[EpisodeSpec, ...]
) -> None:
    tiny_network.train()
    first, second = (
        evaluate(tiny_network, tiny_store, specs, tiny_store.data.class_ids, description="Evaluation") for _ in range(2)
    )
    assert first.scores == second.scores, "nothing is dropped in eval mode"
    assert not tiny_network.training


def test_evaluation_says_what_it_was_made_on(
    tiny_network: CMNet, tiny_store: FeatureStore, specs: tuple[EpisodeSpec, ...]
) -> None:
    found = evaluate(tiny_network, tiny_store, specs, tiny_store.data.class_ids, description="Evaluation")
    assert (found.shot, found.episodes, found.episode_hash) == (2, len(specs), hash_episodes(specs))
    assert found.seconds > 0


def test_class_without_an_episode_is_an_error(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    specs = (EpisodeSpec(1, 0, (3,)),)
    with pytest.raises(ValueError, match=r"Found none for classes \[2, 3\]"):
        evaluate(tiny_network, tiny_store, specs, tiny_store.data.class_ids, description="Evaluation")


def test_episode_hash_tells_lists_apart() -> None:
    one, other = EpisodeSpec(1, 0, (3,)), EpisodeSpec(1, 3, (0,))
    assert hash_episodes((one, other)) == hash_episodes((one, other))
    assert len({hash_episodes(specs) for specs in ((one,), (other,), (one, other), (other, one))}) == 4
