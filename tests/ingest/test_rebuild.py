"""A lost manifest is noticed, costs nothing, and is made again from the segments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import World, claude
from tokenledger_dagster.home import SAMPLE_HOME, Home, ensure_home
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.manifest import ManifestError, connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.ingest.sync import SyncOptions, sync

BOOKED = """
SELECT e.event_id, s.session_id, s.project, e.timestamp_us, m.model_raw, e.input_tokens, e.output_tokens,
    e.cache_read_tokens, e.cache_write_tokens, e.list_price_nano, e.booking_flags
FROM events e JOIN sessions s USING (session_no) JOIN models m USING (model_no) ORDER BY e.event_id
"""
VERDICTS = """
SELECT r.rid, e.event_id, r.rule FROM records r LEFT JOIN events e USING (event_no) ORDER BY r.rid
"""
ENVIRON = {"HOME": str(SAMPLE_HOME)}


def state(home: Home) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    settle(home)
    connection = connect(home, read_only=True)
    try:
        return connection.execute(BOOKED).fetchall(), connection.execute(VERDICTS).fetchall()
    finally:
        connection.close()


def lose_manifest(home: Home) -> None:
    for path in home.lake.glob("manifest.sqlite*"):
        path.unlink()


@pytest.mark.parametrize("compacted", [False, True], ids=["from journals", "from parquet"])
def test_the_booked_state_is_the_same_again(tmp_path: Path, compacted: bool) -> None:
    home = ensure_home(tmp_path / "ledger", "test")
    sync(home, ENVIRON, SyncOptions())
    if compacted:
        compact(home)
    before = state(home)
    lose_manifest(home)

    # without the logs: nothing but the segments tells
    sync(home, {"HOME": str(tmp_path)}, SyncOptions(full=True))

    assert state(home) == before
    assert len(before[0]) == 95


def test_logs_that_are_still_there_add_nothing(tmp_path: Path) -> None:
    home = ensure_home(tmp_path / "ledger", "test")
    sync(home, ENVIRON, SyncOptions())
    before = state(home)
    lose_manifest(home)

    summary = sync(home, ENVIRON, SyncOptions(full=True))

    assert (summary.ledger["events"], summary.ledger["duplicates"]) == (95, 39)
    assert state(home) == before
    assert sync(home, ENVIRON, SyncOptions()).sources.unchanged == 32


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_without_asking_nothing_is_done(tmp_path: Path, damage: str) -> None:
    world = World(tmp_path)
    world.claude(claude("m1", "r1")).touch()
    world.sync()
    segments = sorted(world.ledger.journal.iterdir())
    lose_manifest(world.ledger)
    if damage == "empty":
        world.ledger.manifest_path.touch()

    for _ in range(2):
        with pytest.raises(ManifestError, match="sync --full"):
            world.sync()
    with pytest.raises(ManifestError, match="sync --full"):
        compact(world.ledger)

    assert sorted(world.ledger.journal.iterdir()) == segments


def test_a_manifest_of_an_older_version_is_made_anew_from_the_lake(tmp_path: Path) -> None:
    home = ensure_home(tmp_path / "ledger", "test")
    sync(home, ENVIRON, SyncOptions())
    before = state(home)
    connection = connect(home)
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'manifest_version'")
    connection.close()
    with pytest.raises(ManifestError, match="run `tokenledger sync`"):
        connect(home, read_only=True)

    summary = sync(home, ENVIRON, SyncOptions())

    old = home.lake / "manifest.v1.sqlite"
    assert old.exists()
    assert [str(old) in problem for problem in summary.problems] == [True]
    assert state(home) == before
    assert sync(home, ENVIRON, SyncOptions()).problems == []


def test_a_full_sync_books_anew_also_where_no_log_has_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude("m1", "r1", input=10))
    world.sync()
    before = world.booked()
    connection = connect(world.ledger)
    connection.execute("UPDATE events SET input_tokens = 999")
    connection.close()

    world.sync(full=True)

    assert world.booked() == before
