"""The independent path itself: days, weeks, months and blocks as the contract words them, and sums that never wrap."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.governance import recomputed
from tokenledger_dagster.governance.recomputed import COUNTERS, ExportError, Lines, Totals

PARTS = ("cache_write_1h_tokens", "reasoning_tokens", "web_search_requests")


def line(at: str, *, tokens: int = 1, usd: str | None = "0.5", number: int = 0, **named: Any) -> bytes:
    usage = {**dict.fromkeys((*COUNTERS, *PARTS), 0), "input_tokens": tokens}
    found = {
        "event_id": f"e{number}", "timestamp": at, "client": "codex", "provider": "codex", "model": "m",
        "session_id": "s", "usage": usage, "is_estimated": False, "maker": None, "project": None, **named,
    }  # fmt: skip
    text = json.dumps(found)[:-1]
    return f'{text}, "list_price_usd": {"null" if usd is None else usd}}}\n'.encode()


def totals(*rows: bytes, zones: tuple[str, ...] = ("UTC",), costs: Any = None) -> Totals:
    lines = Lines(zones, costs)
    for row in rows:
        lines.write(row)
    return lines.totals()


def tokens_by(found: Totals, key: str, zone: str = "UTC") -> dict[Any, int]:
    return {name: figures["total_tokens"] for (name,), figures in found.by((key,), zone).items()}


def test_a_day_is_one_of_the_zone_also_when_clocks_change() -> None:
    found = totals(
        line("2026-03-28T22:59:59.999999Z", tokens=1),
        line("2026-03-28T23:00:00Z", tokens=10),
        line("2026-03-29T21:59:59Z", tokens=100),
        line("2026-03-29T22:00:00Z", tokens=1000),
        line("2026-10-25T22:59:59Z", tokens=2),
        line("2026-10-25T23:00:00Z", tokens=20),
        zones=("Europe/Berlin", "UTC"),
    )

    assert tokens_by(found, "day", "Europe/Berlin") == {
        date(2026, 3, 28): 1,
        date(2026, 3, 29): 110,
        date(2026, 3, 30): 1000,
        date(2026, 10, 25): 2,
        date(2026, 10, 26): 20,
    }
    assert tokens_by(found, "day")[date(2026, 3, 28)] == 11


def test_a_week_begins_on_monday_and_is_named_by_its_thursday() -> None:
    found = totals(
        line("2026-12-31T12:00:00Z", tokens=1), line("2027-01-03T23:00:00Z", tokens=10),
        line("2027-01-04T00:00:00Z", tokens=100),
    )  # fmt: skip

    assert tokens_by(found, "week") == {"2026-W53": 11, "2027-W01": 100}
    assert tokens_by(found, "week_start") == {date(2026, 12, 28): 11, date(2027, 1, 4): 100}
    assert tokens_by(found, "month") == {"2026-12": 1, "2027-01": 110}


def test_a_block_starts_at_the_hour_of_the_first_event_after_the_last_blocks_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recomputed, "_BATCH_LINES", 2)
    times = ("08:59:59", "09:00:00", "13:59:59", "14:30:00", "18:59:59", "19:00:00")

    found = totals(*(line(f"2026-02-18T{time}Z") for time in times))

    assert {(start.hour, end.hour): figures["event_count"] for (start, end), figures in blocks(found).items()} == {
        (8, 13): 2, (13, 18): 2, (18, 23): 2,
    }  # fmt: skip


def blocks(found: Totals) -> dict[tuple[Any, ...], dict[str, Any]]:
    return found.by(("block_start", "block_end"), "UTC")


def test_sums_beyond_64_bits_and_the_last_nano_are_exact() -> None:
    found = totals(
        *(line("2026-02-18T09:00:00Z", tokens=2**62 - 1, usd="999999999.999999999", number=n) for n in range(40)),
        line("2026-02-18T09:00:01Z", tokens=7, usd=None),
    )

    (figures,) = found.by((), "UTC").values()
    assert figures["total_tokens"] == 40 * (2**62 - 1) + 7
    assert figures["list_price_usd"] == 40 * 999_999_999_999_999_999
    assert (figures["unpriced_tokens"], figures["unpriced_count"], figures["event_count"]) == (7, 1, 41)


def test_sessions_of_two_clients_with_one_name_are_two() -> None:
    found = totals(line("2026-02-18T09:00:00Z"), line("2026-02-18T09:00:00Z", client="claude-code"))

    (figures,) = found.by(("provider",), "UTC").values()
    assert (figures["session_count"], figures["models"]) == (2, ["m"])


def test_what_is_null_and_what_is_empty_are_told_apart() -> None:
    found = totals(*(line("2026-02-18T09:00:00Z", project=one) for one in (None, "", "\x00")))

    assert {key for (key,) in found.by(("project",), "UTC")} == {None, "", "\x00"}


def test_costs_of_plans_are_taken_event_by_event() -> None:
    rows = [line("2026-02-18T09:00:00Z", number=n) for n in range(2)]

    (figures,) = totals(*rows, costs=iter([("e0", 5), ("e1", None)])).by((), "UTC").values()
    assert (figures["effective_cost_usd"], figures["list_price_usd"]) == (5, 1_000_000_000)
    for costs in ([("e0", 5)], [("e0", 5), ("e2", 5)], [("e0", 5), ("e1", 5), ("e2", 5)]):
        with pytest.raises(ExportError):
            totals(*rows, costs=iter(costs))


@pytest.mark.parametrize(
    "rows",
    [
        [line("2026-02-18T09:00:01Z"), line("2026-02-18T09:00:00Z")],
        [b"{}\n"],
        [b"\x00\n"],
        [b'{"event_id": 1}\n'],
    ],
)
def test_lines_that_are_no_export_are_refused(rows: list[bytes]) -> None:
    with pytest.raises(ExportError):
        totals(*rows)


def test_no_lines_are_no_rows() -> None:
    assert totals().by(("day", "client"), "UTC") == {}


MOMENTS = st.datetimes(datetime(1969, 12, 20), datetime(2050, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))
ZONES = st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"])


@given(events=st.lists(st.tuples(MOMENTS, st.integers(0, 10**12), st.sampled_from("ab")), max_size=30), zone=ZONES)
@settings(max_examples=25, deadline=None)
def test_sums_are_those_of_a_loop_over_the_events(events: list[tuple[datetime, int, str]], zone: str) -> None:
    rows, start = sorted(events), None
    days: dict[Any, int] = defaultdict(int)
    in_blocks: dict[Any, int] = defaultdict(int)
    for moment, tokens, session in rows:
        days[moment.astimezone(ZoneInfo(zone)).date(), session] += tokens
        if start is None or moment >= start + timedelta(hours=5):
            start = moment.replace(minute=0, second=0, microsecond=0)
        in_blocks[start.replace(tzinfo=None), session] += tokens

    found = totals(
        *(
            line(moment.isoformat().replace("+00:00", "Z"), tokens=tokens, session_id=session)
            for moment, tokens, session in rows
        ),
        zones=(zone,),
    )

    by_day = found.by(("day", "session_id"), zone)
    by_block = found.by(("block_start", "session_id"), zone)
    assert {key: figures["total_tokens"] for key, figures in by_day.items()} == days
    assert {key: figures["total_tokens"] for key, figures in by_block.items()} == in_blocks
