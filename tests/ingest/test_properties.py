"""What holds for any logs, in any order of arrival."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.families import Files, families
from tests.support import Booked, Event, World, set_mtime
from tokenledger_dagster.ingest import folding, reading, scan, sync, workers
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.usage.report import KINDS, make_report
from tokenledger_dagster.usage.selection import Selection

MTIME = 1_771_500_000
few = settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
orders = st.integers(0, 2**20).map(Random)


@contextmanager
def worlds() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="property-"))
    try:
        yield World(folder)
    finally:
        shutil.rmtree(folder)


def put(world: World, path: str, content: bytes) -> None:
    """Writes a file whose time says nothing of when it was written, so that rows without time end alike."""
    target = world.home_dir / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    set_mtime(target, MTIME)


def growing(world: World, files: Files, order: Random, *, whole: float = 0.3) -> Iterator[None]:
    """Appends a piece to one of the files at a time until all are whole; ``whole``: how often the piece is the rest."""
    grown = dict.fromkeys(files, 0)
    while left := sorted(path for path, size in grown.items() if size < len(files[path])):
        path = order.choice(left)
        rest = len(files[path]) - grown[path]
        grown[path] += rest if order.random() < whole else order.randint(1, rest)
        put(world, path, files[path][: grown[path]])
        yield


def figures(world: World) -> list[Event]:
    """The events without the copies that lost: a twin taken for a moved file may be read once more."""
    return [msgspec.structs.replace(event, copies=()) for event in world.events()]


def cold(files: Files) -> Booked:
    """What one sync of everything books."""
    with worlds() as world:
        for path, content in files.items():
            put(world, path, content)
        world.sync()
        return world.booked()


@pytest.mark.slow
@few
@given(families(), orders)
def test_the_order_in_which_files_arrive_changes_nothing(files: Files, order: Random) -> None:
    paths = sorted(files)
    order.shuffle(paths)
    with worlds() as world:
        for path in paths:
            put(world, path, files[path])
            if order.random() < 0.7:
                world.sync()
        world.sync()
        assert world.booked() == cold(files)


@pytest.mark.slow
@few
@given(families(), orders)
def test_any_split_into_appends_is_one_cold_read(files: Files, order: Random) -> None:
    with worlds() as world:
        for _ in growing(world, files, order):
            if order.random() < 0.6:
                world.sync()
        world.sync()
        assert world.booked() == cold(files)


@settings(few, max_examples=30)
@given(families(), orders)
def test_any_split_in_any_order_of_syncs_is_one_cold_read_whatever_happens_in_between(
    files: Files, order: Random
) -> None:
    """Also with events asked for, journals compacted and folded, small packs, batches and blocks, and helpers."""
    with worlds() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "PACK_ROWS", order.choice((1, 3, 50_000)))
        patch.setattr(sync, "BATCH_RECORDS", order.choice((1, 4, 250_000)))
        patch.setattr(folding, "FOLD_ABOVE", order.choice((1, 64)))
        patch.setattr(folding, "JOIN_ABOVE", order.choice((1, 16)))
        patch.setattr(folding, "FRESH_BYTES", order.choice((3_000, 128 << 10)))
        patch.setattr(reading, "_buffer", bytearray(order.choice((100, 1 << 20))))
        if order.random() < 0.1:
            patch.setattr(workers, "HELP_FROM_BYTES", 0)
            patch.setattr(workers, "_BYTES_A_HELPER", 1)
        happenings = (
            world.sync,
            world.sync,
            world.sync,
            lambda: world.sync(no_cache=True),
            lambda: world.sync(full=True),
            lambda: settle(world.ledger) if world.ledger.manifest_path.exists() else None,
            lambda: compact(world.ledger),
        )
        for _ in growing(world, files, order):
            if order.random() < 0.7:
                order.choice(happenings)()
        world.sync()
        booked = world.booked()
        patch.undo()
        assert booked == cold(files)


@pytest.mark.slow
@few
@given(families())
def test_reading_everything_again_changes_nothing(files: Files) -> None:
    with worlds() as world:
        for path, content in files.items():
            put(world, path, content)
        world.sync()
        before, records = world.booked(), world.records()
        for options in ({}, {"no_cache": True}, {"no_cache": True, "full": True}):
            assert world.sync(**options).emitted_total == 0
            assert world.booked() == before
            assert world.records() == records


@pytest.mark.slow
@few
@given(families(), orders)
def test_booking_anew_from_the_records_ends_where_the_increments_did(files: Files, order: Random) -> None:
    with worlds() as world:
        for path in order.sample(sorted(files), len(files)):
            put(world, path, files[path])
            world.sync()
        before = world.booked()
        world.sync(full=True)
        assert world.booked() == before


@pytest.mark.slow
@few
@given(families(), orders)
def test_vanishing_and_moving_files_forget_nothing(files: Files, order: Random) -> None:
    with worlds() as world:
        for path, content in files.items():
            put(world, path, content)
        world.sync()
        before = figures(world)
        for path in order.sample(sorted(files), order.randint(0, len(files))):
            target = world.home_dir / path
            if order.random() < 0.5:
                target.unlink()
            else:
                target.rename(target.with_name(f"moved-{target.name}"))
            if order.random() < 0.5:
                world.sync()
        world.sync()
        assert figures(world) == before


@pytest.mark.slow
@few
@given(families(), orders)
def test_rewriting_a_file_neither_doubles_nor_forgets(files: Files, order: Random) -> None:
    path = order.choice(sorted(files))
    lines = files[path].splitlines(keepends=True)
    with worlds() as world:
        for name, content in files.items():
            put(world, name, content)
        world.sync()
        before = {event.event_id: event.buckets for event in world.events()}
        put(world, path, b"".join(lines[: order.randint(0, len(lines))]))
        world.sync()
        put(world, path, files[path] + b"\n")
        world.sync()
        assert {event.event_id: event.buckets for event in world.events()} == before


@few
@given(families(), orders)
def test_every_record_is_booked_or_a_duplicate_and_every_view_has_the_same_totals(files: Files, order: Random) -> None:
    with worlds() as world:
        for path in order.sample(sorted(files), len(files)):
            put(world, path, files[path])
            world.sync()
        ((records,),) = world.query("SELECT count(*) FROM records")
        events, duplicates = world.events(), world.duplicates()
        assert len(events) + len(duplicates) == records
        assert len({event.event_id for event in events}) == len(events)
        assert min((min(event.buckets) for event in events), default=0) >= 0

        connection = connect(world.ledger, read_only=True)
        now = datetime(2026, 3, 1, tzinfo=UTC)
        try:
            for zone in ("UTC", "Asia/Kathmandu"):
                reports = [make_report(connection, kind, Selection(zone=zone), now) for kind in KINDS]
                assert len({repr(report.totals) for report in reports}) == 1
                totals = reports[0].totals
                assert totals.event_count == len(events)
                assert totals.total_tokens == sum(sum(event.buckets) for event in events)
                for report in reports:
                    assert sum(row.event_count for row in report.rows) == totals.event_count
                    assert sum(row.total_tokens for row in report.rows) == totals.total_tokens
                    assert sum(row.list_price_usd or 0 for row in report.rows) == (totals.list_price_usd or 0)
                    assert sum(one.total_tokens for row in report.rows for one in row.models) == totals.total_tokens
        finally:
            connection.close()


@pytest.mark.slow
@settings(few, max_examples=8)
@given(families(), orders)
def test_compaction_at_any_moment_changes_nothing(files: Files, order: Random) -> None:
    with worlds() as world:
        for path in order.sample(sorted(files), len(files)):
            put(world, path, files[path])
            world.sync()
            if order.random() < 0.4:
                compact(world.ledger)
        before, booked = world.records(), world.booked()
        compact(world.ledger)
        assert world.records() == before
        assert world.booked() == booked == cold(files)
