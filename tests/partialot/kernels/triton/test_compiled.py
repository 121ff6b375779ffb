"""What the kernels in Triton become for an H100, compiled without one, and the limits that keeps."""

import functools
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.timeout(300),
]

_ROOT = Path(__file__).parents[4]
_SHARED, _REGISTERS = 232_448, 65_536
"""Bytes that a program may share, and registers that all its threads may have, on an H100."""

_SLACK = {"3.9.0": 1.1}
"""So many times what was found may be needed by the release that it was found with. Others may take half as much again:
3.6.0 took 1.1 times the instructions, and 1.4 times those of short rows."""


class Found(NamedTuple):
    """Of a kernel of `compiling.CASES`, by Triton 3.9.0: instructions and hardware exponentials for each entry."""

    instructions: float
    powers: float = 0.0
    stack: int = 0


PASSES = {
    ("4 x 3600 x 3600", "_row_pass"): Found(15.4, 1.22),
    # The room below a ceiling is the one number too many.
    ("4 x 3600 x 3600, capped", "_row_pass"): Found(15.9, 1.22, stack=8),
    ("4 x 3600 x 3600, float16", "_row_pass"): Found(15.7, 1.22),
    ("64 x 1024 x 1024", "_row_pass"): Found(15.0, 1.22),
    ("256 x 64 x 64", "_row_pass"): Found(15.2, 1.10),
    # A program of 512 threads has 128 registers for each: it reads the columns' potentials again in every row.
    ("1 x 16384 x 16384", "_row_pass"): Found(18.0, 1.20, stack=344),
    # Exponentials of float64 are software.
    ("1 x 2048 x 2048, float64", "_row_pass"): Found(85.0),
    ("1 x 300 x 20000", "_sums"): Found(23.2, 1.0),
    ("sandwich", "_sandwich"): Found(5.5),
    ("evaluated sandwich", "_evaluated_sandwich"): Found(10.8, 1.0),
    ("evaluated sandwich, 64 x 1024 x 1024", "_evaluated_sandwich"): Found(10.4, 1.0),
}
"""Kernels that read a matrix row by row. At 4.3 TB/s, what an H200 copies at, an entry of float32 takes as long as 31
instructions, and one of float16 as long as 16."""

STRETCHES = {
    # The vectors of a sweep, and what is decided by them.
    ("stretch", "_sweep"): Found(1.46e6, 18944.0),
    ("5 x 7, stretch", "_stretch"): Found(672.0, 5.75),
    ("64 x 64, stretch", "_stretch"): Found(181.0, 2.12),
    # The vectors take so many registers that the kernel is in the cache meanwhile.
    ("128 x 128, stretch", "_stretch"): Found(105.0, 1.56, stack=32),
    ("100 x 40, float16, stretch", "_stretch"): Found(222.0, 2.12, stack=72),
}
"""Kernels that go on by themselves. Instructions are those of the whole kernel, which has no loop that reads ahead."""

_SPILLED = 640
"""Bytes of their stack by other releases: 3.6.0 takes 120 for 64 × 64, and 600 for costs of float16."""

CLOUDS = {
    ("10000 points in 3 dimensions", "_by_coordinates"): 14.9,
    ("10000 points in 64 dimensions", "_by_products"): 11.1,
    # Products of each further 64 coordinates take 3.0 more.
    ("10000 points in 256 dimensions", "_by_products"): 13.8,
    ("10000 points in 784 dimensions", "_by_products"): 13.9,
}
"""Kernels that evaluate costs on the way, by Triton 3.9.0: instructions for each pair. Its exponential takes as long as
8."""

CLOUD_PRODUCTS = {
    "3 dimensions, 4 vectors": 24.7,
    "3 dimensions, 20 vectors": 22.7,
    "64 dimensions, 1 vector": 11.8,
    "64 dimensions, 64 vectors": 15.9,
    "128 dimensions, 64 vectors": 18.1,
    "784 dimensions, 64 vectors": 18.4,
}
"""Likewise of products with vectors, for each pair and each time it is gone through: with 32 vectors at a time for 128
dimensions, else with all. Few vectors beside few dimensions need no products of matrices."""


def slack() -> float:
    return _SLACK.get(importlib.metadata.version("triton"), 1.5)


@functools.cache
def compiled() -> dict[str, list[dict[str, Any]]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.partialot.kernels.triton.compiling"]
    paths = os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))
    surroundings = os.environ | {"TRITON_INTERPRET": "0", "PYTHONPATH": paths}
    run = subprocess.run(command, capture_output=True, cwd=_ROOT, env=surroundings, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def kernels(case: str, name: str) -> list[dict[str, Any]]:
    return [kernel for kernel in compiled()[case] if kernel["kernel"] == name]


def test_every_kernel_fits_on_a_multiprocessor() -> None:
    for kernel in (one for case in compiled().values() for one in case):
        assert kernel["shared"] <= _SHARED, kernel
        assert kernel["registers"] * kernel["threads"] <= _REGISTERS, kernel


def test_registers_hold_everything_but_where_it_is_known_that_they_do_not() -> None:
    known = {place: slack() * found.stack for place, found in (PASSES | STRETCHES).items()}
    if importlib.metadata.version("triton") not in _SLACK:
        known |= dict.fromkeys(STRETCHES, _SPILLED)
    for case, found in compiled().items():
        for kernel in found:
            assert kernel["stack"] <= known.get((case, kernel["kernel"]), 0), (case, kernel)


@pytest.mark.parametrize(("case", "name"), PASSES)
def test_passes_take_few_instructions_an_entry_and_read_ahead(case: str, name: str) -> None:
    limit = PASSES[case, name]
    for kernel in kernels(case, name):
        assert kernel["instructions"] <= slack() * limit.instructions, kernel
        assert kernel["powers"] <= slack() * limit.powers, kernel
        assert kernel["reads_ahead"], kernel


@pytest.mark.parametrize(("case", "name"), STRETCHES)
def test_what_goes_on_by_itself_is_no_longer_than_it_was(case: str, name: str) -> None:
    limit = STRETCHES[case, name]
    for kernel in kernels(case, name):
        assert kernel["instructions"] <= slack() * limit.instructions, kernel
        assert kernel["powers"] <= slack() * limit.powers, kernel


def test_a_product_between_points_is_three_launches() -> None:
    launched = [kernel["kernel"] for kernel in compiled()["64 dimensions, 64 vectors"]]
    assert launched == ["_split", "_cloud_product", "_merge_scaled"]


def test_nothing_but_the_pass_and_its_merge_is_launched() -> None:
    assert [kernel["kernel"] for kernel in compiled()["4 x 3600 x 3600"]] == ["_row_pass", "_merge"]
    assert [kernel["kernel"] for kernel in compiled()["sweep"]] == ["_measure", "_update"]
    sweep = ["_row_pass", "_merge", "_sweep", "_row_pass", "_merge"]
    assert [kernel["kernel"] for kernel in compiled()["stretch"]] == sweep
    assert [kernel["kernel"] for kernel in compiled()["64 x 64, stretch"]] == ["_stretch"]


@pytest.mark.parametrize(("case", "name"), CLOUDS)
def test_pairs_of_points_take_few_instructions_and_products_the_units_made_for_them(case: str, name: str) -> None:
    for kernel in kernels(case, name):
        assert 0 < kernel["pair_instructions"] <= slack() * CLOUDS[case, name], kernel
        assert (kernel["tensor_cores"] > 0) == (name == "_by_products"), kernel
        assert kernel["reads_ahead"] == (name == "_by_products"), kernel


@pytest.mark.parametrize("case", CLOUD_PRODUCTS)
def test_products_between_points_take_few_instructions_and_the_units_made_for_them(case: str) -> None:
    (kernel,) = kernels(case, "_cloud_product")
    alone = case == "3 dimensions, 4 vectors"
    assert 0 < kernel["pair_instructions"] <= slack() * CLOUD_PRODUCTS[case], kernel
    assert (kernel["tensor_cores"] > 0) == (not alone), kernel
    assert kernel["reads_ahead"] == (not alone), kernel


def test_pairs_are_gone_through_once_for_rows_and_once_for_columns() -> None:
    launched = [kernel["kernel"] for kernel in compiled()["10000 points in 64 dimensions"]]
    pass_over = ["_split", "_by_products", "_update_rows", "_split", "_by_products", "_merge_logs"]
    assert launched == [*pass_over, "_split", "_by_products", "_merge_logs"]
