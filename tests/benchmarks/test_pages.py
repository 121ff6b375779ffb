"""Figures become tables, ratios and curves without being changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from pages import headline, plots
from pages.markdown import measured_on, wrap

MACHINE = {"processor": "a processor", "cores": 2, "threads": 1, "load": 0.1, "torch": "2.13.0"}
WORK = {"batch": 1, "nodes": 64, "mass": None, "reg": 0.05, "error": 1e-3}


def row(milliseconds: float | None, fault: str | None = None) -> dict[str, Any]:
    times = {} if milliseconds is None else dict.fromkeys(("median_ms", "low_ms", "high_ms"), milliseconds)
    return {"iterations": 3, "violation": 1e-4, "distance": 1e-3, "fault": fault, **times}


def test_the_fastest_solver_of_a_library_stands_for_it_and_no_answer_is_none() -> None:
    results = {
        "partialot": row(2.0),
        "POT sinkhorn": row(8.0),
        "POT solve_batch": row(5.0),
        "POT entropic partial (capped)": row(1.0),
        "GeomLoss solve_batch": row(None, "violation 0.002"),
        "eager PyTorch": row(1.0),
    }
    line = headline.ratios({"solves": [{"workload": WORK, "results": results}]}).splitlines()[-1]
    assert line == "| 1 × 64², balanced | 2 | 5 (2.5) | not offered | no answer | 1 (0.5) |"


def test_peers_that_were_not_installed_are_named() -> None:
    assert "**not installed, so not compared: jax, ott-jax**" in measured_on(
        MACHINE | {"not installed": ["jax", "ott-jax"]}
    )
    assert "not installed" not in measured_on(MACHINE | {"not installed": []})


def test_tables_and_code_are_never_broken_over_lines() -> None:
    code, cells = "`" + "python " * 30 + "`", "| " + "cell | " * 40
    assert wrap(f"Some words. {code}\n\n{cells}\n").splitlines() == ["Some words.", code, "", cells]


def test_curves_over_reg_rise_with_its_inverse() -> None:
    points = [{"workload": WORK | {"reg": reg}, "results": {"partialot": row(1.0)}} for reg in (0.5, 0.25)]
    assert [place for place, _ in plots.series({"along": "reg", "points": points})["partialot"]] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("name", "other"), [("partialot", "partialot, capped"), ("POT sinkhorn, NumPy", "POT solve_batch, log domain")]
)
def test_no_two_solvers_share_a_colour(name: str, other: str) -> None:
    assert plots.colour(name) != plots.colour(other)


def test_pictures_name_the_file_that_they_were_drawn_from_and_come_out_alike(tmp_path: Path) -> None:
    results = {"partialot": row(1.0), "GeomLoss solve_batch": row(None, "violation 0.002")}
    points = [{"workload": WORK | {"nodes": nodes}, "results": results} for nodes in (64, 128)]
    file = tmp_path / "scaling.json"
    file.write_text(json.dumps({"curves": [{"along": "nodes", "points": points}]}))
    drawn = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        plots.draw(file, folder)
        drawn.append({picture.name: picture.read_text() for picture in folder.iterdir()})
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == ["scaling.svg", "solve_time.svg"]
    assert all(plots.digest(file) in picture for picture in drawn[0].values())
