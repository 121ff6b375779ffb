"""The configuration in the folder of a run: what may change when the run goes on, and what makes another one of it."""

from dataclasses import fields, is_dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from fewshot.data.kinds import DATA_SETS
from fewshot.records import CONFIGURATION, WITHOUT_EFFECT, keep_configuration
from tests.fewshot.run_cases import make_run


def test_the_configuration_is_kept_with_the_run(tmp_path: Path) -> None:
    keep_configuration(tmp_path / "run", "seed: 1\nfold: 0\n")
    path = tmp_path / "run" / CONFIGURATION
    written = path.stat().st_mtime_ns
    keep_configuration(tmp_path / "run", "seed: 1\nfold: 0\n")
    assert path.read_text(encoding="utf-8") == "seed: 1\nfold: 0\n"
    assert path.stat().st_mtime_ns == written
    keep_configuration(tmp_path / "run", "seed: 1\nweights: null\nfold: 0\n")
    assert path.stat().st_mtime_ns == written, "null or not said is the same"


HARDWARE = "hardware: {{accelerator: {}, devices: {}, precision: '{}', workers: {}}}\n"
DATA = "data: {{class_path: Synthetic, init_args: {{workers: {}, seed: {}}}}}\n"


@pytest.mark.parametrize(
    "asked",
    [
        HARDWARE.format("cpu", 1, 32, 8) + DATA.format(1, 5),
        HARDWARE.format("gpu", 1, 32, 0) + DATA.format(1, 5),
        HARDWARE.format("cpu", 1, 32, 0) + DATA.format(2, 5),
        HARDWARE.format("cpu", 1, 32, 0) + DATA.format(1, 5) + "cache: elsewhere\n",
    ],
)
def test_a_run_goes_on_with_what_decides_its_speed_alone(asked: str, tmp_path: Path) -> None:
    keep_configuration(tmp_path, HARDWARE.format("cpu", 1, 32, 0) + DATA.format(1, 5))
    keep_configuration(tmp_path, asked)
    assert (tmp_path / CONFIGURATION).read_text(encoding="utf-8") == asked, (
        "it is what the run is made with from now on"
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (HARDWARE.format("cpu", 2, 32, 0) + DATA.format(1, 5), r"`hardware\.devices` is 1 where 2 is asked for"),
        (HARDWARE.format("cpu", 1, "bf16", 0) + DATA.format(1, 5), r"`hardware\.precision` is '32' where 'bf16'"),
        (HARDWARE.format("cpu", 1, 32, 4) + DATA.format(2, 6), r"`data\.init_args\.seed` is 5 where 6"),
    ],
)
def test_processes_precision_and_data_make_another_run(asked: str, found: str, tmp_path: Path) -> None:
    keep_configuration(tmp_path, HARDWARE.format("cpu", 1, 32, 0) + DATA.format(1, 5))
    with pytest.raises(ValueError, match=rf"Found another configuration in .*config\.yaml: {found}"):
        keep_configuration(tmp_path, asked)


def test_options_without_effect_are_options_that_there_are(tmp_path: Path) -> None:
    config = make_run(tmp_path, tmp_path)
    data = {field.name for kind in DATA_SETS if is_dataclass(kind) for field in fields(kind)}
    for name in WITHOUT_EFFECT:
        owner, _, option = name.rpartition(".")
        known = (
            data if owner == "data" else {one.name for one in fields(attrgetter(owner)(config) if owner else config)}
        )
        assert option in known, name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("seed: 2\nfold: 0\n", r"`seed` is 1 where 2 is asked for"),
        ("seed: 1\nfold: 3\nnew: 1\n", r"`fold` is 0 where 3 is asked for"),
        ("seed: 1\nfold: 0\nnew: 1\n", r"`new` is None where 1 is asked for"),
        ("seed: null\nfold: 0\n", r"`seed` is 1 where None is asked for"),
        ("seed: {a: 1}\nfold: 0\n", r"`seed` is 1 where \{'a': 1\} is asked for"),
    ],
)
def test_the_folder_of_another_configuration_is_refused_with_what_differs(
    asked: str, found: str, tmp_path: Path
) -> None:
    keep_configuration(tmp_path, "seed: 1\nfold: 0\n")
    message = rf"Found another configuration in .*config\.yaml: {found}\. Choose another folder, or delete this one\."
    with pytest.raises(ValueError, match=message):
        keep_configuration(tmp_path, asked)
    assert (tmp_path / CONFIGURATION).read_text(encoding="utf-8") == "seed: 1\nfold: 0\n"
