"""Pictures small enough to be stored with every materialisation."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from datetime import date, timedelta

import duckdb

from tests.support import World
from tokenledger_dagster.exports.charts import bars_png, chart_markdown, daily_chart
from tokenledger_dagster.exports.tables import build

PAPER, LINE, FIRST, SECOND = 0, 1, 2, 3


def pixels(png: bytes) -> list[bytes]:
    """Rows of palette indices, top first."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        data = png[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0]
        chunks[kind] = data
        place += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw = zlib.decompress(chunks[b"IDAT"])
    return [raw[line * (width + 1) + 1 : (line + 1) * (width + 1)] for line in range(height)]


def test_bars_stand_on_each_other_and_fill_the_height() -> None:
    found = pixels(bars_png([[1, 1], [1, 0]], width=4, height=4))

    assert [row[0] for row in found] == [SECOND, SECOND, FIRST, FIRST]
    assert [row[2] for row in found] == [LINE, PAPER, FIRST, FIRST]


def test_no_usage_is_an_empty_picture() -> None:
    assert {value for row in pixels(bars_png([[0.0], [0.0]], width=4, height=5)) for value in row} == {PAPER, LINE}


def test_the_words_name_colours_days_and_the_highest_day() -> None:
    days = {date(2026, 2, 18): 1500.0, date(2026, 2, 20): 20.0}
    text = chart_markdown({"claude-code": days, "codex": {date(2026, 2, 18): 500.0}}, "tokens")

    assert text.endswith(
        "\n\nTokens per day, 2026-02-18 to 2026-02-20: blue claude-code, orange codex. The highest day is 2.0 k.\n"
    )


def test_no_days_is_said_in_words() -> None:
    assert chart_markdown({}, "tokens") == "No usage yet: nothing to draw (tokens per day)."


def test_ninety_uneven_days_of_eight_clients_stay_below_forty_kilobytes() -> None:
    start = date(2026, 1, 1)
    series = {
        f"client-{number}": {start + timedelta(days=day): (day * 7919 + number * 104_729) % 1_000 for day in range(90)}
        for number in range(8)
    }
    assert len(chart_markdown(series, "tokens")) < 40_000


def test_the_chart_of_a_ledger(world: World) -> None:
    with duckdb.connect() as con:
        build("usage_daily", con, world.ledger, "UTC")
        tokens = daily_chart(world.ledger, con=con)
        money = daily_chart(world.ledger, "list_price_usd")

    assert "2026-02-18 to 2026-02-28: blue claude-code, orange codex. The highest day is 12.9 k." in tokens
    assert "USD at list price per day" in money
    picture = re.search(r"base64,([^)]+)\)", tokens)
    assert picture is not None
    assert len(pixels(base64.b64decode(picture.group(1)))) == 160
