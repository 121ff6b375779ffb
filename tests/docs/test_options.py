"""Tables of options name options that exist, with the defaults that they have; the network's are complete."""

import re
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace

from fewshot.cli import COMMANDS
from fewshot.data.augmentation import Augmentation
from fewshot.data.kinds import DATA_SETS
from fewshot.evaluation.description import to_plain
from fewshot.model import CMNetConfig
from fewshot.paper import load_tables
from fewshot.presets import list_presets
from tests.docs.pages import PAGES, ROOT

ROW = re.compile(r"^\| `--(?P<name>[\w.]+)` \| `(?P<default>[^`]+)` \|", flags=re.MULTILINE)
DOCUMENTED = [
    pytest.param(match["name"], match["default"], id=f"{page.stem}-{match['name']}")
    for page in PAGES
    for match in ROW.finditer(page.read_text(encoding="utf-8"))
]


def read_page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def find_default(name: str) -> Any:
    """Give the default of an option of a run, as YAML would."""
    if name.startswith("augmentation."):  # Not there by default, and then with defaults of its own.
        return to_plain(asdict(Augmentation()))[name.removeprefix("augmentation.")]
    defaults: Namespace = COMMANDS["train"].load().build().get_defaults()
    assert name in defaults, name
    return to_plain(defaults[name])


def list_leaves(value: object, prefix: str) -> list[str]:
    """Name every field of a configuration that is none itself."""
    assert is_dataclass(value)
    names: list[str] = []
    for field in fields(value):
        part, name = getattr(value, field.name), f"{prefix}.{field.name}"
        names += list_leaves(part, name) if is_dataclass(part) else [name]
    return names


@pytest.mark.parametrize(("name", "default"), DOCUMENTED)
def test_defaults_are_those_of_the_code(name: str, default: str) -> None:
    assert yaml.safe_load(default) == find_default(name)


def test_every_option_of_the_network_has_a_row() -> None:
    rows = [match["name"] for match in ROW.finditer(read_page("cmnet.md"))]
    network = [name for name in rows if name.startswith("network.")]
    assert sorted(network) == sorted(list_leaves(CMNetConfig(), "network"))


def test_every_preset_has_a_row() -> None:
    rows = set(re.findall(r"^\| `([\w/]+)` \|", read_page("training.md") + read_page("cmnet.md"), flags=re.MULTILINE))
    assert set(list_presets()) <= rows


def test_scores_of_the_rows_are_those_of_the_paper() -> None:
    printed: dict[str, set[float]] = {}
    for table in load_tables().values():
        if table.base == "pascal" and table.score == "miou":
            for row in table.rows:
                printed.setdefault(row.preset, set()).add(row.paper[1].mean)
    shown = dict(re.findall(r"^\| `(rows/\w+)` .*: (\d\d\.\d)", read_page("cmnet.md"), flags=re.MULTILINE))
    assert {name: {float(score)} for name, score in shown.items()} == printed


def test_every_table_of_the_paper_has_a_row() -> None:
    section = read_page("training.md").partition("## A table")[2].partition("## ")[0]
    named = [name for row in section.splitlines() if row.startswith("| `") for name in re.findall("`([^`]+)`", row)]
    assert set(load_tables()) <= set(named)


def test_the_page_of_data_names_every_data_set() -> None:
    assert [kind.__name__ for kind in DATA_SETS if f"| `{kind.__name__}` |" not in read_page("data.md")] == []
