from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewshot.data.episode_lists import hash_episodes, save_episodes
from fewshot.data.folder import Folder
from fewshot.data.index import Index
from fewshot.data.pools import DrawRule, EpisodePool
from fewshot.data.sampling import EpisodeSampler, EpisodeSpec
from fewshot.evaluation.protocol import EpisodeList, EvaluationConfig, list_episodes, open_pool
from tests.fewshot.photographs import CONFIG


def test_there_is_a_list_for_each_number_of_shots_and_each_seed(photo_pool: EpisodePool) -> None:
    lists = list_episodes(photo_pool, CONFIG)
    assert [(one.shot, one.seed, len(one.specs)) for one in lists] == [(1, 7, 11), (1, 8, 11), (2, 7, 11), (2, 8, 11)]
    assert len({one.digest for one in lists}) == 4


def test_lists_of_a_seed_differ_in_further_supports_only(photo_pool: EpisodePool) -> None:
    one_shot, _, two_shots, _ = list_episodes(photo_pool, CONFIG)
    assert one_shot.specs == tuple(replace(spec, supports=spec.supports[:1]) for spec in two_shots.specs)


def test_lists_are_what_the_sampler_draws_in_the_order_that_is_asked_for(photo_pool: EpisodePool) -> None:
    (drawn,) = list_episodes(photo_pool, replace(CONFIG, shots=(1,), seeds=(5,), order="class"))
    assert drawn.specs == EpisodeSampler(photo_pool, seed=5, order="class").draw_many(0, 11)
    assert drawn.digest == hash_episodes(photo_pool, drawn.specs)


def test_given_episodes_take_the_place_of_drawn_ones(photo_pool: EpisodePool, tmp_path: Path) -> None:
    specs = EpisodeSampler(photo_pool, shot=2, seed=99).draw_many(0, 6)
    save_episodes(tmp_path / "episodes.json", photo_pool, specs)
    lists = list_episodes(photo_pool, replace(CONFIG, episodes_file=tmp_path / "episodes.json"))
    assert [(one.shot, one.seed) for one in lists] == [(1, None), (2, None)]
    assert lists[1].specs == specs
    assert lists[0].specs == tuple(replace(spec, supports=spec.supports[:1]) for spec in specs)


def test_given_episodes_must_have_supports_for_the_shots(photo_pool: EpisodePool, tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    save_episodes(path, photo_pool, EpisodeSampler(photo_pool, shot=1).draw_many(0, 6))
    with pytest.raises(ValueError, match=r"Found `shots = \(1, 2\)` where .*episodes.json holds 1 .*\. Lower `shots`"):
        list_episodes(photo_pool, replace(CONFIG, episodes_file=path))


def test_list_without_an_episode_of_a_class_is_an_error_before_anything_is_computed(photo_pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found none of classes \[2\] among 1\. Draw more episodes"):
        EpisodeList(photo_pool, (EpisodeSpec(1, 0, (2,)),))


def test_episodes_of_a_list_have_equally_many_supports(photo_pool: EpisodePool) -> None:
    with pytest.raises(ValueError, match=r"Found \[1, 2\]\. Make a list of each number"):
        EpisodeList(photo_pool, (EpisodeSpec(1, 0, (2,)), EpisodeSpec(2, 1, (3, 5))))


def test_pool_is_of_the_classes_that_are_asked_for(photographs: Folder, photo_index: Index) -> None:
    assert tuple(open_pool(photographs, photo_index, 0, CONFIG).images_of) == (1, 2)
    held_in = open_pool(photographs, photo_index, 0, replace(CONFIG, classes="held_in"))
    assert tuple(held_in.images_of) == (3, 4)


def test_rule_is_the_data_set_s_own_unless_another_is_given(photographs: Folder, photo_index: Index) -> None:
    assert open_pool(photographs, photo_index, 0, CONFIG).rule == DrawRule(min_pixels=1)
    strict = replace(CONFIG, rule=DrawRule(min_pixels=400))
    assert len(open_pool(photographs, photo_index, 0, strict).entries) < len(photo_index.val.entries)
    legacy = replace(CONFIG, rule=DrawRule(legacy_class_draw=True))
    assert open_pool(photographs, photo_index, 0, legacy).rule == DrawRule(min_pixels=1, legacy_class_draw=True)


def test_excluded_classes_are_left_out_by_name(photographs: Folder, photo_index: Index) -> None:
    pool = open_pool(photographs, photo_index, 0, replace(CONFIG, exclude=("red", "unheard of")))
    assert tuple(pool.images_of) == (2,)
    with pytest.raises(ValueError, match=r"`exclude` names all 2 of fold 0\. Evaluate on another fold or data set"):
        open_pool(photographs, photo_index, 0, replace(CONFIG, exclude=("red", "green")))


def test_saved_list_can_be_given_again(photo_pool: EpisodePool, tmp_path: Path) -> None:
    drawn = list_episodes(photo_pool, CONFIG)[-1]
    path = drawn.save(tmp_path)
    assert path.name == "episodes-2shot-seed8.json"
    given = list_episodes(photo_pool, replace(CONFIG, shots=(2,), episodes_file=path))[0]
    assert (given.specs, given.digest, given.seed) == (drawn.specs, drawn.digest, None)
    assert given.save(tmp_path).read_bytes() == path.read_bytes()


def test_description_leaves_out_what_plays_no_part() -> None:
    described = CONFIG.describe()
    assert (described["episodes"], described["seeds"], described["order"]) == (11, [7, 8], "walk")
    given = replace(CONFIG, episodes_file=Path("episodes.json")).describe()
    assert given["episodes_file"] == "episodes.json"
    assert replace(CONFIG, episodes_folder=Path("lists")).describe() == described, "where to does not matter"
    assert given["episodes"] is given["seeds"] is given["order"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": ()}, r"`shots` must hold one or more different numbers from 1 on\. Found \(\)\. Correct"),
        ({"shots": (0,)}, r"`shots` .* from 1 on\. Found \(0,\)"),
        ({"shots": (1, 1)}, r"different .*\. Found \(1, 1\)"),
        ({"seeds": (-1,)}, r"`seeds` .* from 0 on\. Found \(-1,\)"),
        ({"episodes": 0}, r"`episodes` must be at least 1\. Found 0\. Correct the field, or leave it out"),
        ({"batch_size": 0}, r"`batch_size` must be at least 1\. Found 0"),
        ({"workers": -1}, r"`workers` must be at least 0\. Found -1"),
        ({"resolution": 0}, r"`resolution` must be 'original' or a positive number of pixels\. Found 0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**options)


@pytest.mark.parametrize("field", ["order", "classes", "void", "precision"])
def test_unknown_names_are_refused_where_no_types_are_checked(field: str) -> None:
    # The tests check annotated types before the constructor runs; a user's program does not.
    config = replace(CONFIG)
    object.__setattr__(config, field, "other")
    with pytest.raises(ValueError, match=rf"`{field}` must be one of .*\. Found `{field} = 'other'`\. Correct its"):
        config.__post_init__()
