"""Who fails what: `python -m tests.conformance --library ours pot geomloss ott`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.library import Library
from tests.conformance.report import as_json, as_markdown, as_text, between_marks
from tests.conformance.runner import Case, Verdict, judge, run, sentence
from tests.conformance.suite import CASES, ENTRY_POINTS, installed


def main(arguments: Sequence[str]) -> int:
    """Run the cases and write the tables; 1 where our own library fails one.

    Args:
        arguments: Of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--library", nargs="+", choices=ENTRY_POINTS, default=list(ENTRY_POINTS), help="columns")
    parser.add_argument("--case", default="", help="only cases whose sentence contains this")
    parser.add_argument("--page", type=Path, help="a Markdown page whose part between the two marks is replaced")
    parser.add_argument("--output", type=Path, help="folder for conformance.md and conformance.json")
    options = parser.parse_args(arguments)
    if options.page:
        # Minutes of work shall not end at a page that is missing or has no room for a table.
        between_marks(options.page.read_text(encoding="utf-8"), "")
    parts = {
        title: [case for case in cases if options.case.lower() in sentence(case).lower()]
        for title, cases in CASES.items()
    }
    parts = {title: cases for title, cases in parts.items() if cases}
    libraries = [library for name in options.library for library in installed(name)]
    verdicts = _judged(libraries, [case for cases in parts.values() for case in cases])
    print(as_text(verdicts))  # noqa: T201 - what the command is for
    found = [library for library in libraries if isinstance(library, Library)]
    sentences = {title: [sentence(case) for case in cases] for title, cases in parts.items()}
    table = as_markdown(sentences, verdicts, found)
    if options.page:
        options.page.write_text(between_marks(options.page.read_text(encoding="utf-8"), table), encoding="utf-8")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "conformance.md").write_text(table, encoding="utf-8")
        (options.output / "conformance.json").write_text(as_json(verdicts, found), encoding="utf-8")
    return int(any(verdict.library == "partialot" and verdict.outcome == "FAIL" for verdict in verdicts))


def _judged(libraries: Sequence[Library | str], cases: Sequence[Case]) -> list[Verdict]:
    """As `run`, showing each verdict as it falls."""
    verdicts: list[Verdict] = []
    for library in libraries:
        for case in cases:
            verdict = run([case], [library])[0] if isinstance(library, str) else judge(case, library)
            print(f"{verdict.library:24} {verdict.outcome:13} {verdict.case} {verdict.found}")  # noqa: T201 - progress
            verdicts.append(verdict)
    return verdicts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
