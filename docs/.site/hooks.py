"""What the site needs beside the pages: links that leave ``docs/``, pages of a folder in the menu, drawn flow charts.

Here: hooks of MkDocs (``config/mkdocs.yml``).  Not here: any text of the documentation, and the drawing
(``flowchart``).  A page's links are those of the repository.  What they name outside ``docs/`` is carried along under
``repository/``, so that the site is whole without the repository and without a network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flowchart
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUTSIDE = "repository"
"""Folder of the site that holds what lies outside ``docs/``."""

STYLE = "site.css"

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_LIST = re.compile(r"^(?:[-*+]|\d+[.]) ")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draws flow charts here: the theme would ask a server on the Internet for a program that does."""
    fence = {"name": "mermaid", "class": "flowchart", "format": flowchart.fence}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    config.nav = [_section(entry) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every file outside ``docs/`` that a page links to, and what those pages link to in turn."""
    todo = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    known = set(todo)
    while todo:
        page = todo.pop()
        for target in _linked(page):
            if target in known or target.is_relative_to(DOCS):
                continue
            known.add(target)
            files.append(File.generated(config, _site_path(target), abs_src_path=str(target)))
            if target.suffix == ".md":
                todo.append(target)
    files.append(File.generated(config, STYLE, abs_src_path=str(Path(__file__).with_name(STYLE))))
    outside = sorted(file.src_uri for file in files.documentation_pages() if file.src_uri.startswith(f"{OUTSIDE}/"))
    config.nav = [*(config.nav or []), {"Repository": outside}]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links of the repository into links of the site."""
    source = Path(page.file.abs_src_path or "")

    def link(match: re.Match[str]) -> str:
        target = _resolved(source, match[2])
        if target is None:
            return match[0]
        here = os.path.dirname(page.file.src_uri)
        path = os.path.relpath(_site_path(target), here or ".").replace(os.sep, "/")
        return f"{match[1]}{path}{match[3] or ''}{match[4]}"

    return _outside_code(_strict(markdown), lambda text: _LINK.sub(link, text))


# -------------------------------------------------------------------- links


def _linked(page: Path) -> Iterator[Path]:
    text = _CODE.sub("", page.read_text("utf-8"))
    for match in _LINK.finditer(text):
        target = _resolved(page, match[2])
        if target is not None:
            yield target


def _resolved(page: Path, link: str) -> Path | None:
    """The file of the repository that a link names; None for another site's address and for what is not there."""
    if _ELSEWHERE.match(link):
        return None
    target = (page.parent / link).resolve()
    if target.is_dir():
        target /= "README.md"
    return target if target.is_file() and target.is_relative_to(ROOT) else None


def _site_path(target: Path) -> str:
    inside = target.is_relative_to(DOCS)
    return target.relative_to(DOCS).as_posix() if inside else f"{OUTSIDE}/{target.relative_to(ROOT).as_posix()}"


# -------------------------------------------------------------------- text


def _outside_code(text: str, change: Any) -> str:
    """``text`` with ``change`` made to all of it but code."""
    parts, last = [], 0
    for match in _CODE.finditer(text):
        parts += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*parts, change(text[last:])])


def _strict(text: str) -> str:
    """What Markdown of the site needs: a blank line before a list that follows text, one word after a fence."""
    lines, fenced, before = [], False, ""
    for line in text.split("\n"):
        if line.startswith("```"):
            fenced = not fenced
            line = line.split(" ", 1)[0]
        elif not fenced and _LIST.match(line) and _ends_text(before):
            lines.append("")
        lines.append(line)
        before = line
    return "\n".join(lines)


def _ends_text(line: str) -> bool:
    return bool(line.strip()) and not line.startswith((" ", "|")) and not _LIST.match(line)


# -------------------------------------------------------------------- menu


def _section(entry: Any) -> Any:
    """An entry that names a folder with all pages of that folder, its README first."""
    if not isinstance(entry, dict):
        return entry
    ((title, value),) = entry.items()
    if not isinstance(value, str) or not value.endswith("/"):
        return entry
    pages = sorted((DOCS / value).rglob("*.md"), key=lambda page: (page.name != "README.md", page.name))
    return {title: [page.relative_to(DOCS).as_posix() for page in pages]}
