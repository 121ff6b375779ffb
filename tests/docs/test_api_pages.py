"""The pages of the API have every public name once, under its shortest path."""

import re
from collections import Counter
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType

import pytest

from tests.docs.pages import ROOT

PUBLIC = ("partialot", "partialot.nn", "partialot.solvers", "partialot.gradients", "partialot.geometry")
"""Packages of `partialot` whose names are for users; those of an earlier one come again in a later one."""
OF_FEWSHOT = ("fewshot", "fewshot.model")

DIRECTIVE = re.compile(r"^::: ([\w.]+)$", flags=re.MULTILINE)
SHOWN = [path for page in ROOT.glob("docs/api/*.md") for path in DIRECTIVE.findall(page.read_text(encoding="utf-8"))]


def list_public(packages: tuple[str, ...]) -> dict[int, str]:
    """Give the shortest path of each public object; packages themselves are none."""
    found: dict[int, str] = {}
    for package in packages:
        for name in import_module(package).__all__:
            thing = getattr(import_module(package), name)
            if not isinstance(thing, ModuleType):
                found.setdefault(id(thing), f"{package}.{name}")
    return found


@pytest.mark.parametrize("path", [*list_public(PUBLIC).values(), *list_public(OF_FEWSHOT).values()])
def test_every_public_name_is_shown_once(path: str) -> None:
    assert SHOWN.count(path) == 1


def test_no_object_is_shown_under_two_names() -> None:
    assert [count for count in Counter(id(resolve_name(path)) for path in SHOWN).values() if count > 1] == []
