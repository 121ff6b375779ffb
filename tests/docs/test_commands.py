"""Every `fewshot` command of a page is one that the program takes: its options exist and their values are allowed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fewshot.cli import COMMANDS, parse
from fewshot.commands.options import read_run
from tests.docs.pages import PAGES, ROOT, find_blocks, find_yaml_files


def list_commands(block: str) -> Iterator[list[str]]:
    """Give the words after `fewshot`, wherever it stands in a line: in a virtual environment, or under torchrun."""
    for line in re.sub(r"\\\n", " ", block).splitlines():
        words = shlex.split(line, comments=True)
        named = [place for place, word in enumerate(words) if word.rpartition("/")[2] == "fewshot"]
        if named:
            yield words[named[0] + 1 :]


SHOWN = [(page, words) for page in PAGES for block in find_blocks(page, "bash") for words in list_commands(block)]
FILES = list(find_yaml_files())
RUNS = ("demo", "train", "reproduce")
"""Commands whose options are those of a run."""


@pytest.fixture(autouse=True)
def folder_of_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the YAML files that pages show."""
    for _, name, content in FILES:
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def take(words: list[str]) -> None:
    """Do what `fewshot` does with these words before it does anything."""
    options = parse(words)
    command = options.command
    # Parsing checks names and types; making the configurations checks ranges, and what contradicts itself.
    if command in RUNS:
        read_run(options[command])
    else:
        COMMANDS[command].load().build().instantiate(options[command])


@pytest.mark.parametrize(
    "words", [words for _, words in SHOWN], ids=[f"{page.stem}-{words[0]}" for page, words in SHOWN]
)
def test_commands_of_the_pages_are_taken(words: list[str]) -> None:
    take(words)


@pytest.mark.parametrize(
    "block",
    [
        "fewshot train --config pascal --data Synthetic --output runs --training.epoch 3\n",
        "fewshot train --config pascal --data Synthetic \\\n  --output runs --training.steps 3  # and epochs\n",
        "torchrun --nproc_per_node 2 -m fewshot evaluate --checkpoint a --data Synthetic --output b --seen sometimes\n",
        "fewshot train --config synthetic --multi_task false --stage1 a.safetensors\n",
    ],
    ids=["no such option", "two that exclude each other", "no such value", "one without the other that it needs"],
)
def test_a_command_that_would_be_refused_is_found(block: str) -> None:
    (words,) = list_commands(block)
    with pytest.raises((SystemExit, ValueError)):
        take(words)


def test_every_command_is_shown() -> None:
    assert {words[0] for _, words in SHOWN} == set(COMMANDS)


def test_files_of_one_name_are_the_same_on_all_pages() -> None:
    content = {name: yaml.safe_load(text) for _, name, text in FILES}
    assert [name for _, name, text in FILES if yaml.safe_load(text) != content[name]] == []


def test_every_file_that_a_command_reads_is_shown() -> None:
    named = {name for _, name, _ in FILES}
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    wanted = {name for text in pages for name in re.findall(r"--config ([\w-]+\.yaml)", text)}
    assert wanted
    assert wanted <= named


def test_pages_are_found_where_they_are() -> None:
    assert ROOT / "README.md" in PAGES
    assert ROOT / "docs" / "training.md" in PAGES
