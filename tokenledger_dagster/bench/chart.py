"""The growth curve as an SVG: first reading by bytes, unchanged by files, tail by new bytes.

Here: points out of a kept result, and drawing them with the standard library.  Not here: measuring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

from tokenledger_dagster.bench.corpus import MB
from tokenledger_dagster.contracts.bench import BenchResult, Scenario, Step
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.charts import COLOURS

PANEL_WIDTH, HEIGHT = 300, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 44, 62


class Panel(msgspec.Struct, frozen=True):
    """One curve."""

    title: str
    x_label: str
    points: list[tuple[float, float]]
    """By x; y in seconds of wall time."""


def panels(result: BenchResult) -> list[Panel]:
    """The three curves of a growth run.  Raises TokenLedgerError where it holds no steps to draw."""
    found = [
        Panel("First reading", "logs, MB", _points(result, "cold", lambda scenario, _: scenario.corpus.bytes / MB)),
        Panel("Nothing changed", "files", _points(result, "warm", lambda scenario, _: scenario.corpus.files)),
        Panel("1 % appended", "new bytes, MB", _points(result, "tail", lambda _, step: _new_megabytes(step))),
    ]
    if not all(panel.points for panel in found):
        raise TokenLedgerError(
            "the result lacks the steps cold, warm and tail; make one with `tokenledger bench growth`"
        )
    return found


def growth_svg(result: BenchResult) -> str:
    """The chart as one SVG document; a dashed line in each panel grows in proportion from the first point."""
    drawn = [_panel(panel, place) for place, panel in enumerate(panels(result))]
    width = PANEL_WIDTH * len(drawn)
    about = f"{result.machine.cpu_model}, {result.machine.cores} cores, {result.machine.python}"
    caption = f"{about}; tokenledger {result.versions.tokenledger}, {result.generated_at[:10]}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
            ' font-family="sans-serif" font-size="11">',
            f"<title>Seconds of `tokenledger report daily` by size, logarithmic axes: {escape(caption)}</title>",
            f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>',
            *drawn,
            text(width / 2, HEIGHT - 10, f"Wall time in s, medians; dashed: proportional. {caption}", "middle", "#666"),
            "</svg>",
            "",
        ]
    )


def _points(result: BenchResult, name: str, x: Callable[[Scenario, Step], float]) -> list[tuple[float, float]]:
    found = [
        (x(scenario, step), step.median.wall_s)
        for scenario in result.scenarios
        for step in scenario.steps
        if step.name == name
    ]
    return sorted(point for point in found if min(point) > 0)


def _new_megabytes(step: Step) -> float:
    sizes = sorted(one.new_bytes for one in step.rounds)
    return sizes[len(sizes) // 2] / MB


class _Axis:
    """A logarithmic axis whose ends leave some room around the values."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max(0.12, (high - low) * 0.08)
        self._low, self._high = low - room, high + room
        if self._high - self._low < 1:  # at least one decade, or noise looks like growth
            middle = (self._low + self._high) / 2
            self._low, self._high = middle - 0.5, middle + 0.5
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value stands."""
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each decade that fall on the axis; only 1 where there are many decades."""
        steps = (1, 2, 5) if self._high - self._low < 2.2 else (1,)
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        return [s * 10.0**d for d in decades for s in steps if self._low <= math.log10(s * 10.0**d) <= self._high]


def _panel(panel: Panel, place: int) -> str:
    left, right = place * PANEL_WIDTH + _LEFT, (place + 1) * PANEL_WIDTH - _RIGHT
    top, bottom = _TOP, HEIGHT - _BOTTOM
    across = _Axis([x for x, _ in panel.points], left, right)
    up = _Axis([y for _, y in panel.points], bottom, top)
    colour = "#{:02x}{:02x}{:02x}".format(*COLOURS[place][1])
    parts = [text(left, top - 16, panel.title, "start", "#222", "bold")]
    for tick in across.ticks():
        parts.append(line([(across.at(tick), top), (across.at(tick), bottom)], "#e6e6e6"))
        parts.append(text(across.at(tick), bottom + 14, _short(tick), "middle", "#444"))
    for tick in up.ticks():
        parts.append(line([(left, up.at(tick)), (right, up.at(tick))], "#e6e6e6"))
        parts.append(text(left - 5, up.at(tick) + 4, _short(tick), "end", "#444"))
    parts.append(text((left + right) / 2, bottom + 30, panel.x_label, "middle", "#444"))
    placed = [(across.at(x), up.at(y)) for x, y in panel.points]
    parts.append(line(_proportional(panel.points, across, up, top, right), "#999999", ' stroke-dasharray="4 3"'))
    parts.append(line(placed, colour, ' stroke-width="2"'))
    for (x, y), (_, seconds) in zip(placed, panel.points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        told = f"{seconds:#.3g}".rstrip(".") + " s"
        # beside the line, which rises: below it on the right, or above it on the left where the panel ends
        if x > right - 45:
            parts.append(text(x - 6, y - 7, told, "end", "#222"))
        else:
            parts.append(text(x + 4, y + 16, told, "start", "#222"))
    return "\n".join(parts)


def _proportional(
    points: list[tuple[float, float]], across: _Axis, up: _Axis, top: float, right: float
) -> list[tuple[float, float]]:
    """From the first point on, as far as the panel goes."""
    first_x, first_y = points[0]
    factor = max(x for x, _ in points) / first_x
    while factor > 1 and (up.at(first_y * factor) < top or across.at(first_x * factor) > right):
        factor *= 0.98
    return [(across.at(x), up.at(y)) for x, y in (points[0], (first_x * factor, first_y * factor))]


def line(points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    """A line through these points, with further attributes."""
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{listed}" fill="none" stroke="{colour}"{more}/>'


def text(x: float, y: float, words: str, anchor: str, colour: str, weight: str = "normal") -> str:
    """Words that begin, stand or end at a place."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
