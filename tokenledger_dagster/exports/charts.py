"""Small pictures for the asset pages: usage by day, a colour per client.

Here: stacked bars as a PNG inside Markdown, drawn with the standard library: the picture is stored with every
materialisation, so it has to be a few kilobytes.  Not here: figures, which come from the table ``usage_daily``.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from tokenledger_dagster.exports.engine import literal, sql
from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.home import Home

if TYPE_CHECKING:
    import duckdb

Measure = Literal["total_tokens", "list_price_usd"]

DAYS = 90
"""Days shown at most, the latest ones."""
WIDTH, HEIGHT = 720, 160

COLOURS = (
    ("blue", (58, 110, 190)),
    ("orange", (226, 138, 46)),
    ("green", (70, 150, 90)),
    ("purple", (140, 90, 170)),
    ("red", (200, 70, 70)),
    ("teal", (60, 150, 160)),
    ("brown", (140, 100, 70)),
    ("grey", (130, 130, 130)),
)
_PAPER, _LINE = (255, 255, 255), (224, 224, 224)
_FIRST_BAR = 2
"""Palette: paper, line, then the colours."""


def daily_chart(home: Home, measure: Measure = "total_tokens", con: duckdb.DuckDBPyConnection | None = None) -> str:
    """Markdown with a picture of the last days' usage by client, and the words to read it by.

    Args:
        home: a home whose ``usage_daily`` was built.
        measure: what the bars are high by.
        con: a DuckDB connection to read the table with; None opens one.
    """
    import duckdb

    path = table_path(home, "usage_daily")
    query = sql("daily_chart", usage_daily=literal(path), measure=measure, days=str(DAYS))
    cursor = con.cursor() if con is not None else duckdb.connect()
    try:
        rows = cursor.execute(query).fetchall()
    finally:
        cursor.close()
    series: dict[str, dict[date, float]] = {}
    for day, client, value in rows:
        series.setdefault(client, {})[day] = float(value)
    return chart_markdown(series, "USD at list price" if measure == "list_price_usd" else "tokens")


def chart_markdown(series: Mapping[str, Mapping[date, float]], unit: str) -> str:
    """Markdown with stacked bars by day; ``series`` holds a value per day for each name, the first at the bottom."""
    days = sorted({day for values in series.values() for day in values})
    if not days:
        return f"No usage yet: nothing to draw ({unit} per day)."
    shown = [days[0] + timedelta(days=offset) for offset in range((days[-1] - days[0]).days + 1)]
    stacks = [[values.get(day, 0.0) for values in series.values()] for day in shown]
    top = max(sum(stack) for stack in stacks)
    picture = base64.b64encode(bars_png(stacks)).decode("ascii")
    legend = ", ".join(f"{_colour(place)[0]} {name}" for place, name in enumerate(series))
    caption = f"{unit} per day, {days[0]} to {days[-1]}: {legend}. The highest day is {_short(top)}."
    return f"![{unit} per day](data:image/png;base64,{picture})\n\n{caption[0].upper()}{caption[1:]}\n"


def bars_png(stacks: Sequence[Sequence[float]], width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG of stacked bars, scaled to the highest; negative values are drawn as nothing."""
    rows = [bytearray(width) for _ in range(height)]
    for place in (0, height // 2, height - 1):
        rows[place][:] = b"\x01" * width
    top = max((sum(max(0.0, value) for value in stack) for stack in stacks), default=0.0)
    if top > 0:
        for place, stack in enumerate(stacks):
            left, right = place * width // len(stacks), (place + 1) * width // len(stacks)
            _bar(rows, stack, left, max(left + 1, right - (1 if right - left > 2 else 0)), top)
    palette = (_PAPER, _LINE, *(colour for _, colour in COLOURS))
    return _png(rows, palette)


def _bar(rows: list[bytearray], stack: Sequence[float], left: int, right: int, top: float) -> None:
    height = len(rows)
    filled, below = 0, 0.0
    for place, value in enumerate(stack):
        below += max(0.0, value)
        upper = round(below / top * height)
        colour = bytes([_FIRST_BAR + place % len(COLOURS)]) * (right - left)
        for line in range(filled, upper):
            rows[height - 1 - line][left:right] = colour
        filled = max(filled, upper)


def _png(rows: Sequence[bytearray], palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Eight bits a pixel, indices into the palette; filter 0 on every row."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    colours = b"".join(bytes(colour) for colour in palette)
    pixels = zlib.compress(b"".join(b"\x00" + bytes(row) for row in rows), 9)
    chunks = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _colour(place: int) -> tuple[str, tuple[int, int, int]]:
    return COLOURS[place % len(COLOURS)]


def _short(value: float) -> str:
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.1f}{suffix}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
