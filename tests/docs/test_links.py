"""Pages, headings and files that the documentation points to exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.generated import ROOT, pages

_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]


def _without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = []
    for image, target in _LINK.findall(_without_code(page)):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://")) or image:
            continue
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("page", _PAGES)
def test_every_picture_is_there(page: Path) -> None:
    pictures = [page.parent / target for image, target in _LINK.findall(_without_code(page)) if image]
    if pictures and not any((ROOT / "docs" / "images").iterdir()):
        pytest.skip("the pictures are not made yet")
    assert [str(picture) for picture in pictures if not picture.is_file()] == []


def test_every_page_is_in_the_index() -> None:
    reached = {ROOT / "docs" / "README.md"}
    todo = list(reached)
    while todo:
        page = todo.pop()
        for _, target in _LINK.findall(_without_code(page)):
            found = (page.parent / target.partition("#")[0]).resolve()
            if found.suffix == ".md" and found.exists() and found not in reached:
                reached.add(found)
                todo.append(found)
    assert set(pages()) - reached - {ROOT / "README.md"} == set()


@pytest.mark.parametrize("page", _PAGES)
def test_pages_are_plain_text_that_diffs_well(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
