"""Every row of the benchmark of a CUDA device, in miniature on a CPU, and what is done with what fails or is late."""

import argparse
import json
import warnings
from collections.abc import Iterator
from typing import Any

import bench_gpu
import pytest
import torch
from gpu import ceilings, rows
from gpu.bench import MINIATURE, Bench
from gpu.deadline import Deadline
from gpu.outcome import Outcome, Ratio
from pages.gpu import gpu

NAMES = [row.name for row in rows.ROWS]
MACHINE = {"card": None, "driver": None, "torch": torch.__version__, "not installed": []}


@pytest.fixture(scope="module")
def bench() -> Bench:
    """The CPU in place of a card."""
    device = torch.device("cpu")
    found = ceilings.measure(device, ceilings.MINIATURE, 2)
    return Bench(device, MINIATURE, found, 2, Deadline(600.0))


@pytest.mark.parametrize("name", NAMES)
def test_every_row_gives_figures_and_answers_that_a_page_shows(name: str, bench: Bench) -> None:
    row = next(row for row in rows.ROWS if row.name == name)
    # Compilers take longer than all the rest.
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        found = rows.measure(row, bench)
    assert found["error"] is None
    assert found["parts"]
    for part in found["parts"]:
        for solver, answer in part.get("results", {}).items():
            said = answer["fault"] or ""
            assert not said if solver.startswith("partialot") else "raised" not in said
    record = {"command": "", "machine": MACHINE, "ceilings": bench.ceilings.found, "rows": [found], "not_measured": {}}
    page = "\n".join(gpu(json.loads(json.dumps(record))))
    assert all(part["what"] in page for part in found["parts"])


def test_every_ceiling_of_a_cpu_is_found(bench: Bench) -> None:
    assert all(float(one["ceiling"]) > 0 for one in bench.ceilings.found.values())


def test_a_ceiling_that_cannot_be_had_is_told_and_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("no such unit")

    monkeypatch.setattr(ceilings, "_multiply", refuse)
    found = ceilings.measure(torch.device("cpu"), ceilings.MINIATURE, 2)
    assert found.found["matmul, TF32"] == {"error": "RuntimeError: no such unit", "unit": "flop/s"}
    assert found.tf32 == float("inf")


def test_a_row_that_fails_keeps_what_came_before(bench: Bench) -> None:
    def measure(_: Bench) -> Iterator[Outcome]:
        yield Ratio("something", 1.5)
        raise torch.OutOfMemoryError("no room\nand more")

    found = rows.measure(rows.Row("row", "0", 1.0, measure), bench)
    assert found["parts"] == [{"what": "something", "value": 1.5, "target": None}]
    assert found["error"] == "OutOfMemoryError: no room"


def given(seconds: float) -> argparse.Namespace:
    return argparse.Namespace(rows=["memory"], seconds=seconds, rehearse=True, rounds=2)


def test_figures_are_kept_after_each_row_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[dict[str, Any]] = []
    record = bench_gpu.run(given(60.0), kept.append)
    assert [row["row"] for row in record["rows"]] == ["memory"]
    assert kept == [record]
    bench_gpu.tell(record)
    assert "most memory beside the costs" in capsys.readouterr().out


def test_what_no_time_was_left_for_is_told_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    record = bench_gpu.run(given(-1.0), lambda _: None)
    bench_gpu.tell(record)
    assert "NOT MEASURED: memory: no time was left" in capsys.readouterr().out
    assert record["rows"] == []
