from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.folds import Fold, pascal_fold
from fewshot.data.index import Index
from fewshot.data.labels import UNKNOWN
from fewshot.data.pascal import Pascal
from fewshot.data.pools import (
    Convention,
    DrawRule,
    EpisodePool,
    check_convention,
    evaluation_pool,
    relabel_held_out,
    training_pool,
)
from tests.fewshot.data.voc_tree import write_pair_list

FOLD = pascal_fold(0)
DOG, CAT, BIRD, BOAT, PERSON, TVMONITOR = 12, 8, 3, 4, 15, 20


def name_pairs(pool: EpisodePool, pairs: tuple[tuple[int, int], ...]) -> set[tuple[str, int]]:
    return {(Path(pool.entries[number].image).stem, class_id) for number, class_id in pairs}


@pytest.fixture
def pair_index(pascal: Pascal) -> Index:
    """As HSNet lists images: some below the filter of 2,048 pixels, some not under all that they show."""
    train = write_pair_list(
        pascal.root / "pairs.txt",
        [("2007_000002", PERSON), ("2008_000003", DOG), ("2008_000004", DOG), ("2008_000004", BIRD)],
    )
    val = write_pair_list(pascal.root / "val_pairs.txt", [("2010_000001", BIRD), ("2010_000002", BIRD)])
    return replace(pascal, train=(train,), val=(val,), index=pascal.root / "pairs.json").load_index(0)


def test_images_with_held_out_objects_are_kept_under_keep(voc_index: Index) -> None:
    pool = training_pool(voc_index.train, FOLD)
    assert name_pairs(pool, pool.pairs) == {
        ("2007_000001", PERSON),
        ("2008_000003", DOG),
        ("2008_000004", DOG),
        ("2009_000006", CAT),
        ("2009_000006", TVMONITOR),
    }
    assert (pool.convention, pool.query_pairs) == ("keep", tuple(sorted(pool.pairs)))
    assert pool.count_showing(FOLD.held_out) == 1, "one of the two birds is large enough"


def test_one_pixel_of_a_held_out_class_excludes_an_image_under_exclude(voc_index: Index) -> None:
    pool = training_pool(voc_index.train, FOLD, convention="exclude")
    assert name_pairs(pool, pool.pairs) == {("2007_000001", PERSON), ("2009_000006", CAT), ("2009_000006", TVMONITOR)}
    assert (pool.fold, pool.convention) == (FOLD, "exclude")


def test_ignore_draws_what_keep_draws(voc_index: Index) -> None:
    kept, ignored = (training_pool(voc_index.train, FOLD, convention=name) for name in ("keep", "ignore"))
    assert ignored.pairs == kept.pairs
    assert ignored.entries == kept.entries


@pytest.mark.parametrize(("min_pixels", "counts"), [(None, False), (2048, False), (2047, True), (1, True)])
def test_an_image_counts_from_the_filter_on(voc_index: Index, min_pixels: int | None, counts: bool) -> None:
    pool = training_pool(voc_index.train, FOLD, rule=DrawRule(min_pixels=min_pixels))
    names = name_pairs(pool, pool.pairs)
    assert ("2007_000001", PERSON) in names
    assert (("2007_000002", PERSON) in names) is counts


def test_the_legacy_draw_lets_queries_be_about_tiny_objects_but_not_supports(voc_index: Index) -> None:
    rule = DrawRule(legacy_class_draw=True)
    pool, filtered = training_pool(voc_index.train, FOLD, rule=rule), training_pool(voc_index.train, FOLD)
    assert name_pairs(pool, pool.query_pairs) - name_pairs(filtered, filtered.pairs) == {("2008_000004", CAT)}
    assert pool.images_of == filtered.images_of
    test = evaluation_pool(voc_index.val, FOLD, rule=rule)
    assert ("2010_000002", BIRD) in name_pairs(test, test.query_pairs)
    assert ("2010_000002", BIRD) not in name_pairs(test, test.pairs)


def test_the_test_is_about_held_out_classes_only(voc_index: Index) -> None:
    pool = evaluation_pool(voc_index.val, FOLD)
    assert name_pairs(pool, pool.pairs) == {("2010_000001", BIRD), ("2010_000002", BOAT)}
    assert pool.images_of == {1: (), 2: (), BIRD: (0,), BOAT: (1,), 5: ()}
    assert (pool.fold, pool.convention) == (FOLD, None)


def test_checkpoints_may_be_chosen_by_held_in_classes_on_images_of_the_test(voc_index: Index) -> None:
    pool = evaluation_pool(voc_index.val, FOLD, classes="held_in")
    assert name_pairs(pool, pool.pairs) == {("2010_000001", PERSON), ("2010_000003", PERSON)}
    assert tuple(pool.images_of) == FOLD.held_in
    assert (pool.fold, pool.convention) == (FOLD, None)


def test_listed_pairs_are_taken_as_they_are(pair_index: Index) -> None:
    pool = training_pool(pair_index.train, FOLD)
    assert name_pairs(pool, pool.pairs) == {("2007_000002", PERSON), ("2008_000003", DOG), ("2008_000004", DOG)}
    assert pool.count_showing(FOLD.held_out) == 1, "the bird of 2008_000003 is not listed, that of 2008_000004 is"
    test = evaluation_pool(pair_index.val, FOLD)
    assert name_pairs(test, test.pairs) == {("2010_000001", BIRD), ("2010_000002", BIRD)}


def test_listed_pairs_are_filtered_on_demand(pair_index: Index) -> None:
    pool = training_pool(pair_index.train, FOLD, rule=DrawRule(min_pixels=2048))
    assert name_pairs(pool, pool.pairs) == {("2008_000003", DOG), ("2008_000004", DOG)}


def test_exclusion_looks_at_the_mask_not_at_the_list(pair_index: Index) -> None:
    pool = training_pool(pair_index.train, FOLD, convention="exclude")
    assert name_pairs(pool, pool.pairs) == {("2007_000002", PERSON)}


def test_another_fold_draws_other_classes(voc_index: Index) -> None:
    pool = training_pool(voc_index.train, pascal_fold(3))
    assert name_pairs(pool, pool.pairs) == {
        ("2007_000001", PERSON),
        ("2008_000003", DOG),
        ("2008_000003", BIRD),
        ("2008_000004", DOG),
        ("2009_000005", BIRD),
        ("2009_000006", CAT),
    }


@pytest.mark.parametrize(("convention", "expected"), [("keep", [0, 0, 15, -1]), ("ignore", [0, -1, 15, -1])])
def test_held_out_pixels_become_background_or_unknown(convention: Convention, expected: list[int]) -> None:
    labels = torch.tensor([[0, BIRD, PERSON, UNKNOWN]], dtype=torch.int16)
    assert relabel_held_out(labels, FOLD, convention).tolist() == [expected]
    assert labels.tolist() == [[0, BIRD, PERSON, UNKNOWN]], "what was read stays as it is"


@pytest.mark.parametrize(("convention", "expected"), [("keep", [254, 0, 0]), ("ignore", [254, -1, -1])])
def test_classes_beyond_what_bytes_hold_are_relabelled_too(convention: Convention, expected: list[int]) -> None:
    labels = torch.tensor([[254, 255, 760]], dtype=torch.int16)
    assert relabel_held_out(labels, Fold(0, (254,), (255, 760)), convention).tolist() == [expected]


def test_under_exclude_no_mask_shows_a_held_out_class() -> None:
    labels = torch.tensor([[0, BIRD, PERSON, UNKNOWN]], dtype=torch.int16)
    assert torch.equal(relabel_held_out(labels, pascal_fold(1), "exclude"), labels)
    with pytest.raises(ValueError, match=r"Found \[3\] of fold 0\. Draw images from `training_pool`"):
        relabel_held_out(labels, FOLD, "exclude")


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keep, exclude, ignore\. Found `convention = 'drop'`\. Correct its spelling"):
        check_convention("drop")


@pytest.mark.parametrize("min_pixels", [0, -5])
def test_a_filter_that_absent_classes_pass_is_refused(min_pixels: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 1\. Found `min_pixels = {min_pixels}`\. Pass 1 for no filter"):
        DrawRule(min_pixels=min_pixels)
