"""The trend as an SVG: a panel for each step, its ratio run by run, the median, and the latest run marked.

Here: drawing with the standard library.  Not here: figures (``bench.trend``).
"""

from __future__ import annotations

from html import escape

from tokenledger_dagster.bench.chart import line, text
from tokenledger_dagster.contracts.perf import TrendResult, TrendRow
from tokenledger_dagster.exports.charts import COLOURS

PANEL_WIDTH, PANEL_HEIGHT, PANELS_ACROSS = 360, 200, 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 34, 34
_FOOT = 30
_HEADROOM = 1.15
_WHAT = {"ok": "#2f62b0", "too_few": "#6b6b6b", "slower": "#c84646"}
"""Colour of the latest run, by verdict."""


def trend_svg(found: TrendResult) -> str:
    """The chart as one SVG document; every axis begins at nothing, so that heights may be compared."""
    across = min(PANELS_ACROSS, len(found.rows))
    down = -(-len(found.rows) // PANELS_ACROSS)
    width, height = PANEL_WIDTH * across, PANEL_HEIGHT * down + _FOOT
    drawn = [_panel(row, place % PANELS_ACROSS, place // PANELS_ACROSS) for place, row in enumerate(found.rows)]
    machines = ", ".join(dict.fromkeys(row.machine_class for row in found.rows))
    about = f"Processor time over that of the reference, run by run; dashed: median. {machines}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="sans-serif" font-size="11">',
            f"<title>{escape(about)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *drawn,
            text(width / 2, height - 10, about, "middle", "#666"),
            "</svg>",
            "",
        ]
    )


def _panel(row: TrendRow, column: int, place: int) -> str:
    left, right = column * PANEL_WIDTH + _LEFT, (column + 1) * PANEL_WIDTH - _RIGHT
    top, bottom = place * PANEL_HEIGHT + _TOP, (place + 1) * PANEL_HEIGHT - _BOTTOM
    ratios = [point.ratio for point in row.points]
    highest = max(*ratios, row.ratio) * _HEADROOM or 1.0

    def at(number: int, ratio: float) -> tuple[float, float]:
        share = number / (len(ratios) - 1) if len(ratios) > 1 else 0.5
        return left + share * (right - left), bottom - max(0.0, ratio) / highest * (bottom - top)

    change = "" if row.change is None else f", {row.change:+.1%}"
    parts = [
        text(left, top - 12, f"{row.scenario}, {row.step}", "start", "#222", "bold"),
        text(right, top - 12, f"latest {row.latest_ratio:.2f}{change}", "end", _WHAT[row.verdict]),
    ]
    for part in (0.0, 0.5, 1.0):
        value = highest * part
        parts.append(line([(left, at(0, value)[1]), (right, at(0, value)[1])], "#e6e6e6"))
        parts.append(text(left - 5, at(0, value)[1] + 4, f"{value:.3g}", "end", "#444"))
    middle = at(0, row.ratio)[1]
    parts.append(line([(left, middle), (right, middle)], "#999999", ' stroke-dasharray="4 3"'))
    colour = "#{:02x}{:02x}{:02x}".format(*COLOURS[0][1])
    placed = [at(number, ratio) for number, ratio in enumerate(ratios)]
    parts.append(line(placed, colour, ' stroke-width="1.5"'))
    for number, (x, y) in enumerate(placed):
        is_latest = number == len(placed) - 1
        fill, radius = (_WHAT[row.verdict], "4.5") if is_latest else (colour, "2.5")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>')
    first, last = row.points[0].generated_at[:10], row.points[-1].generated_at[:10]
    parts.append(text(left, bottom + 16, first, "start", "#444"))
    parts.append(text((left + right) / 2, bottom + 16, f"{row.runs} runs", "middle", "#444"))
    parts.append(text(right, bottom + 16, last, "end", "#444"))
    return "\n".join(parts)
