"""Flow charts of the pages as SVG: boxes in columns, from left to right.

Here: reading the small part of Mermaid's ``flowchart`` that the documentation uses (nodes, ``-->``), placing and
drawing.  Not here: any other chart; a block that is none is shown as it is written.
"""

from __future__ import annotations

import html
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

_NODE = r"(\w+)(?:\[\(?(.*?)\)?\])?"
_EDGE = re.compile(rf"^{_NODE}\s*-->\s*{_NODE}$")
CHARACTER, LINE, PAD = 6.2, 16, 9
"""Sizes in pixels of a letter, a line of text and the space around it."""
COLUMN_GAP, ROW_GAP, SWEEPS = 26, 14, 8


@dataclass
class Chart:
    """Labels by node, and the edges; both in the order of the source."""

    labels: dict[str, list[str]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Box:
    """A placed node; one without a label is a bend of an edge that passes a column."""

    lines: list[str]
    x: float = 0
    y: float = 0

    @property
    def width(self) -> float:
        """Pixels."""
        return max(map(len, self.lines)) * CHARACTER + 2 * PAD if self.lines else 0

    @property
    def height(self) -> float:
        """Pixels."""
        return len(self.lines) * LINE + PAD if self.lines else 4


def fence(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """The drawing of a fenced block, for ``pymdownx.superfences``."""
    chart = read(source)
    drawn = svg(chart) if chart else f"<pre><code>{html.escape(source)}</code></pre>"
    return f'<div class="{css_class}">{drawn}</div>'


def read(source: str) -> Chart | None:
    """The chart; None where a line says something else than a node or an arrow between two."""
    lines = [line.strip() for line in source.strip().splitlines() if line.strip()]
    if not lines or lines[0] != "flowchart LR":
        return None
    chart = Chart()
    for line in lines[1:]:
        match = _EDGE.match(line)
        if match is None:
            return None
        for name, label in ((match[1], match[2]), (match[3], match[4])):
            if label or name not in chart.labels:
                chart.labels[name] = (label or name).replace("<br>", "\n").splitlines()
        chart.edges.append((match[1], match[3]))
    return chart


def svg(chart: Chart) -> str:
    """The drawing; `site.css` gives it the colours of the page."""
    boxes, paths = _placed(chart)
    width = max(box.x + box.width for box in boxes.values()) + 2
    height = max(box.y + box.height for box in boxes.values()) + 2
    parts = [f'<path d="{_curve([boxes[name] for name in path])}"/>' for path in paths]
    parts.append("</g>")
    for name in chart.labels:
        box = boxes[name]
        place = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}"'
        parts.append(f'<rect {place} rx="4"/>')
        top = box.y + box.height / 2 - (len(box.lines) - 1) * LINE / 2 + 4
        for number, line in enumerate(box.lines):
            middle, base = box.x + box.width / 2, top + number * LINE
            parts.append(f'<text x="{middle:.0f}" y="{base:.0f}">{html.escape(line)}</text>')
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    view = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {view}>{tip}<g>{"".join(parts)}</svg>'


# -------------------------------------------------------------------- placing


def _placed(chart: Chart) -> tuple[dict[str, Box], list[list[str]]]:
    """Boxes by name, bends among them, and for each edge the names that it passes."""
    rank = _ranks(chart)
    boxes = {name: Box(lines) for name, lines in chart.labels.items()}
    columns: dict[int, list[str]] = defaultdict(list)
    for name in chart.labels:
        columns[rank[name]].append(name)
    paths = []
    for number, (start, end) in enumerate(chart.edges):
        path = [start]
        for between in range(rank[start] + 1, rank[end]):
            path.append(f"{number}-{between}")
            boxes[path[-1]] = Box([])
            columns[between].append(path[-1])
        paths.append([*path, end])
    _order(columns, paths)
    x: float = 1
    tallest = max(_tall(columns[one], boxes) for one in columns)
    for one in sorted(columns):
        wide = max(boxes[name].width for name in columns[one])
        y = 1 + (tallest - _tall(columns[one], boxes)) / 2
        for name in columns[one]:
            boxes[name].x, boxes[name].y = x + (wide - boxes[name].width) / 2, y
            y += boxes[name].height + ROW_GAP
        x += wide + COLUMN_GAP
    return boxes, paths


def _ranks(chart: Chart) -> dict[str, int]:
    """Column of each node: one right of the furthest that leads to it, and sources beside what they lead to."""
    rank = dict.fromkeys(chart.labels, 0)
    for _ in chart.labels:
        for start, end in chart.edges:
            rank[end] = max(rank[end], rank[start] + 1)
    led_to = {end for _, end in chart.edges}
    for name in chart.labels:
        if name not in led_to:
            rank[name] = min(rank[end] for start, end in chart.edges if start == name) - 1
    return rank


def _order(columns: dict[int, list[str]], paths: list[list[str]]) -> None:
    """Orders each column by the middle of its neighbours, forth and back, so that few edges cross."""
    beside: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for left, right in itertools.pairwise(path):
            beside[left].append(right)
            beside[right].append(left)
    place = {name: number / max(len(names), 1) for names in columns.values() for number, name in enumerate(names)}
    for sweep in range(SWEEPS):
        for one in sorted(columns, reverse=bool(sweep % 2)):
            columns[one].sort(key=lambda name: sum(place[other] for other in beside[name]) / max(len(beside[name]), 1))
            for number, name in enumerate(columns[one]):
                place[name] = (number + 0.5) / len(columns[one])


def _tall(names: list[str], boxes: dict[str, Box]) -> float:
    return sum(boxes[name].height + ROW_GAP for name in names) - ROW_GAP


def _curve(passed: list[Box]) -> str:
    """A smooth line from the right side of the first box to the left side of the last."""
    first = passed[0]
    x, y = first.x + first.width, first.y + first.height / 2
    drawn = f"M{x:.0f} {y:.0f}"
    for box in passed[1:]:
        to_x, to_y = box.x, box.y + box.height / 2
        middle = (x + to_x) / 2
        drawn += f"C{middle:.0f} {y:.0f} {middle:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"
        x, y = to_x + box.width, to_y
    return drawn
