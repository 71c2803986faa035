"""The documentation as a site: whole, without a warning, without a network; flow charts are drawn."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.generated import ROOT, blocks, pages

SITE = ROOT / "docs" / ".site"
CHARTS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in pages()
    for number, block in enumerate(blocks(page, "mermaid"))
]


@pytest.fixture(scope="module")
def flowchart() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flowchart_of_the_site", SITE / "flowchart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------ flow charts


def test_there_are_charts() -> None:
    assert CHARTS


@pytest.mark.parametrize("source", CHARTS)
def test_every_chart_of_the_pages_is_drawn_whole(flowchart: ModuleType, source: str) -> None:
    chart = flowchart.read(source)
    assert chart is not None
    drawing = ET.fromstring(flowchart.svg(chart))
    name = "{http://www.w3.org/2000/svg}"
    texts = [one.text for one in drawing.iter(f"{name}text")]

    assert sorted(texts) == sorted(line for label in chart.labels.values() for line in label)
    assert len(list(drawing.iter(f"{name}rect"))) == len(chart.labels)
    assert len(list(drawing.iter(f"{name}path"))) == len(chart.edges) + 1  # and the tip of the arrows


def test_a_box_stands_right_of_all_that_leads_to_it(flowchart: ModuleType) -> None:
    chart = flowchart.read("flowchart LR\n a[first] --> b[second<br>line]\n b --> c[(store)]\n a --> c\n d --> c")
    boxes, paths = flowchart._placed(chart)

    assert chart.labels == {"a": ["first"], "b": ["second", "line"], "c": ["store"], "d": ["d"]}
    assert all(boxes[path[0]].x + boxes[path[0]].width < boxes[path[-1]].x for path in paths)
    assert paths[2] == ["a", "2-1", "c"]  # past b's column, not through b
    assert boxes["2-1"].y != boxes["b"].y


def test_boxes_of_a_column_do_not_overlap(flowchart: ModuleType) -> None:
    chart = flowchart.read("flowchart LR\n" + "\n".join(f" a{number} --> z" for number in range(9)))
    boxes, _ = flowchart._placed(chart)
    column = sorted((boxes[f"a{number}"] for number in range(9)), key=lambda box: box.y)

    assert all(above.y + above.height < below.y for above, below in itertools.pairwise(column))


@pytest.mark.parametrize(
    "source", ["", "sequenceDiagram\n A->>B: hi", "flowchart LR\n a -.-> b", "flowchart TD\n a --> b"]
)
def test_what_is_no_such_chart_is_shown_as_it_is_written(flowchart: ModuleType, source: str) -> None:
    assert flowchart.read(source) is None
    assert "<pre>" in flowchart.fence(source, "mermaid", "flowchart", {}, None)


def test_labels_cannot_bring_markup(flowchart: ModuleType) -> None:
    assert "&lt;script&gt;" in flowchart.svg(flowchart.read("flowchart LR\n a[<script>] --> b"))


# ------------------------------------------------------------------ the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "config/mkdocs.yml", "-d", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_on_the_site(site: Path) -> None:
    expected = {
        page.relative_to(ROOT / "docs").with_suffix(".html") for page in pages() if page.is_relative_to(ROOT / "docs")
    }
    found = {path.relative_to(site) for path in site.rglob("*.html")}

    names = {path.with_name("index.html") if path.name == "README.html" else path for path in expected}
    assert names - found == set()
    assert Path("repository/CONTRIBUTING.html") in found


@pytest.mark.slow
def test_every_link_and_picture_of_the_site_is_on_it(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target) and page.name != "404.html" and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")
    found = {target for page in site.rglob("*.html") for target in loaded.findall(page.read_text("utf-8"))}

    assert found == set()
    assert "mermaid" not in "".join(re.findall(r'class="([^"]+)"', (site / "architecture.html").read_text("utf-8")))


@pytest.mark.slow
def test_code_and_tables_are_code_and_tables(site: Path) -> None:
    text = (site / "contracts" / "plans.html").read_text("utf-8")

    # blocks with two words after the fence, as the examples have that the suite runs
    assert "```" not in text
    assert text.count("<table>") >= 5
    for page in site.rglob("*.html"):
        assert not re.search(r"<p>\| ", page.read_text("utf-8")), page
