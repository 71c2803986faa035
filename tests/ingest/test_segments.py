"""Records are durable in hashed segments: journals first, Parquet after compaction, the same rows in both."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest

from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.ingest import compaction, folding, segments
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.lake import attach


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(world: World, syncs: int = 3) -> None:
    """That many syncs, each with news of both clients, over two months."""
    for number in range(syncs):
        world.append(
            world.claude_path() if number else world.claude(),
            claude(f"m{number}", f"r{number}", minutes=number * 10_000, output=number + 1, costUSD=0.25),
            claude(f"m{number}", f"r{number}", minutes=number * 10_000, output=1),
        )
        world.append(
            world.codex_path() if number else world.codex(meta(), turn()),
            tokens((100 * (number + 1), 0, 1), minutes=number * 10_000),
        )
        world.sync()


def listed(world: World) -> list[tuple[str, str, int]]:
    return world.query("SELECT name, format, row_count FROM segments ORDER BY name")


def test_every_sync_with_news_writes_one_journal(world: World) -> None:
    fill(world, 3)

    assert [(kind, rows) for _, kind, rows in listed(world)] == [("journal", 3)] * 3
    assert world.files() == [name for name, _, _ in listed(world)]


def test_a_segments_hash_is_that_of_its_file(world: World) -> None:
    fill(world, 2)
    compact(world.ledger)
    fill(world, 1)
    for name, digest, size in world.query("SELECT name, sha256, bytes FROM segments"):
        data = (world.ledger.lake / name).read_bytes()

        assert hashlib.sha256(data).hexdigest() == digest
        assert len(data) == size


def test_compaction_keeps_every_record_as_it_was(world: World) -> None:
    fill(world, 4)
    before, booked = world.records(), world.booked()
    result = compact(world.ledger)

    assert (result.journals, result.rows) == (4, 12)
    assert {kind for _, kind, _ in listed(world)} == {"parquet"}
    assert world.files() == [name for name, _, _ in listed(world)]
    assert world.records() == before
    assert world.booked() == booked


def test_segments_are_kept_by_client_and_month(world: World) -> None:
    fill(world, 4)
    compact(world.ledger)

    assert {name.rpartition("/")[0] for name, _, _ in listed(world)} == {
        "records/client=claude-code/month=2026-02",
        "records/client=claude-code/month=2026-03",
        "records/client=codex/month=2026-02",
        "records/client=codex/month=2026-03",
    }


def test_compacting_twice_changes_nothing(world: World) -> None:
    fill(world, 2)
    compact(world.ledger)
    before = listed(world)
    result = compact(world.ledger)

    assert (result.journals, result.segments_written) == (0, 0)
    assert listed(world) == before


def test_many_small_parquet_files_of_a_partition_become_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MERGE_FILES", 2)
    path = world.claude()
    for number in range(4):
        world.append(path, claude(f"m{number}", f"r{number}", minutes=number))
        world.sync()
        compact(world.ledger)

    assert [(kind, rows) for _, kind, rows in listed(world)] in ([("parquet", 4)], [("parquet", 3), ("parquet", 1)])
    assert [record["message_id"] for record in world.records()] == ["m0", "m1", "m2", "m3"]


def test_thousands_of_polls_do_not_make_thousands_of_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "FOLD_ABOVE", 4)
    path = world.claude()
    for number in range(20):
        world.append(path, claude(f"m{number}", f"r{number}", minutes=number))
        world.sync()

    assert len(world.files()) <= 5
    assert [record["message_id"] for record in world.records()] == [f"m{number}" for number in range(20)]
    compact(world.ledger)
    assert len(world.records()) == 20


def test_a_damaged_journal_stops_compaction_and_nothing_is_changed(world: World) -> None:
    fill(world, 2)
    before = listed(world)
    name = before[0][0]
    path = world.ledger.lake / name
    path.write_bytes(path.read_bytes().replace(b"s1", b"s2"))

    with pytest.raises(SegmentDamagedError) as raised:
        compact(world.ledger)

    assert str(path) in str(raised.value)
    assert "restore" in str(raised.value)
    assert listed(world) == before


def test_a_missing_journal_is_named(world: World) -> None:
    fill(world, 1)
    path = world.ledger.lake / listed(world)[0][0]
    path.unlink()

    with pytest.raises(SegmentDamagedError, match=path.name):
        compact(world.ledger)


def test_files_no_commit_knows_are_put_aside(world: World) -> None:
    fill(world, 1)
    known = world.files()
    for orphan in (world.ledger.journal / "000-orphan.jsonl", world.ledger.records / "client=x" / "orphan.parquet"):
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"left behind")
    world.sync()

    assert world.files() == known
    aside = sorted(path.name for path in (world.ledger.lake / "orphaned").iterdir())
    assert aside == ["journal_000-orphan.jsonl", "records_client=x_orphan.parquet"]


def test_a_reader_sees_the_state_of_one_commit(world: World) -> None:
    fill(world, 1)
    connection = duckdb.connect()
    attach(connection, world.ledger)
    fill(world, 1)
    try:
        assert connection.execute("SELECT count(*) FROM lake_records").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM booking_events").fetchone() == (2,)
    finally:
        connection.close()


def test_every_record_has_a_verdict_and_evidence(world: World) -> None:
    fill(world, 2)
    records = world.records()

    assert len(records) == 6
    assert {record["client"] for record in records} == {"claude-code", "codex"}
    for record in records:
        data = Path(record["source_path"]).read_bytes()
        piece = data[record["byte_offset"] : record["byte_offset"] + record["byte_length"]]
        assert hashlib.sha256(piece).hexdigest() == record["record_sha256"]
    assert world.query("SELECT count(*) FROM records WHERE event_no IS NULL AND rule IS NULL") == [(0,)]


def test_a_first_sync_killed_between_segment_and_commit_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude(claude("m1", "r1"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(segments, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            world.sync()
    assert len(world.files()) == 1

    world.sync()
    assert [record["message_id"] for record in world.records()] == ["m1"]
