import torch

from fewshot.data.sampling import EpisodeSpec, collate_episodes
from fewshot.features import FeatureStore
from fewshot.model.cmnet import CMNet

SPECS = (EpisodeSpec(1, 0, (3, 6)), EpisodeSpec(2, 4, (1, 7)))


def test_gathered_features_are_those_of_the_episode_up_to_half_precision(
    tiny_network: CMNet, tiny_store: FeatureStore
) -> None:
    episode = collate_episodes(tiny_store.data, SPECS)
    gathered = tiny_store.gather(SPECS)
    query = tiny_network.extract(episode.query_image)
    supports = tiny_network.extract(episode.support_images.flatten(0, 1))
    for found, expected in ((gathered.query, query), (gathered.supports, supports)):
        torch.testing.assert_close(found.mid, expected.mid, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(found.high, expected.high, rtol=2e-3, atol=2e-3)


def test_gathered_masks_are_those_of_the_episode(tiny_store: FeatureStore) -> None:
    episode, gathered = collate_episodes(tiny_store.data, SPECS), tiny_store.gather(SPECS)
    assert episode.query_mask is not None
    assert torch.equal(gathered.query_mask, episode.query_mask)
    assert torch.equal(gathered.support_masks, episode.support_masks)
    assert gathered.class_id.tolist() == [1, 2]


def test_network_answers_stored_features_as_it_answers_images(tiny_network: CMNet, tiny_store: FeatureStore) -> None:
    tiny_network.eval()
    gathered = tiny_store.gather(SPECS)
    from_store = tiny_network.segment(gathered.query, gathered.supports, gathered.support_masks).logits
    torch.testing.assert_close(
        from_store, tiny_network(collate_episodes(tiny_store.data, SPECS)).logits, atol=5e-3, rtol=0
    )


def test_store_keeps_half_precision(tiny_store: FeatureStore) -> None:
    assert tiny_store.features.mid.dtype == tiny_store.features.high.dtype == torch.float16


def test_moved_episodes_keep_their_specs(tiny_store: FeatureStore) -> None:
    moved = tiny_store.gather(SPECS).to(torch.device("meta"))
    assert moved.specs == SPECS
    assert moved.query.mid.is_meta
    assert moved.supports.high.is_meta
    assert moved.query_mask.is_meta
