"""A problem whose rows are spread over two processes has the answer and the derivatives that one process finds."""

import os
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.testing import assert_close

import partialot
from partialot import DenseCost, ShardedRows
from tests.partialot.sharded_cases import COST, DERIVATIVES, OF_SOURCES, PARTS, PROBLEMS, SAID, ill, told

GLOO = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo, over which two processes would talk",
)
PAGES = Path(__file__).parents[2] / "docs"
PROGRAM, PRINTED = re.findall(
    r"```python\n(.*?)```.*?```console\n.*?\n(.*?)```",
    (PAGES / "sharding.md").read_text(encoding="utf-8"),
    flags=re.DOTALL,
)[0]


def message_of(call: Callable[[], object]) -> str:
    """What a call that must fail says."""
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    return f"{raised.typename}: {raised.value}"


def printed_by(program: str) -> str:
    """What a program prints that finds itself in a group."""
    outside = re.sub(r"^distributed\.(init|destroy)_process_group.*$", "", program, flags=re.MULTILINE)
    with redirect_stdout(StringIO()) as said:
        exec(outside, {})
    return said.getvalue()


def work(rank: int, folder: Path) -> None:
    """What each of the two processes does, all in one: it starts for seconds."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    found = {
        "answers": {name: told(call(PARTS[rank], ShardedRows)) for name, call in PROBLEMS.items()},
        "derivatives": {name: call(PARTS[rank], ShardedRows, (rank,)) for name, call in DERIVATIVES.items()},
        "messages": {name: message_of(call) for name, call in ill(rank).items()},
        "printed": printed_by(PROGRAM),
    }
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(work, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@GLOO
@pytest.mark.filterwarnings("ignore::partialot.ConvergenceWarning")
@pytest.mark.parametrize("name", PROBLEMS)
def test_ranks_find_the_answer_of_one_process(name: str, found: list[dict[str, Any]]) -> None:
    ranks = [rank["answers"][name] for rank in found]
    for what, expected in told(PROBLEMS[name](slice(None), lambda own: own)).items():
        ours = [rank[what] for rank in ranks]
        if what in OF_SOURCES:
            assert_close(torch.cat(ours, dim=OF_SOURCES[what]), expected, rtol=1e-9, atol=1e-9, msg=what)
        else:
            # Rounding may decide where the error crosses the tolerance: relaxed, it oscillates.
            assert_close(ours[0], expected, rtol=1e-9, atol=3 if what == "n_iter" else 1e-9, msg=what)
            assert torch.equal(ours[0], ours[1]), what


@GLOO
@pytest.mark.parametrize("name", DERIVATIVES)
def test_ranks_find_the_derivatives_of_the_sum_of_their_losses(name: str, found: list[dict[str, Any]]) -> None:
    """By its own rows each rank finds all of the derivative, by what is shared a part: the parts' sum is all of it."""
    ranks = [rank["derivatives"][name] for rank in found]
    for what, expected in DERIVATIVES[name](slice(None), lambda own: own, (0, 1)).items():
        ours = [rank[what] for rank in ranks]
        whole = torch.cat(ours) if what in ("cost", "x", "a") else ours[0] + ours[1]
        assert expected.abs().max() > 1e-3
        assert_close(whole, expected, rtol=1e-8, atol=1e-9, msg=what)


@GLOO
@pytest.mark.parametrize("name", SAID)
def test_what_is_wrong_on_one_rank_is_said_on_all(name: str, found: list[dict[str, Any]]) -> None:
    first, second = (rank["messages"][name] for rank in found)
    assert first == second
    assert re.search(SAID[name], first)


@GLOO
def test_the_program_of_the_page_prints_what_the_page_says(found: list[dict[str, Any]]) -> None:
    first, second = (rank["printed"] for rank in found)
    assert first == PRINTED
    assert not second


def test_without_a_group_there_are_no_ranks() -> None:
    with pytest.raises(
        RuntimeError, match=r"initialised group\. Found no group\. Call `torch\.distributed\.init_process"
    ):
        ShardedRows(DenseCost(COST))
