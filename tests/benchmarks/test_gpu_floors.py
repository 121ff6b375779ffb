"""The floors of the GPU's rows, how its time is dealt out, how clouds are judged, and what a page says of it all."""

import json
import math
from pathlib import Path

import make_page
import pytest
import torch
from comparison import make_ready
from gpu import rows
from gpu.ceilings import Ceilings
from gpu.clouds import Pair
from gpu.deadline import Deadline
from gpu.floors import backward, dense_pass, lazy_iteration, small_solve
from gpu.outcome import Comparison, Figure, Ratio
from gpu.sweeps import sweep
from peers import Method, Run, plain
from timing import gather
from torch import Tensor
from workload import Workload

import partialot

H200 = Ceilings(read=4.3e12, exp2=4.18e12, tf32=395e12, launch=5e-6)
"""As reckoned before one was measured."""

TIMES = {"median_ms": 0.06, "low_ms": 0.05, "high_ms": 0.07}


@pytest.mark.parametrize(
    ("batch", "nodes", "microseconds"), [(4, 3600, 48.2), (64, 1024, 62.4), (1, 4096, 15.6), (1, 16384, 250)]
)
def test_passes_over_stored_prices_are_bound_by_one_read(batch: int, nodes: int, microseconds: float) -> None:
    assert dense_pass(H200, batch * nodes**2) == pytest.approx(1e-6 * microseconds, rel=0.01)


@pytest.mark.parametrize(("dimension", "microseconds"), [(3, 48), (64, 65), (256, 259)])
def test_clouds_are_bound_by_exponentials_in_space_and_by_products_beyond(dimension: int, microseconds: float) -> None:
    assert lazy_iteration(H200, 10_000**2, dimension) == pytest.approx(1e-6 * microseconds, rel=0.01)


def test_a_small_solve_is_bound_by_its_launch_a_read_and_its_exponentials() -> None:
    assert small_solve(H200, 256 * 64**2, 30) == pytest.approx(5e-6 + 1e-6 + 7.5e-6, rel=0.02)


def test_a_backward_pass_reads_the_plan_for_every_product_and_writes_once() -> None:
    assert backward(H200, 4 * 3600**2, 18) == pytest.approx(20 * 48.2e-6, rel=0.01)


def test_the_fraction_of_the_floor_is_that_of_the_median() -> None:
    assert Figure("a pass", TIMES, 48e-6).as_json()["fraction_of_floor"] == pytest.approx(0.8)


@pytest.mark.parametrize("floor", [None, 0.0, math.inf])
def test_what_nothing_bounds_has_no_fraction(floor: float | None) -> None:
    written = Figure("a pass", TIMES, floor).as_json()
    assert (written["floor_ms"], written["fraction_of_floor"]) == (None, None)


def test_a_difference_that_drowned_in_noise_reaches_no_floor() -> None:
    assert Figure("a sweep", TIMES | {"median_ms": -0.1}, 48e-6).as_json()["fraction_of_floor"] is None


def test_what_no_time_is_left_for_is_refused() -> None:
    passed = iter([0.0, 50.0, 81.0, 81.0])
    deadline = Deadline(100.0, lambda: next(passed))
    assert deadline.refuses(50.0) is None
    assert deadline.refuses(50.0) == "no time was left: reckoned to take 50 s, 19 s remained"


def test_all_rows_are_reckoned_to_fit_in_ten_minutes() -> None:
    assert sum(row.seconds for row in rows.ROWS) <= 600


def test_two_turns_are_taken_whatever_the_limit() -> None:
    taken: list[int] = []

    def measure() -> float:
        taken.append(1)
        return 1.0

    gather({"one": measure}, 9, "", limit=0.0)
    assert len(taken) == 2


def test_a_peer_that_raises_has_that_for_a_fault() -> None:
    def prepare(cost: Tensor, workload: Workload) -> Run:
        raise torch.OutOfMemoryError("no room\nand more")

    workload = Workload(1, 4, None, 0.2, 1e-3)
    entry = make_ready(workload.cost(), workload, Method(prepare), None, 3)
    assert entry.fault == "raised OutOfMemoryError: no room"


@pytest.mark.parametrize("prepare", [plain.log_domain, plain.kernel_domain])
@pytest.mark.parametrize("mass", [None, 0.5])
def test_peers_make_their_tensors_where_the_costs_are(prepare: object, mass: float | None) -> None:
    workload = Workload(2, 8, mass, 0.2, 1e-3)
    cost = workload.cost()
    # Whatever names no device is made on one that has no numbers, and cannot meet the costs.
    with torch.device("meta"):
        plan = prepare(cost, workload)(3)  # pyright: ignore[reportCallIssue]
    assert plan.device == cost.device


def test_potentials_of_clouds_are_judged_by_their_plan() -> None:
    pair = Pair.of(3, 30, torch.device("cpu"))
    cloud = partialot.PointCloud(pair.x, pair.y)
    solution = partialot.solve(cloud, reg=pair.reg, solver=partialot.Sinkhorn(tol=1e-5))
    assert pair.judge(solution.potentials).fault is None
    early = sweep(cloud, None, pair.reg, 1)
    wrong = [float((early.plan.double().sum(side) - 1 / 30).abs().sum()) for side in (-1, -2)]
    assert pair.violation(early.potentials) == pytest.approx(max(wrong), rel=1e-3)
    assert (pair.judge(early.potentials).fault or "").startswith("violation")


@pytest.mark.gpu
def test_what_a_graph_replays_is_what_was_recorded() -> None:
    workload = Workload(2, 24, None, 0.2, 1e-3)
    cost = workload.cost().cuda()
    run = plain.graphed(cost, workload)
    run(5)
    torch.testing.assert_close(run(5), plain.log_domain(cost, workload)(5))


def test_a_page_says_nothing_of_a_gpu_where_none_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make_page, "RESULTS", tmp_path)
    page = make_page.write("benchmarks.md")
    assert "bench_gpu" not in page
    assert "## On a GPU" not in page


def test_a_page_shows_what_was_measured_and_what_was_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = [
        Figure("a pass", TIMES, 48e-6, "one read", 0.06),
        Ratio("more memory", 0.04, 0.05),
        Comparison("a solve", {"partialot": {"fault": None, **TIMES}, "a peer": {"fault": "NaN or inf"}}),
    ]
    row = {"row": "images", "number": "1", "path": "Triton", "error": None, "parts": [one.as_json() for one in parts]}
    failed = {"row": "large", "number": "3", "path": "Triton", "error": "OutOfMemoryError: no room", "parts": []}
    record = {
        "command": "python benchmarks/bench_gpu.py",
        "machine": {"card": "a card", "driver": "1.2", "torch": "2.13.0", "not installed": ["flash-sinkhorn"]},
        "ceilings": {"read": {"ceiling": 4.2e12, "unit": "bytes/s"}, "launch": {"ceiling": 6e-6, "unit": "s"}},
        "rows": [row, failed],
        "not_measured": {"certified": "no time was left"},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(record))
    monkeypatch.setattr(make_page, "RESULTS", tmp_path)
    page = make_page.write("benchmarks.md")
    for said in (
        "**not installed, so not compared: flash-sinkhorn**",
        "| read | 4.2 Tbytes/s |",
        "| launch | 6 µs |",
        "| 1 | a pass | Triton | 0.06 | 0.05–0.07 | 0.048 | one read | 80 % | 0.06 |",
        "| 1 | more memory | 0.04 | 0.05 |",
        "| a peer | - | **no answer**: NaN or inf | - | - | - |",
        "- **not measured**: certified: no time was left",
        "- **failed**: large: OutOfMemoryError: no room",
    ):
        assert said in page
