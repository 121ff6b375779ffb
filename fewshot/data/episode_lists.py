"""Lists of episodes in files, by the names of their images, so that others can be scored on the same tasks."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSpec
from fewshot.data.storage import DIGEST, DamagedFileError, write_whole


def hash_episodes(pool: EpisodePool, specs: Sequence[EpisodeSpec]) -> str:
    """Name a list of episodes by its images: equal names, equal tasks."""
    return hashlib.sha256(json.dumps(_name_images(pool, specs)).encode()).hexdigest()[:16]


def save_episodes(path: Path, pool: EpisodePool, specs: Sequence[EpisodeSpec]) -> None:
    """Write episodes as JSON, by the names of their images, for another run or another system to be scored on."""
    episodes = _name_images(pool, specs)
    content = {"episodes": episodes, DIGEST: hashlib.sha256(json.dumps(episodes).encode()).hexdigest()}
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def load_episodes(path: Path, pool: EpisodePool) -> tuple[EpisodeSpec, ...]:
    """Read what `save_episodes` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: The file is cut short, altered, or holds no episodes.
        ValueError: An episode names an image or a class that the pool does not have, an image that does not show its
            class or one image twice; or the episodes differ in shots.
    """
    try:
        content = json.loads(path.read_bytes())
        episodes, expected = content["episodes"], content[DIGEST]
        named = [(episode["class"], (episode["query"], *episode["supports"])) for episode in episodes]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"A list of episodes must be a file that is there. Found nothing at {path}. Write it by an evaluation, or "
            f"leave it out to draw the episodes."
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"no list of episodes ({type(error).__name__}: {error})") from error
    if hashlib.sha256(json.dumps(episodes).encode()).hexdigest() != expected:
        raise _damaged(path, "other content")
    shots = {len(names) - 1 for _, names in named}
    if len(shots) != 1 or shots == {0}:
        raise ValueError(
            f"A list must have episodes, all with equally many supports and at least one. Found {sorted(shots)} "
            f"supports in {path}. Split the list by shots."
        )
    number_of = {entry.image: number for number, entry in enumerate(pool.entries)}
    return tuple(_find_images(pool, number_of, class_id, names, path) for class_id, names in named)


def _find_images(
    pool: EpisodePool, number_of: dict[str, int], class_id: int, names: tuple[str, ...], path: Path
) -> EpisodeSpec:
    """Turn names back into numbers: the query's, then those of the supports."""
    unknown = [name for name in names if name not in number_of]
    if unknown or class_id not in pool.images_of:
        raise ValueError(
            f"Episodes must be about images and classes of the pool. Found {unknown or class_id} in {path}. Use the "
            f"list with the data set, fold and rule that it was drawn from."
        )
    query, *supports = (number_of[name] for name in names)
    hidden = [name for name in names if class_id not in pool.entries[number_of[name]].pixels]
    if hidden or len(set(names)) < len(names):
        raise ValueError(
            f"Images of an episode must differ and show its class. Found {', '.join(hidden or names)} for class "
            f"{class_id} in {path}. Use the list with the data set that it was drawn from."
        )
    return EpisodeSpec(class_id, query, tuple(supports))


def _name_images(pool: EpisodePool, specs: Sequence[EpisodeSpec]) -> list[dict]:
    names = [entry.image for entry in pool.entries]
    return [
        {"class": spec.class_id, "query": names[spec.query], "supports": [names[number] for number in spec.supports]}
        for spec in specs
    ]


def _damaged(path: Path, found: str) -> DamagedFileError:
    return DamagedFileError(
        f"A list of episodes must hold what its hash says. Found {found} in {path}. Delete the file and let it be "
        f"written again."
    )
