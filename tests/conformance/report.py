"""The table of who fails what, as text, Markdown and JSON."""

import datetime
import json
import platform
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from tests.conformance.library import Library
from tests.conformance.runner import Verdict

FROM, TO = "<!-- written by python -m tests.conformance -->", "<!-- to here -->"
"""Between these two lines of a page the table is written anew."""

_SIGNS = {"pass": "pass", "FAIL": "**fail**", "not offered": "—", "not installed": "not installed"}


def as_text(verdicts: Sequence[Verdict]) -> str:
    """One line a cell that failed, and the counts: what a terminal shows at the end."""
    width = shutil.get_terminal_size((160, 0)).columns
    failures = [f"{v.library}: {v.case}: {v.found}" for v in verdicts if v.outcome == "FAIL"]
    wrapped = [textwrap.fill(line, width, subsequent_indent="    ") for line in failures]
    counts = [f"{library}: {_counts(verdicts, library)}" for library in _columns(verdicts)]
    return "\n".join(["Failed:" if wrapped else "Nothing failed.", *wrapped, "", *counts])


def as_markdown(parts: Mapping[str, Sequence[str]], verdicts: Sequence[Verdict], libraries: Sequence[Library]) -> str:
    """A table for each part, a row a case, a column an entry point; what was found stands in the cell.

    Args:
        parts: The sentences of each part.
        verdicts: Of every case and library.
        libraries: Those installed, for their versions.
    """
    return "\n".join(_markdown(parts, verdicts, libraries)) + "\n"


def between_marks(page: str, table: str) -> str:
    """Replace what a page holds between its marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = page.partition(FROM)
    _, end, after = rest.partition(TO)
    if not begin or not end:
        raise ValueError(
            f"The page must hold the lines {FROM!r} and {TO!r}. Found a page without them. Add them around the table."
        )
    return f"{before}{FROM}\n\n{table}\n{TO}{after}"


def as_json(verdicts: Sequence[Verdict], libraries: Sequence[Library]) -> str:
    """Everything, for programs."""
    about = {"date": _today(), "python": platform.python_version(), "versions": _versions(libraries)}
    return json.dumps(about | {"verdicts": [asdict(verdict) for verdict in verdicts]}, indent=1, ensure_ascii=False)


def _markdown(
    parts: Mapping[str, Sequence[str]], verdicts: Sequence[Verdict], libraries: Sequence[Library]
) -> Iterator[str]:
    cells = {(verdict.case, verdict.library): verdict for verdict in verdicts}
    columns = _columns(verdicts)
    versions = ", ".join(f"{name} {version}" for name, version in _versions(libraries).items())
    yield f"Made on {_today()} with Python {platform.python_version()}: {versions}."
    yield ""
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for outcome in _SIGNS:
        counts = [sum(v.library == column and v.outcome == outcome for v in verdicts) for column in columns]
        if any(counts):
            yield f"| {outcome} | " + " | ".join(map(str, counts)) + " |"
    for title, sentences in parts.items():
        yield f"\n### {title}\n"
        yield "| case | " + " | ".join(columns) + " |"
        yield "|---" * (len(columns) + 1) + "|"
        for sentence in sentences:
            yield f"| {sentence} | " + " | ".join(_cell(cells[sentence, column]) for column in columns) + " |"


def _cell(verdict: Verdict) -> str:
    found = verdict.found.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return f"{_SIGNS[verdict.outcome]}: {found}" if found else _SIGNS[verdict.outcome]


def _columns(verdicts: Sequence[Verdict]) -> list[str]:
    return list(dict.fromkeys(verdict.library for verdict in verdicts))


def _counts(verdicts: Sequence[Verdict], library: str) -> str:
    mine = [verdict.outcome for verdict in verdicts if verdict.library == library]
    return ", ".join(f"{mine.count(outcome)} {outcome}" for outcome in dict.fromkeys(sorted(mine)))


def _versions(libraries: Sequence[Library]) -> dict[str, str]:
    return {library.name.split(",")[0]: library.version for library in libraries}


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
