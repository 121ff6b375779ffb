"""The command line as a whole: its commands, and how errors reach whoever typed them."""

import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from jsonargparse import Namespace

from fewshot.cli import COMMANDS, Work, main
from fewshot.commands.demo import build_demo_parser
from fewshot.training.stages import NonFiniteLossError


def run_and_fail(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that is refused for what was typed; give what is said."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert set(COMMANDS) == {"demo", "index", "pretrain", "train", "evaluate", "reproduce", "predict", "serve"}
    assert all(f"{name} " in shown for name in COMMANDS)
    assert all(command.help.split(",")[0] in shown for command in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert "--help" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["demo", "--sede=1"],
        ["demo", "--see=1"],
        ["demo", "--training.step=1"],
        ["reproduce", "--tabel=I"],
        ["pretrain", "--bakcbone=small"],
        ["predict", "--qeury=a.png"],
        ["evaluate", "--chekpoint=a"],
        ["dmeo"],
    ],
    ids=str,
)
def test_unknown_and_abbreviated_options_and_commands_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words[-1].split("=")[0].strip("-") in run_and_fail(words, capsys)


def test_a_command_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "command" in run_and_fail([], capsys)


def test_an_unknown_preset_is_refused_with_those_that_there_are() -> None:
    message = r"^fewshot train: A configuration must be .* Found 'pascla'\. Correct the path, or name one of: coco, "
    with pytest.raises(SystemExit, match=message):
        main(["train", "--config=pascla"])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("`seed` must be at least 0."),
        FileNotFoundError("Found nothing."),
        NonFiniteLossError("Found nan."),
        PermissionError(13, "Permission denied", "runs"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_command_refuses_is_said_in_a_line_without_a_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_options: Namespace, _typed: str) -> str:
        raise error

    monkeypatch.setitem(COMMANDS, "demo", replace(COMMANDS["demo"], load=lambda: Work(build_demo_parser, refuse)))
    with pytest.raises(SystemExit) as exit_:
        main(["demo"])
    assert exit_.value.code == f"fewshot demo: {error}"


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_options: Namespace, _typed: str) -> str:
        raise TypeError("a fault")

    monkeypatch.setitem(COMMANDS, "demo", replace(COMMANDS["demo"], load=lambda: Work(build_demo_parser, fail)))
    with pytest.raises(TypeError, match="a fault"):
        main(["demo"])


def test_a_command_gets_what_was_typed_and_what_it_gives_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(options: Namespace, typed: str) -> str:
        return f"{typed}, seed {options.seed}"

    monkeypatch.setitem(COMMANDS, "demo", replace(COMMANDS["demo"], load=lambda: Work(build_demo_parser, answer)))
    main(["demo", "--seed=5", "--output=my runs"])
    assert capsys.readouterr().out == "fewshot demo --seed=5 '--output=my runs', seed 5\n"


def test_module_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fewshot", "--help"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("fewshot", run_name="__main__")
    assert exit_.value.code == 0
    assert "reproduce" in capsys.readouterr().out
