import dataclasses

import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader

from fewshot.data.augmentation import Augmentation
from fewshot.data.boxes import SupportAnnotation
from fewshot.data.collation import collate, collate_tests
from fewshot.data.episodes import TestEpisodes, TrainingEpisodes
from fewshot.data.fitting import Fit, restore_logits
from fewshot.data.pools import Convention, EpisodePool, evaluation_pool, training_pool
from fewshot.data.sampling import EpisodeSampler
from fewshot.data.synthetic import Synthetic, SyntheticRecipe
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED
from tests.fewshot.data.episode_cases import PLAIN, assert_equal, given, make_test, make_training
from tests.fewshot.data.tiles import BASE, HEIGHT, NOVEL, WIDTH, Tiles


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    recipe = SyntheticRecipe(base_classes=3, novel_classes=2, base_images=8, novel_images=6)
    return Synthetic(recipe, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def synthetic_training(synthetic: Synthetic) -> TrainingEpisodes:
    pool = training_pool(synthetic.load_index(0).train, synthetic.fold(0), rule=synthetic.draw_rule)
    sampler = EpisodeSampler(pool, shot=2, order="shuffle")
    return TrainingEpisodes(synthetic, sampler, Augmentation(size=64, scale=(1.0, 1.0)), seed=0, length=7)


@pytest.fixture(scope="module")
def synthetic_pool(synthetic: Synthetic) -> EpisodePool:
    return evaluation_pool(synthetic.load_index(0).val, synthetic.fold(0), rule=synthetic.draw_rule)


def test_a_training_episode_holds_the_images_and_masks_of_its_spec() -> None:
    episodes = make_training()
    spec = episodes.sampler.draw(0)
    episode = episodes[0]
    shown = [spec.query, *spec.supports]
    assert 6 not in shown, "the first episode is one without the small picture"
    for number, picture in zip(shown, [episode.query_image[0], *episode.support_images[0]], strict=True):
        colour = normalise_images(torch.full((3, 1, 1), 20 + 30 * number, dtype=torch.uint8))
        assert_close(picture[:, 12:52], colour.expand(3, HEIGHT, WIDTH))
    assert given(episode.class_id).tolist() == [BASE]
    assert episode.support_images.shape == (1, 2, 3, 64, 64)
    assert episode.support_masks.dtype == given(episode.query_mask).dtype == torch.int64
    assert episode.support_masks[0, 0, 12:20, :20].eq(1).all()
    assert given(episode.query_mask)[0, 20:22, :20].eq(IGNORED).all()
    assert given(episode.query_mask)[0, 22:52].eq(0).all()


def test_padding_of_crops_is_not_valid_carries_nothing_and_is_unknown() -> None:
    for episode in (make_training()[index] for index in range(10)):
        valid = given(episode.query_valid)[0]
        assert valid.sum() in (HEIGHT * WIDTH, 20 * 20)
        assert episode.query_image[0, :, ~valid].eq(0).all()
        assert given(episode.query_mask)[0, ~valid].eq(IGNORED).all()
        assert given(episode.support_valid).shape == (1, 2, 64, 64)
        assert episode.support_masks[~given(episode.support_valid)].eq(IGNORED).all()


def test_pictures_that_fill_the_canvas_have_no_padding(synthetic_training: TrainingEpisodes) -> None:
    still = dataclasses.replace(synthetic_training.augmentation, rotation_probability=0.0)
    episode = TrainingEpisodes(synthetic_training.dataset, synthetic_training.sampler, still, seed=0, length=1)[0]
    assert episode.query_valid is None
    assert episode.support_valid is None


@pytest.mark.parametrize(("convention", "expected"), [("keep", 0), ("ignore", IGNORED)])
def test_held_out_objects_become_background_or_unknown_in_training(convention: Convention, expected: int) -> None:
    episode = make_training(convention)[0]
    assert given(episode.query_mask)[0, 22:30, :20].eq(expected).all()
    assert episode.support_masks[0, :, 22:30, :20].eq(expected).all()


def test_every_image_is_augmented_for_itself() -> None:
    flipping = dataclasses.replace(PLAIN, flip_probability=0.5)
    sides = set()
    for episode in (make_training(augmentation=flipping)[index] for index in range(12)):
        masks = torch.cat([given(episode.query_mask), episode.support_masks[0]])
        sides.add(tuple(bool((mask[:, :20] == 1).any()) for mask in masks))
    assert len(sides) >= 5, "of eight ways to mirror three pictures"


def test_an_episode_depends_on_its_number_only(synthetic_training: TrainingEpisodes) -> None:
    late_first = synthetic_training[6]
    for index in range(6):
        synthetic_training[index]
    torch.manual_seed(123)
    assert_equal(synthetic_training[6], late_first)


def test_another_seed_augments_the_same_episodes_differently(synthetic_training: TrainingEpisodes) -> None:
    other = TrainingEpisodes(
        synthetic_training.dataset,
        synthetic_training.sampler,
        synthetic_training.augmentation,
        seed=1,
        length=7,
    )
    assert torch.equal(given(other[2].class_id), given(synthetic_training[2].class_id))
    assert not torch.equal(other[2].query_image, synthetic_training[2].query_image)


def test_workers_change_nothing(synthetic_training: TrainingEpisodes) -> None:
    alone = list(DataLoader(synthetic_training, batch_size=3, collate_fn=collate))
    spawned = DataLoader(
        synthetic_training, batch_size=3, collate_fn=collate, num_workers=2, multiprocessing_context="spawn"
    )
    for here, there in zip(alone, spawned, strict=True):
        assert_equal(here, there)


def test_tests_too_can_be_read_by_workers(synthetic: Synthetic, synthetic_pool: EpisodePool) -> None:
    specs = EpisodeSampler(synthetic_pool, shot=1).draw_many(0, 4)
    episodes = TestEpisodes(synthetic, synthetic_pool, specs, Fit(48, "pfenet"), SupportAnnotation("box"))
    spawned = DataLoader(
        episodes, batch_size=2, collate_fn=collate_tests, num_workers=1, multiprocessing_context="spawn"
    )
    batches = list(spawned)
    alone = [episodes[index] for index in range(4)]
    assert_equal(collate([batch.episode for batch in batches]), collate([each.episode for each in alone]))
    truths = [truth for batch in batches for truth in batch.truths]
    assert all(torch.equal(truth, each.truth) for truth, each in zip(truths, alone, strict=True))


def test_a_test_keeps_the_truth_at_its_own_size_and_the_way_back() -> None:
    episodes = make_test(Fit(32))
    sizes = set()
    for index in range(len(episodes)):
        test = episodes[index]
        size = (20, 20) if episodes.specs[index].query == 6 else (HEIGHT, WIDTH)
        assert test.placement.original_size == test.truth.shape == size
        answer = (given(test.episode.query_mask)[0] == 1).float().expand(2, 32, 32)
        restored = restore_logits(answer, test.placement, size)[0] > 0.5
        assert torch.equal(restored, test.truth == 1)
        sizes.add(size)
    assert len(sizes) == 2


def test_a_test_of_an_image_is_about_held_out_classes_and_nothing_is_relabelled() -> None:
    test = make_test(Fit(64))[0]
    assert given(test.episode.class_id).tolist() == [NOVEL]
    assert test.truth[10:18, :20].eq(1).all()
    assert test.truth[8:10, :20].eq(IGNORED).all()
    assert test.truth[:8].eq(0).all()
    assert test.episode.support_masks[0, 0, 8:10, :20].eq(IGNORED).all()


def test_boxes_stand_in_for_support_masks_and_leave_the_query_alone() -> None:
    masks, boxes = make_test(Fit(64)), make_test(Fit(64), SupportAnnotation("box"))
    assert torch.equal(masks[0].truth, boxes[0].truth)
    assert torch.equal(given(masks[0].episode.query_mask), given(boxes[0].episode.query_mask))
    support = boxes[0].episode.support_masks[0, 0]
    assert support[10:18, :20].eq(1).all()
    assert support[:HEIGHT].ne(IGNORED).all()


def test_episodes_end_where_they_should() -> None:
    training, test = make_training(), make_test(Fit(32))
    assert (len(training), len(test)) == (30, 14)
    for episodes, index in ((training, 30), (training, -1), (test, 14)):
        with pytest.raises(IndexError, match=rf"Found {index}\. Count from 0"):
            episodes[index]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `seed = -1`\. Pass a non-negative integer"):
        TrainingEpisodes(Tiles(), make_training().sampler, PLAIN, seed=-1, length=1)


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `length = 0`\. Pass how many episodes"):
        TrainingEpisodes(Tiles(), make_training().sampler, PLAIN, seed=0, length=0)
