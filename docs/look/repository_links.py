"""Takes what pages link to outside docs/ into the site: one link holds in the repository, on the site and offline.

A page links to `../benchmarks/results/gap.json` as a reader of the repository would. The build shows that file as a
page of its own under `repository/`, Markdown as it is and all else as text, and leads the link there.
"""

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SHOWN = "repository"
LINK = re.compile(r"(?<=\]\()(?P<target>[^):#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".cfg": "ini", ".json": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file of the repository that a page, or a page so added, links to."""
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for match in LINK.finditer(page.content_string):
            target = locate(match["target"], page.src_uri)
            shown = place(target)
            if not is_inside(target) and files.get_file_from_path(shown) is None:
                added = File.generated(config, shown, content=show(target))
                files.append(added)
                waiting += [added] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where the site has what they name."""
    here = page.file.src_uri

    def lead(match: re.Match[str]) -> str:
        target = locate(match["target"], here)
        there = target.removeprefix("docs/") if is_inside(target) else place(target)
        return relpath(there, dirname(here) or ".") + (match["anchor"] or "")

    return LINK.sub(lead, markdown)


def locate(target: str, page: str) -> str:
    """Give the path in the repository of what a page of the site links to."""
    home = page.removeprefix(f"{SHOWN}/") if page.startswith(f"{SHOWN}/") else f"docs/{page}"
    return normpath(f"{dirname(home)}/{target}".lstrip("/"))


def is_inside(path: str) -> bool:
    """Tell whether a file of the repository is part of the site by itself."""
    return path.startswith("docs/") and not path.endswith(".py")


def place(path: str) -> str:
    """Say where the site shows a file of the repository."""
    return f"{SHOWN}/{path}" if path.endswith(".md") else f"{SHOWN}/{path}.md"


def show(path: str) -> str:
    """Give the page that shows a file of the repository."""
    file = ROOT / path
    if not file.is_file():
        raise PluginError(f"A link must lead to a file of the repository. Found {path}. Link to a file that is there.")
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{text}\n````\n"
