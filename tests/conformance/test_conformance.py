"""Our own library keeps every sentence of the suite, and the suite finds the known faults of POT."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ot
import pytest

from tests.conformance.__main__ import main
from tests.conformance.judge import Fault, require_refused
from tests.conformance.libraries.ours import Ours
from tests.conformance.libraries.pot import Pot, PotLog
from tests.conformance.libraries.pot_batch import PotBatch
from tests.conformance.library import Answer, Library, NotOffered, Problem
from tests.conformance.report import FROM, TO, between_marks
from tests.conformance.runner import Case, judge, run, sentence
from tests.conformance.suite import CASES, ENTRY_POINTS

EVERY_CASE = [case for cases in CASES.values() for case in cases]
BY_NAME = {case.__name__: case for case in EVERY_CASE}
COMPILED = "the_compiler_changes_no_plan"
"""Judged in a process of its own: what checks shapes while the tests run cannot be traced."""

KNOWN_FAULTS = {
    Pot: (
        "negative_costs_move_the_mass_that_was_asked_for",
        "gains_beside_losses_move_the_mass_that_was_asked_for",
        "free_pairs_move_the_mass_that_was_asked_for",
        "negative_balanced_problems_are_all_solved",
        "costs_of_1e_minus_12_are_told_apart",
        "costs_of_1e_minus_15_are_told_apart",
        "costs_over_sixteen_decades_are_summed_right",
        "weights_of_total_1e8_are_transported",
        "a_mass_of_1e_minus_15_is_moved_to_the_last_digit",
        "single_precision_weights_give_all_their_mass",
        "counts_are_transported_when_no_mass_is_given",
        "forbidden_pairs_are_avoided_in_balanced_transport",
        "a_forbidden_pair_is_avoided_in_partial_transport",
        "tensors_are_solved_beside_another_default_device",
        "nan_costs_are_refused_by_the_exact_solver",
        "unequal_totals_are_refused_by_the_exact_solver",
        "nodes_of_weight_zero_stay_empty_in_partial_transport",
        "no_mass_is_an_empty_plan",
        "partial_plans_at_a_thousandth_of_the_range_are_finite_and_feasible_or_told_not_to_be",
        "potentials_in_units_of_the_cost_rebuild_the_plan",
        "a_start_from_the_solution_is_there_at_once",
        "negative_regularisation_is_refused",
        "the_plan_is_differentiated_right_or_not_at_all",
        "the_value_is_differentiated_right_in_the_weights",
        "gradients_are_finite_and_right_beside_forbidden_pairs",
        "the_exact_value_has_a_gradient_in_the_mass",
    ),
    PotLog: (
        "partial_plans_at_default_limits_are_feasible_or_told_not_to_be",
        "nodes_of_weight_zero_stay_empty_in_partial_transport",
        "a_plain_number_for_the_mass_is_accepted_beside_tensors",
    ),
    PotBatch: (
        "a_batch_without_regularisation_is_solved_exactly",
        "an_unfinished_batch_says_so",
        "unequal_totals_in_a_batch_are_refused",
        "the_marginals_of_a_batch_are_those_of_its_plans",
        "an_easy_problem_beside_a_hard_one_stops_on_its_own",
        "the_gradient_of_the_value_keeps_no_sweeps",
        "the_price_of_the_plan_is_differentiated_right_or_not_at_all",
        "euclidean_prices_have_finite_gradients_where_points_coincide",
    ),
}
"""Seen in POT 0.9.7.post1: a case that stops failing there has lost its teeth."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [c for c in EVERY_CASE if c.__name__ != COMPILED], ids=lambda case: case.__name__)
def test_ours_offers_and_keeps_it(case: Case) -> None:
    verdict = judge(case, Ours())
    assert verdict.outcome == "pass", verdict.found


def test_ours_is_the_same_under_the_compiler() -> None:
    arguments = [sys.executable, "-W", "ignore", "-m", "tests.conformance", "--library", "ours", "--case", "compiler"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "partialot: 1 pass" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(ot.__version__ != "0.9.7.post1", reason="the faults were seen in POT 0.9.7.post1")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", KNOWN_FAULTS, ids=lambda entry: entry.name)
def test_the_known_faults_of_pot_are_found(entry: type[Pot | PotLog | PotBatch]) -> None:
    verdicts = run([BY_NAME[name] for name in KNOWN_FAULTS[entry]], [entry()])
    assert [verdict.case for verdict in verdicts if verdict.outcome != "FAIL"] == []


def test_the_command_writes_a_table_of_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--library", "ours", "pot", "--case", "move the mass", "--output", str(tmp_path)]
    assert main(arguments) == 0
    table = (tmp_path / "conformance.md").read_text()
    assert "| Negative costs move the mass that was asked for | pass | **fail**: " in table
    assert "Failed:" in capsys.readouterr().out
    written = json.loads((tmp_path / "conformance.json").read_text())
    columns = sum(len(ENTRY_POINTS[name]) for name in ("ours", "pot"))
    assert len(written["verdicts"]) == 3 * columns
    assert written["versions"]["POT"] == ot.__version__


def test_the_table_replaces_what_stands_between_the_marks_of_a_page() -> None:
    page = f"above\n{FROM}\nold\n{TO}\nbelow\n"
    assert between_marks(page, "| new |") == f"above\n{FROM}\n\n| new |\n{TO}\nbelow\n"
    with pytest.raises(ValueError, match=r"must hold the lines .* Found a page without them\. Add them"):
        between_marks("no marks", "| new |")


def test_a_library_that_offers_nothing_passes_nothing() -> None:
    nobody = Library()
    nobody.name = "nobody"
    assert {judge(case, nobody).outcome for case in EVERY_CASE} == {"not offered"}


def test_a_library_that_is_not_installed_is_listed_as_such() -> None:
    (verdict,) = run([BY_NAME["no_mass_is_an_empty_plan"]], ["absent"])
    assert (verdict.outcome, verdict.library) == ("not installed", "absent")


@pytest.mark.parametrize(
    ("raised", "outcome", "found"),
    [
        (None, "pass", ""),
        (NotOffered(), "not offered", ""),
        (Fault("too little"), "FAIL", "too little"),
        (ValueError("no"), "FAIL", "refused: ValueError: no"),
        (IndexError("out"), "FAIL", "crashed: IndexError: out"),
    ],
)
def test_an_accident_is_told_from_a_refusal(raised: Exception | None, outcome: str, found: str) -> None:
    def some_case(_: Library) -> None:
        if raised:
            raise raised

    verdict = judge(some_case, Ours())
    assert (verdict.case, verdict.outcome, verdict.found) == ("Some case", outcome, found)


def test_a_plan_for_an_impossible_request_is_no_refusal() -> None:
    problem = Problem(cost=np.zeros((2, 2)), a=None, b=None, mass=1.0)
    with pytest.raises(Fault, match=r"a plan of mass 0, no word"):
        require_refused(Ours(), lambda problem: Answer(problem.cost), problem)
    require_refused(Ours(), lambda problem: Answer(problem.cost, converged=False), problem)


def test_every_case_has_a_name_and_a_reason_of_its_own() -> None:
    sentences: Sequence[str] = [sentence(case) for case in EVERY_CASE]
    assert len(set(sentences)) == len(sentences) == len(EVERY_CASE)
    assert all(case.__doc__ for case in EVERY_CASE)
