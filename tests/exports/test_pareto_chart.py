"""The picture of the frontier: who is drawn how, where the line runs, and that names can be read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest

from tokenledger_dagster.cli.main import main
from tokenledger_dagster.contracts.ledger import OBJECTIVES
from tokenledger_dagster.exports.pareto_chart import HEIGHT, WIDTH, Dot, pareto_picture, pareto_svg
from tokenledger_dagster.models.artifacts import committed_build

FRONTIER, BEATEN = "#2f62b0", "#6b6b6b"
DOTS = [Dot("cheap", 0.1, 30, True), Dot("dear", 10, 60, True), Dot("bad & dear", 10, 30, False)]


def texts(svg: str) -> list[tuple[str, float, float, str]]:
    """Every text of a picture: words, x, y, anchor."""
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"[^>]*>([^<]*)</text>', svg)
    return [(words, float(x), float(y), anchor) for x, y, anchor, words in found]


def test_the_frontier_is_full_and_what_it_beats_is_hollow() -> None:
    svg = pareto_svg(DOTS, quality="Q", cost_basis="usd_per_task")

    circles = re.findall(r'<circle [^>]*fill="([^"]+)" stroke="([^"]+)"/>', svg)[2:]
    assert circles == [(FRONTIER, FRONTIER), (FRONTIER, FRONTIER), ("#ffffff", BEATEN)]


def test_the_line_goes_in_steps_since_nothing_is_offered_between_two_models() -> None:
    svg = pareto_svg(DOTS, quality="Q", cost_basis="usd_per_task")

    ((points),) = re.findall(r'<polyline points="([^"]+)"', svg)
    (x1, y1), (x2, y2), (x3, y3) = (map(float, point.split(",")) for point in points.split())
    assert x1 < x2 == x3
    assert y1 == y2 > y3


def test_no_line_is_drawn_where_latency_counts_too() -> None:
    svg = pareto_svg(DOTS, quality="Q", cost_basis="usd_per_task", latency=True)

    assert "<polyline" not in svg
    assert "latency counts too and is not drawn" in svg


def test_one_model_alone_is_drawn() -> None:
    svg = pareto_svg([Dot("only", 1, 50, True)], quality="Q", cost_basis="usd_per_mtok")

    assert [words for words, *_ in texts(svg)].count("only") == 1


def test_names_are_escaped() -> None:
    svg = pareto_svg([Dot("<b>&", 1, 50, True)], quality="Q <1>", cost_basis="usd_per_mtok")

    ElementTree.fromstring(svg)
    assert "&lt;b&gt;&amp;" in svg


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_every_eligible_model_is_named_once_inside_the_picture_and_apart(objectives: str) -> None:
    rows = committed_build().pareto
    svg = pareto_picture(rows, [objectives])
    assert svg is not None
    names = {row.source_model for row in rows if row.objectives == objectives and row.eligibility == "eligible"}

    labels = [label for label in texts(svg) if label[0] in names]
    boxes = []
    for words, x, y, anchor in labels:
        width = 5.5 * len(words)
        left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, left + width, y - 8, y + 2))
    assert sorted(words for words, *_ in labels) == sorted(names)
    assert all(left >= 0 and right <= WIDTH and top >= 0 and bottom <= HEIGHT for left, right, top, bottom in boxes)
    for one, other in combinations(boxes, 2):
        assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]


def test_sets_stand_below_each_other() -> None:
    svg = pareto_picture(committed_build().pareto, OBJECTIVES)

    assert svg is not None
    assert f'viewBox="0 0 {WIDTH} {2 * HEIGHT}"' in svg.splitlines()[0]
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_the_command_draws_instead_of_printing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "pareto.svg"

    code = main(["ledger", "pareto", "--committed", "--objectives", "cost+quality", "--svg", str(path)])

    assert (code, capsys.readouterr()) == (0, ("", f"wrote {path}\n"))
    assert path.read_text("utf-8") == pareto_picture(committed_build().pareto, ["cost+quality"])


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["ledger", "pareto", "--committed", "--svg", str(tmp_path)])

    assert code == 4
    assert capsys.readouterr().err.endswith(f"{tmp_path}: Is a directory; name a file that can be written\n")
