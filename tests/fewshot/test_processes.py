"""Several processes on one thing: in order where files are made, and never on disks that others do not see."""

from pathlib import Path

import pytest
import torch

from fewshot.processes import find_rank, first_process_first, is_first_process, join_processes, require_shared_folder
from tests.fewshot.training_cases import be_rank, find_port, run_in_processes

CPU = torch.device("cpu")


def join(rank: int, port: int) -> None:
    be_rank(rank, port)
    assert join_processes(CPU) == CPU
    assert join_processes(CPU) == CPU, "it is there already"
    assert find_rank() == (rank, 2)


def make_or_find(rank: int, port: int, path: Path) -> None:
    join(rank, port)
    with first_process_first():
        assert path.exists() == (rank == 1)
        path.touch()


def fail_or_go_on(rank: int, port: int) -> None:
    join(rank, port)
    if rank == 1:
        with first_process_first():
            return
    with pytest.raises(KeyboardInterrupt), first_process_first():
        raise KeyboardInterrupt


def share(rank: int, port: int, folders: tuple[Path, Path]) -> None:
    join(rank, port)
    require_shared_folder(folders[rank])


def share_no_disk(rank: int, port: int, folders: tuple[Path, Path]) -> None:
    join(rank, port)
    with pytest.raises(
        ValueError, match=r"Found that 1 of 2 see what .* wrote into .*\. Put `output` and `cache` on a"
    ):
        require_shared_folder(folders[rank])


def test_alone_there_is_nobody_to_wait_for(tmp_path: Path) -> None:
    assert join_processes(CPU) == CPU
    assert find_rank() == (0, 1)
    with first_process_first():
        require_shared_folder(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_the_first_process_makes_the_others_find(tmp_path: Path) -> None:
    port = find_port()
    jobs = [(make_or_find, (rank, port, tmp_path / "features")) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]


def test_a_failure_of_the_first_process_keeps_nobody_waiting() -> None:
    port = find_port()
    assert run_in_processes([(fail_or_go_on, (rank, port)) for rank in range(2)]) == [0, 0]


def test_a_shared_folder_is_left_as_it_was(tmp_path: Path) -> None:
    port = find_port()
    jobs = [(share, (rank, port, (tmp_path / "run", tmp_path / "run"))) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]
    assert not list((tmp_path / "run").iterdir())


def test_machines_without_a_shared_disk_are_told_so_and_do_not_hang(tmp_path: Path) -> None:
    port = find_port()
    jobs = [(share_no_disk, (rank, port, (tmp_path / "0", tmp_path / "1"))) for rank in range(2)]
    assert run_in_processes(jobs) == [0, 0]


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
    ],
    ids=["one process", "the first of torchrun", "the first of its second machine", "started by Lightning"],
)
def test_one_of_several_processes_writes_also_before_they_know_each_other(
    variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first
