"""The command around the page; the page itself is tested in tests/fewshot/page."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot.cli import COMMANDS, parse
from fewshot.commands.options import read_run
from fewshot.commands.serve import build_serve_parser, serve_network
from fewshot.demo import WEIGHTS


def test_the_page_is_for_this_machine_alone_unless_asked_otherwise() -> None:
    options = build_serve_parser().parse_args([])
    assert (options.host, options.port, options.show) == ("127.0.0.1", 8080, False)


def test_the_network_is_that_of_the_demonstration_unless_another_is_named() -> None:
    demo = read_run(parse(["demo"])["demo"])
    assert build_serve_parser().instantiate(build_serve_parser().parse_args([])).checkpoint == demo.output / WEIGHTS


def test_without_nicegui_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("fewshot.commands.serve.find_spec", lambda name: None if name == "nicegui" else found(name))
    with pytest.raises(ValueError, match=r"Found that it is not installed\. Run `pip install 'partialot\[fewshot,page"):
        serve_network(build_serve_parser().parse_args([]), "fewshot serve")


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    options = build_serve_parser().parse_args([f"--checkpoint={tmp_path / 'none.safetensors'}"])
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .* Train one first"):
        serve_network(options, "fewshot serve")


def test_no_other_command_needs_nicegui() -> None:
    # In a process of its own: here it may be imported already.
    others = [name for name in COMMANDS if name != "serve"]
    load = f"for name in {others}: COMMANDS[name].load().build()"
    script = f"import sys\nfrom fewshot.cli import COMMANDS\n{load}\nsys.exit('nicegui' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
