"""The Pareto view as a picture: cost against quality, the frontier as a line.

Here: SVG drawn with the standard library, the same bytes for the same rows, and the words around it in Markdown. Not
here: which rows are on the frontier (`models.frontier`).
"""

from __future__ import annotations

import base64
import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from tokenledger_dagster.contracts.ledger import OBJECTIVES, ParetoRow
from tokenledger_dagster.home import Home
from tokenledger_dagster.models.artifacts import PARETO_CSV

WIDTH, HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 24, 56, 46
_FRONTIER, _OTHER, _LINE, _WORDS = "#2f62b0", "#6b6b6b", "#e4e4e4", "#333333"
_UNITS = {"usd_per_mtok": "USD per million tokens of the usage mix", "usd_per_task": "USD per task"}
_LETTER, _ASCENT, _DESCENT = 5.9, 9.0, 3.0
"""Room that a letter takes; a picture cannot measure its own font."""


class Dot(NamedTuple):
    """One eligible model."""

    name: str
    cost: float
    quality: float
    is_frontier: bool


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: _Box) -> float:
        """Area that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        return max(across, 0.0) * max(min(self.bottom, other.bottom) - max(self.top, other.top), 0.0)


def dots_of(rows: Iterable[ParetoRow], objectives: str) -> list[Dot]:
    """Return the eligible rows of an objective set."""
    return [
        Dot(row.source_model, float(row.cost_usd or 0), float(row.quality or 0), row.is_frontier)
        for row in rows
        if row.objectives == objectives and row.pareto_score is not None
    ]


def pareto_picture(rows: Sequence[ParetoRow], sets: Sequence[str]) -> str | None:
    """Return one SVG with a chart of each set below the other; None where no set has an eligible model."""
    charts = []
    for name in sets:
        if dots := dots_of(rows, name):
            row = next(one for one in rows if one.objectives == name)
            charts.append(
                pareto_svg(dots, quality=row.quality_name, cost_basis=row.cost_basis, latency="latency" in name)
            )
    if len(charts) < 2:
        return charts[0] if charts else None
    placed = [f'<g transform="translate(0 {HEIGHT * place})">\n{chart}</g>' for place, chart in enumerate(charts)]
    return "\n".join([_opening(HEIGHT * len(charts)), *placed, "</svg>\n"])


def pareto_svg(dots: Sequence[Dot], *, quality: str, cost_basis: str, latency: bool = False) -> str:
    """Return the chart; cost runs on a logarithmic axis, to the right is dearer.

    Args:
        dots: eligible models, at least one.
        quality: name of the benchmark.
        cost_basis: unit of cost, as the Pareto view names it.
        latency: whether latency was compared too; the line of cost and quality alone is then left out.
    """
    low, high = _range([math.log10(dot.cost) for dot in dots])
    bottom, top = _range([dot.quality for dot in dots])

    def at(dot: Dot) -> tuple[float, float]:
        x = _LEFT + (math.log10(dot.cost) - low) / (high - low) * _plot_width()
        return round(x, 1), round(HEIGHT - _BOTTOM - (dot.quality - bottom) / (top - bottom) * _plot_height(), 1)

    front = sorted((dot for dot in dots if dot.is_frontier), key=lambda dot: (dot.cost, dot.quality))
    corners = [] if latency else _steps([at(dot) for dot in front])
    left_out = "; latency counts too and is not drawn" if latency else ""
    parts = [
        _opening(HEIGHT),
        f"<title>{escape(quality)} against cost; full dots are beaten by none{left_out}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 18, f"{quality}, %", "start"),
        *_legend(left_out),
        *_grid(low, high, bottom, top),
        _text(_LEFT + _plot_width() / 2, HEIGHT - 10, _UNITS[cost_basis], "middle"),
    ]
    if corners:
        points = " ".join(f"{x},{y}" for x, y in corners)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_FRONTIER}" stroke-width="1.5"/>')
    parts += [_circle(*at(dot), is_frontier=dot.is_frontier) for dot in dots]
    return "\n".join([*parts, *_labels(dots, at, corners), "</svg>\n"])


def pareto_markdown(home: Home) -> str:
    """Return Markdown with a picture of each objective set of a home's ledger, and the words to read it by."""
    path = home.ledger / PARETO_CSV
    if not path.exists():
        return "The ledger was not built yet."
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return "\n\n".join(_set_markdown([row for row in rows if row["objectives"] == name], name) for name in OBJECTIVES)


def _set_markdown(rows: Sequence[dict[str, str]], objectives: str) -> str:
    able = [row for row in rows if row["eligibility"] == "eligible"]
    if not able:
        return f"**{objectives}**: no model has a figure for every objective."
    dots = [
        Dot(row["source_model"], float(row["cost_usd"]), float(row["quality"]), row["is_frontier"] == "true")
        for row in able
    ]
    quality, basis = able[0]["quality_name"], able[0]["cost_basis"]
    svg = pareto_svg(dots, quality=quality, cost_basis=basis, latency="latency" in objectives)
    picture = base64.b64encode(svg.encode()).decode("ascii")
    best = sorted((row for row in able if row["is_frontier"] == "true"), key=lambda row: -float(row["pareto_score"]))
    listed = ", ".join(f"{row['source_model']} ({float(row['pareto_score']):.1f})" for row in best)
    return (
        f"![{objectives}](data:image/svg+xml;base64,{picture})\n\n"
        f"**{objectives}**: {len(best)} of {len(able)} eligible models are beaten by none, by score: {listed}. "
        f"{len(rows) - len(able)} lack a figure."
    )


# -------------------------------------------------------------------- axes


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Bounds with some room, never equal."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or 1.0
    return low - room, high + room


def _plot_width() -> int:
    return WIDTH - _LEFT - _RIGHT


def _plot_height() -> int:
    return HEIGHT - _TOP - _BOTTOM


def _grid(low: float, high: float, bottom: float, top: float) -> list[str]:
    parts = []
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            place = exponent + math.log10(factor)
            if low <= place <= high:
                x = round(_LEFT + (place - low) / (high - low) * _plot_width(), 1)
                parts.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{HEIGHT - _BOTTOM}" stroke="{_LINE}"/>')
                parts.append(_text(x, HEIGHT - _BOTTOM + 16, f"{factor * 10.0**exponent:g}", "middle"))
    step = 5 if top - bottom < 40 else 10
    for value in range(math.ceil(bottom / step) * step, math.floor(top) + 1, step):
        y = round(HEIGHT - _BOTTOM - (value - bottom) / (top - bottom) * _plot_height(), 1)
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" stroke="{_LINE}"/>')
        parts.append(_text(_LEFT - 6, y + 4, str(value), "end"))
    return parts


def _legend(left_out: str) -> list[str]:
    return [
        _circle(_LEFT + 4, 34, is_frontier=True),
        _text(_LEFT + 14, 38, "beaten by none", "start", _FRONTIER),
        _circle(_LEFT + 114, 34, is_frontier=False),
        _text(_LEFT + 124, 38, f"beaten{left_out}", "start", _OTHER),
    ]


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the frontier: at every cost the best quality that is to be had up to it, and nothing between."""
    corners: list[tuple[float, float]] = []
    for x, y in points:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners if len(points) > 1 else []


# -------------------------------------------------------------------- names beside dots


def _labels(
    dots: Sequence[Dot], at: Callable[[Dot], tuple[float, float]], corners: Sequence[tuple[float, float]]
) -> Iterator[str]:
    """Each name on the side of its dot where it covers least; the frontier's choose first."""
    taken = [_Box(x - 5, y - 5, x + 5, y + 5) for x, y in map(at, dots)]
    for (x1, y1), (x2, y2) in pairwise(corners):
        taken.append(_Box(min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1))
    for dot in sorted(dots, key=lambda dot: (not dot.is_frontier, -dot.quality, dot.name)):
        places = [(_covered(name, taken), name) for name in _places(*at(dot), len(dot.name) * _LETTER)]
        _, (x, y, anchor, box) = min(places, key=lambda place: place[0])
        taken.append(box)
        yield _text(x, y, dot.name, anchor, _FRONTIER if dot.is_frontier else _OTHER)


_Place = tuple[float, float, str, _Box]


def _places(x: float, y: float, width: float) -> Iterator[_Place]:
    """Places of a name beside its dot, the best first."""
    for aside, down in ((8, 4), (7, -6), (7, 15), (7, -14), (7, 24)):
        yield _place(x + aside, y + down, "start", width)
        yield _place(x - aside, y + down, "end", width)
    yield _place(x, y - 9, "middle", width)
    yield _place(x, y + 18, "middle", width)


def _place(x: float, y: float, anchor: str, width: float) -> _Place:
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return x, y, anchor, _Box(left, y - _ASCENT, left + width, y + _DESCENT)


def _covered(place: _Place, taken: Iterable[_Box]) -> float:
    """How much a name would cover, or stand outside the plot."""
    box = place[3]
    beside = max(_LEFT - box.left, 0) + max(box.right - WIDTH + 4, 0)
    beyond = max(box.bottom - (HEIGHT - _BOTTOM), 0) + max(_TOP - box.top - 8, 0)
    return sum(box.shared(other) for other in taken) + 100 * (beside + beyond)


# -------------------------------------------------------------------- marks


def _opening(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="11">'
    )


def _circle(x: float, y: float, *, is_frontier: bool) -> str:
    colour = _FRONTIER if is_frontier else _OTHER
    return f'<circle cx="{x}" cy="{y}" r="4" fill="{colour if is_frontier else "#ffffff"}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = _WORDS) -> str:
    return f'<text x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
