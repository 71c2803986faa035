"""Quarter hours are the sums of the events at any time, and answer any zone and any block as the events would."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from tests.ingest.families import Files, families
from tests.ingest.test_properties import few, orders, put, worlds
from tests.support import World, claude, jsonl, meta, rollout, tokens, turn
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.cells import SUMS
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection, block_starts

ODD_ZONES = ("Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe")
"""+5:45; -3:30 with a change of hours; +10:30 with a change of half an hour."""
NOW = datetime(2026, 6, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKENS = (
    "input_tokens + output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens + tool_output_tokens"
)
_FROM_EVENTS = f"""
SELECT timestamp_us / {SLOT_US} AS slot, session_no, model_no, is_estimated, count(*), sum(input_tokens),
    sum(output_tokens), sum(cache_write_tokens), sum(cache_read_tokens), sum(tool_input_tokens),
    sum(tool_output_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(web_search_requests),
    sum(coalesce(list_price_nano, 0)), sum(list_price_nano IS NULL),
    sum(CASE WHEN list_price_nano IS NULL THEN {_TOKENS} ELSE 0 END), sum(reported_nano)
FROM events GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_SLOTS = f"SELECT slot, session_no, model_no, is_estimated, {SUMS} FROM slots ORDER BY 1, 2, 3, 4"

Figures = dict[str, tuple[int, int, int]]
"""Events, tokens and nano-USD by key of a report's row."""


def settled_copy(world: World, folder: Path) -> Home:
    """The ledger as it would be if somebody asked for its events; the ledger itself is left as it is."""
    shutil.copytree(world.ledger.root, folder / "copy")
    copy = Home(folder / "copy")
    settle(copy)
    return copy


def check_slots(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(connect(world.ledger, read_only=True)) as manifest:
        slots = manifest.execute(_SLOTS).fetchall()
        with closing(connect(settled_copy(world, Path(folder)), read_only=True)) as copy:
            assert slots == copy.execute(_FROM_EVENTS).fetchall()
            assert slots == copy.execute(_SLOTS).fetchall()


@pytest.mark.slow
@settings(few, max_examples=12)
@given(families(), orders)
def test_slots_are_the_sums_of_the_events_at_any_time(files: Files, order: Random) -> None:
    with worlds() as world:
        for path in order.sample(sorted(files), len(files)):
            put(world, path, files[path][: order.randint(1, len(files[path]))])
            world.sync()
            check_slots(world)
            put(world, path, files[path])
            world.sync()
            check_slots(world)


@pytest.fixture
def spread(tmp_path: Path) -> World:
    """Requests every 37 minutes over the change of hours of both hemispheres, some of them in two files."""
    world = World(tmp_path)
    start = datetime(2026, 3, 7, tzinfo=UTC)
    rows = [
        claude(
            f"m{number}",
            f"r{number}",
            input=number + 1,
            model=("claude-sonnet-4-5", "house-model-1")[number % 7 == 0],
            timestamp=(start + timedelta(minutes=37 * number)).isoformat().replace("+00:00", "Z"),
        )
        for number in range(1_200)
    ]
    world.write(world.claude_path(), *rows)
    resumed = [{**row, "sessionId": "s2"} for row in rows[:40]]
    world.write(world.claude_path("s2.jsonl"), *resumed, claude("new", "new", session="s2"))
    totals = [tokens((100 * number, 0, number), minutes=91 * number) for number in range(1, 400)]
    world.write(world.codex_path(rollout("t1")), meta(), turn(), *totals)
    world.sync()
    return world


def events(world: World, folder: Path) -> list[tuple[int, int, int]]:
    """(time, tokens, nano-USD) of every event, in order of time."""
    with closing(connect(settled_copy(world, folder), read_only=True)) as copy:
        query = f"SELECT timestamp_us, {_TOKENS}, coalesce(list_price_nano, 0) FROM events ORDER BY timestamp_us"
        return copy.execute(query).fetchall()


def added(rows: list[tuple[str, int, int]]) -> Figures:
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    prices: Counter[str] = Counter()
    for key, total, nano in rows:
        counts[key] += 1
        sums[key] += total
        prices[key] += nano
    return {key: (counts[key], sums[key], prices[key]) for key in counts}


def reported(world: World, kind: str, zone: str) -> Figures:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        report = make_report(manifest, kind, Selection(zone=zone), NOW)
    return {
        row.key: (row.event_count, row.total_tokens, int((row.list_price_usd or 0) * 1_000_000_000))
        for row in report.rows
    }


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_days_of_an_odd_zone_are_those_of_the_events(spread: World, tmp_path: Path, zone: str) -> None:
    def day(at_us: int) -> str:
        return (EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone)).date().isoformat()

    expected = added([(day(at_us), total, nano) for at_us, total, nano in events(spread, tmp_path)])

    assert reported(spread, "daily", zone) == expected
    spread.sync(zone=zone)
    assert reported(spread, "daily", zone) == expected


def test_blocks_are_those_of_the_events(spread: World, tmp_path: Path) -> None:
    def key(start: int) -> str:
        return (EPOCH + timedelta(microseconds=start)).isoformat().replace("+00:00", "Z")

    rows = [(key(start), total, nano) for start, (_, total, nano) in block_starts(events(spread, tmp_path))]

    for zone in ("UTC", *ODD_ZONES):
        assert reported(spread, "block", zone) == added(rows)


def test_cells_are_the_slots_of_their_zone_after_a_change_of_zone(spread: World) -> None:
    spread.sync(zone="Australia/Lord_Howe")
    spread.append(spread.claude_path(), claude("last", "last", timestamp="2026-04-04T13:29:00Z"))
    spread.sync(zone="Australia/Lord_Howe")
    before = reported(spread, "daily", "Australia/Lord_Howe")
    spread.sync(zone="UTC")

    assert reported(spread, "daily", "Australia/Lord_Howe") == before


def test_requests_at_the_edges_of_a_quarter_hour_stay_in_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    times = ("09:00:00.000Z", "09:14:59.999Z", "09:15:00.000Z", "09:29:59.999999Z")
    rows = [claude(f"m{n}", f"r{n}", timestamp=f"2026-02-18T{time}") for n, time in enumerate(times)]
    world.write(world.claude_path(), jsonl(*rows).rstrip(b"\n"))
    world.sync()
    with closing(connect(world.ledger, read_only=True)) as manifest:
        found = manifest.execute("SELECT slot - ?, event_count FROM slots ORDER BY slot", (1_968_228,)).fetchall()

    assert found == [(0, 2), (1, 2)]
