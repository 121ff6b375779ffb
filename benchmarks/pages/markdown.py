"""Markdown out of figures."""

import re
import textwrap
from typing import Any


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def wrap(part: str) -> str:
    """Break the lines of a paragraph; tables, headings, lists and pictures stay as they are."""
    paragraphs = part.split("\n\n")
    return "\n\n".join(one if one.lstrip().startswith(("|", "#", "-", "!")) else _fill(one) for one in paragraphs)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as one reads it; a dash for what a solver never reached, or what drowned in the noise of its set-up."""
    return "-" if value is None or value < 0 else f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def spread(row: dict[str, Any], scale: float = 1.0) -> str:
    """Quartiles of what was timed."""
    return f"{number(row['low_ms'] / scale)}–{number(row['high_ms'] / scale)}" if "low_ms" in row else "-"


def moved(mass: float | None) -> str:
    """How much of the mass a problem moves."""
    return "balanced" if mass is None else f"M = {mass:g}"


def measured_on(machine: dict[str, Any]) -> str:
    """The sentence below a heading."""
    versions = [f"{name} {machine[name]}" for name in ("torch", "pot", "geomloss", "ott-jax", "jax") if name in machine]
    absent = machine.get("not installed") or []
    versions += [f"**not installed, so not compared: {', '.join(absent)}**"] if absent else []
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    load = f"load {machine['load']:.1f} before"
    return f"{machine['processor']}, {machine['cores']} cores, {threads}, {load}; {', '.join(versions)}.\n"


def _fill(paragraph: str) -> str:
    end = "\n" if paragraph.endswith("\n") else ""
    # Code stays on one line: a command is copied from there.
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), paragraph)
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ") + end
