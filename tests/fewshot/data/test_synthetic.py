from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data import synthetic
from fewshot.data.pools import DrawRule, evaluation_pool, training_pool
from fewshot.data.synthetic import (
    LabelledImages,
    Synthetic,
    SyntheticRecipe,
    SyntheticSplit,
    generate_split,
    load_split,
)

SMALL = SyntheticRecipe(base_classes=4, novel_classes=2, base_images=15, novel_images=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def base(cache: Path) -> LabelledImages:
    return load_split(SMALL, "base", cache=cache)


@pytest.fixture(scope="module")
def novel(cache: Path) -> LabelledImages:
    return load_split(SMALL, "novel", cache=cache)


def test_splits_have_the_asked_sizes_and_share_no_class(base: LabelledImages, novel: LabelledImages) -> None:
    assert base.images.shape == (60, 3, 64, 64)
    assert novel.labels.shape == (8, 64, 64)
    assert (base.class_ids, novel.class_ids) == ((1, 2, 3, 4), (5, 6))


def test_base_images_never_show_a_novel_class(base: LabelledImages) -> None:
    assert set(base.labels.unique().tolist()) == {0, *base.class_ids}


def test_targets_take_turns(base: LabelledImages, novel: LabelledImages) -> None:
    for data in (base, novel):
        for index, labels in enumerate(data.labels):
            assert (labels == data.class_ids[index % len(data.class_ids)]).sum() >= 150


def test_default_is_the_benchmark() -> None:
    recipe = SyntheticRecipe()
    assert (len(recipe.class_ids("base")), len(recipe.class_ids("novel"))) == (60, 15)
    assert (recipe.size("base"), recipe.size("novel")) == (3600, 750)


def test_the_number_of_processes_does_not_change_the_images(base: LabelledImages) -> None:
    drawn = generate_split(SMALL, "base", workers=2)
    assert torch.equal(drawn["images"], base.images)
    assert torch.equal(drawn["labels"], base.labels)


def test_more_images_of_the_same_seed_begin_with_the_same_images(novel: LabelledImages) -> None:
    drawn = generate_split(replace(SMALL, novel_images=5), "novel")
    assert torch.equal(drawn["images"][:8], novel.images)


def test_another_seed_gives_other_images(novel: LabelledImages) -> None:
    assert not torch.equal(generate_split(replace(SMALL, seed=1), "novel")["images"], novel.images)


def test_second_load_reads_the_cache(base: LabelledImages, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the images were drawn again")

    monkeypatch.setattr(synthetic, "generate_split", refuse)
    assert torch.equal(load_split(SMALL, "base", cache=cache).images, base.images)


def test_damaged_cache_is_drawn_again(novel: LabelledImages, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"synthetic-novel-{SMALL.key('novel')}.safetensors"
    path.write_bytes(b"cut short")
    assert torch.equal(load_split(SMALL, "novel", cache=tmp_path).images, novel.images)
    assert "Making it again" in caplog.text


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"base_classes": 5}, {"novel_classes": 3}, {"base_images": 9}], ids=str
)
def test_every_choice_changes_the_cache_key(change: dict[str, int]) -> None:
    assert replace(SMALL, **change).key("base") != SMALL.key("base")


def test_splits_have_keys_of_their_own() -> None:
    splits: tuple[SyntheticSplit, SyntheticSplit] = ("base", "novel")
    assert len({SMALL.key(split) for split in splits}) == 2


@pytest.mark.parametrize("name", ["base_classes", "novel_classes", "base_images", "novel_images"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Found `{name} = 0`\. Pass how many there shall be, \d+ in the benchmark"):
        replace(SMALL, **{name: 0})


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `seed = -1`\. Pass a non-negative integer"):
        SyntheticRecipe(seed=-1)


def test_more_classes_than_8_bit_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 250 \+ 15\. Ask for fewer classes"):
        SyntheticRecipe(base_classes=250)


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `workers = 0`\. Pass 1 to draw in this process"):
        generate_split(SMALL, "novel", workers=0)


@pytest.fixture
def data(cache: Path) -> Synthetic:
    return Synthetic(SMALL, cache)


def test_the_data_set_trains_on_base_classes_and_tests_on_novel_ones(data: Synthetic) -> None:
    assert data.fold_count == 1
    assert (data.fold(0).held_in, data.fold(0).held_out) == ((1, 2, 3, 4), (5, 6))
    index = data.load_index(0)
    assert len(index.classes) == 6
    assert (len(index.train.entries), len(index.val.entries)) == (60, 8)


@pytest.mark.parametrize("number", [-1, 1])
def test_another_fold_is_refused(data: Synthetic, number: int) -> None:
    with pytest.raises(ValueError, match=rf"between 0 and 0\. Found fold {number}\. Count from 0"):
        data.fold(number)
    with pytest.raises(ValueError, match=rf"between 0 and 0\. Found fold {number}\. Count from 0"):
        data.load_index(number)


def test_an_entry_counts_the_pixels_of_its_picture(data: Synthetic, novel: LabelledImages) -> None:
    for number, entry in enumerate(data.load_index(0).val.entries):
        values, counts = novel.labels[number].unique(return_counts=True)
        expected = dict(zip(values.tolist(), counts.tolist(), strict=True))
        assert entry.pixels == {label: count for label, count in expected.items() if label}


def test_a_picture_is_read_by_its_entry(data: Synthetic, base: LabelledImages, novel: LabelledImages) -> None:
    index = data.load_index(0)
    for split, pictures, number in ((index.train, base, 17), (index.val, novel, 3)):
        found = data.read(split.entries[number])
        assert torch.equal(found.image, pictures.images[number])
        assert found.labels.dtype == torch.int16
        assert torch.equal(found.labels, pictures.labels[number].short())
    assert data.read_instances(index.val.entries[0], 5) is None


def test_pictures_count_from_120_pixels_on(data: Synthetic) -> None:
    assert data.draw_rule == DrawRule(min_pixels=120)
    index, fold = data.load_index(0), data.fold(0)
    train = training_pool(index.train, fold, convention="exclude", rule=data.draw_rule)
    assert all(len(images) >= 15 for images in train.images_of.values())
    test = evaluation_pool(index.val, fold, rule=data.draw_rule)
    assert all(len(images) >= 4 for images in test.images_of.values())
    assert all(test.entries[number].pixels[class_id] >= 120 for number, class_id in test.pairs)


def test_the_pictures_are_drawn_again_on_demand(tmp_path: Path) -> None:
    data = Synthetic(replace(SMALL, base_images=2, novel_images=2), tmp_path)
    data.rebuild_index()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(written) == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    data.rebuild_index()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_another_recipe_is_another_data_set(data: Synthetic, tmp_path: Path) -> None:
    other = Synthetic(replace(SMALL, novel_images=5), tmp_path)
    assert other.load_index(0).val.digest != data.load_index(0).val.digest
