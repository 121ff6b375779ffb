import pytest
import torch

from fewshot.data.boxes import SupportAnnotation
from fewshot.data.pools import Convention, EpisodePool, evaluation_pool, training_pool
from fewshot.data.tasks import annotate, make_task, read_masked_image
from fewshot.data.transforms import normalise_images
from fewshot.episode import IGNORED
from tests.fewshot.data.tiles import BASE, HEIGHT, NOVEL, RULE, WIDTH, Tiles

BOX = SupportAnnotation("box")


def make_training_pool(convention: Convention) -> EpisodePool:
    tiles = Tiles()
    return training_pool(tiles.load_index(0).train, tiles.fold(0), convention=convention, rule=RULE)


@pytest.fixture
def pool() -> EpisodePool:
    return evaluation_pool(Tiles().load_index(0).val, Tiles().fold(0), rule=RULE)


def test_a_mask_is_about_one_class_and_keeps_unknown_pixels(pool: EpisodePool) -> None:
    image, mask = read_masked_image(Tiles(), pool, 2, NOVEL)
    assert image.shape == (3, HEIGHT, WIDTH)
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    expected[8:10, :20], expected[10:18, :20] = IGNORED, 1
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(("convention", "expected"), [("keep", 0), ("ignore", IGNORED)])
def test_held_out_objects_are_dealt_with_by_the_convention_of_the_pool(convention: Convention, expected: int) -> None:
    mask = read_masked_image(Tiles(), make_training_pool(convention), 0, BASE)[1]
    assert mask[:8, :20].eq(1).all()
    assert mask[10:18, :20].eq(expected).all()


def test_an_image_without_its_class_is_refused(pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found no pixel of class 3 in 4\.png\. Make the index again"):
        read_masked_image(Tiles(), pool, 4, 3)


def test_supports_labelled_with_masks_keep_theirs(pool: EpisodePool) -> None:
    mask = read_masked_image(Tiles(), pool, 0, NOVEL)[1]
    assert torch.equal(annotate(mask, SupportAnnotation(), Tiles(), pool.entries[0], NOVEL), mask)


def test_boxes_are_made_of_the_mask_or_of_the_instances_of_the_data_set(pool: EpisodePool) -> None:
    tiles = Tiles(with_instances=True)
    mask = read_masked_image(tiles, pool, 0, NOVEL)[1]
    parts = annotate(mask, BOX, tiles, pool.entries[0], NOVEL)
    assert torch.equal(parts == 1, mask == 1)
    assert parts.ne(IGNORED).all()
    instances = annotate(mask, SupportAnnotation("box", instances=True), tiles, pool.entries[0], NOVEL)
    assert instances[10:].eq(1).all(), "the box of the second instance reaches from the object to the last row"
    assert instances[:10].eq(0).all()


def test_boxes_of_instances_are_refused_where_the_data_set_has_none(pool: EpisodePool) -> None:
    mask = read_masked_image(Tiles(), pool, 0, NOVEL)[1]
    with pytest.raises(ValueError, match=r"Found none for 0\.jpg of Tiles\. Turn `instances` off"):
        annotate(mask, SupportAnnotation("box", instances=True), Tiles(), pool.entries[0], NOVEL)


def test_a_task_is_the_query_and_then_its_supports() -> None:
    pixels = list(torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8))
    masks = list(torch.randint(0, 2, (3, 8, 8), dtype=torch.uint8))
    valid = list(torch.ones(3, 8, 8, dtype=torch.bool))
    task = make_task(7, pixels, masks, valid)
    assert task.query_mask is not None
    assert task.class_id is not None
    assert torch.equal(task.query_image, normalise_images(pixels[0][None]))
    assert torch.equal(task.support_images, normalise_images(torch.stack(pixels[1:])[None]))
    assert torch.equal(task.query_mask, masks[0][None].long())
    assert torch.equal(task.support_masks, torch.stack(masks[1:])[None].long())
    assert task.class_id.tolist() == [7]
    assert task.query_valid is None
    assert task.support_valid is None


def test_padding_of_one_support_is_noted_for_the_supports_alone() -> None:
    pixels = [torch.full((3, 8, 8), 255, dtype=torch.uint8)] * 3
    masks = [torch.zeros(8, 8, dtype=torch.uint8)] * 3
    whole, part = torch.ones(8, 8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)
    part[5:] = False
    task = make_task(7, pixels, masks, [whole, part, whole])
    assert task.query_valid is None
    assert task.support_valid is not None
    assert torch.equal(task.support_valid, torch.stack([part, whole])[None])
    assert task.support_images[0, 0, :, 5:].eq(0).all()
