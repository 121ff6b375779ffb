"""Episodes in a file are the same tasks for whoever reads it, or are refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.episode_lists import hash_episodes, load_episodes, save_episodes
from fewshot.data.index import Split
from fewshot.data.pools import EpisodePool, evaluation_pool
from fewshot.data.storage import DamagedFileError
from tests.fewshot.data.sampling_cases import draw


def test_saved_episodes_are_read_back(pool: EpisodePool, tmp_path: Path) -> None:
    specs = draw(pool, shot=3, count=20)
    save_episodes(tmp_path / "new" / "episodes.json", pool, specs)
    assert load_episodes(tmp_path / "new" / "episodes.json", pool) == specs


def test_saved_episodes_name_images_so_that_other_pools_of_them_can_use_the_list(
    pool: EpisodePool, tmp_path: Path
) -> None:
    path = tmp_path / "episodes.json"
    specs = draw(pool, count=20)
    save_episodes(path, pool, specs)
    turned = _reorder(pool)
    loaded = load_episodes(path, turned)
    assert loaded != specs
    assert [turned.entries[spec.query].image for spec in loaded] == [pool.entries[spec.query].image for spec in specs]


def test_the_hash_names_the_tasks_not_their_numbers(pool: EpisodePool) -> None:
    specs = draw(pool, count=20)
    last = len(pool.entries) - 1
    turned = [replace(each, query=last - each.query, supports=(last - each.supports[0],)) for each in specs]
    assert hash_episodes(_reorder(pool), turned) == hash_episodes(pool, specs)
    assert hash_episodes(pool, specs) != hash_episodes(pool, draw(pool, count=20, seed=1))
    assert hash_episodes(pool, specs) != hash_episodes(pool, specs[:-1])


def _reorder(pool: EpisodePool) -> EpisodePool:
    """Give the pool of the same images in the opposite order."""
    split = Split(("list",), "", 0, pool.entries[::-1])
    return evaluation_pool(split, pool.fold, rule=pool.rule)


def test_a_list_that_is_not_there_is_refused(pool: EpisodePool, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*none\.json\. Write it by an evaluation"):
        load_episodes(tmp_path / "none.json", pool)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "no list of episodes"),
        ('{"episodes": [', "no list of episodes"),
        ("[]", "no list of episodes"),
        ('{"episodes": []}', "no list of episodes"),
        ('{"episodes": [3], "sha256": "0"}', "no list of episodes"),
        ('{"episodes": [{"class": 1, "query": "0.jpg"}], "sha256": "0"}', "no list of episodes"),
        ('{"episodes": [{"class": 1, "query": "0.jpg", "supports": ["1.jpg"]}], "sha256": "0"}', "other content"),
    ],
)
def test_a_damaged_list_is_refused(content: str, found: str, pool: EpisodePool, tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    path.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"Found {found}.* in .*episodes\.json\. Delete the file"):
        load_episodes(path, pool)


@pytest.mark.parametrize(
    ("class_id", "query", "supports", "message"),
    [
        (1, "99.jpg", ["1.jpg"], r"Found \['99.jpg'\] in .*\. Use the list with the data set, fold and rule"),
        (1, "0.jpg", ["98.jpg"], r"Found \['98.jpg'\] in .*\. Use the list with"),
        (3, "0.jpg", ["1.jpg"], r"Found 3 in .*\. Use the list with the data set, fold and rule"),
        (2, "0.jpg", ["9.jpg"], r"show its class\. Found 0.jpg for class 2 in .*\. Use the list with"),
        (1, "0.jpg", ["0.jpg"], r"must differ .*Found 0.jpg, 0.jpg for class 1 in .*\. Use the list with"),
        (1, "0.jpg", [], r"Found \[0\] supports in .*\. Split the list by shots"),
    ],
)
def test_episodes_that_the_pool_cannot_make_are_refused(
    class_id: int, query: str, supports: list[str], message: str, pool: EpisodePool, tmp_path: Path
) -> None:
    path = tmp_path / "episodes.json"
    _write_list(path, [{"class": class_id, "query": query, "supports": supports}])
    with pytest.raises(ValueError, match=message):
        load_episodes(path, pool)


def test_lists_of_no_or_of_several_shots_are_refused(pool: EpisodePool, tmp_path: Path) -> None:
    path = tmp_path / "episodes.json"
    _write_list(path, [])
    with pytest.raises(ValueError, match=r"Found \[\] supports in .*\. Split the list by shots"):
        load_episodes(path, pool)
    save_episodes(path, pool, [*draw(pool, count=2), *draw(pool, shot=2, count=2)])
    with pytest.raises(ValueError, match=r"Found \[1, 2\] supports in .*\. Split the list by shots"):
        load_episodes(path, pool)


def _write_list(path: Path, episodes: list[dict]) -> None:
    """Write a list as another system might, its hash being right."""
    digest = hashlib.sha256(json.dumps(episodes).encode()).hexdigest()
    path.write_text(json.dumps({"episodes": episodes, "sha256": digest}))
