"""What a file tells alone is what general booking makes of its rows: settling changes no sum."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from tests.support import World, claude, claude_progress, meta, rollout, spawned_by, tokens, turn
from tokenledger_dagster.ingest import booking_key
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.manifest import connect, get_meta
from tokenledger_dagster.ingest.settling import has_packs, settle

NINE = 1_968_228
"""Quarter hour at which the day's work starts."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def slots(world: World) -> list[tuple[int, str, int, int, int, int]]:
    """(quarter hours after nine, session, events, input, output, reasoning)."""
    query = (
        "SELECT slot - ?, session_id, event_count, input_tokens, output_tokens, reasoning_tokens "
        "FROM slots JOIN sessions USING (session_no) ORDER BY 1, 2"
    )
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return manifest.execute(query, (NINE,)).fetchall()


def packed(world: World) -> bool:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return has_packs(manifest)


def same_settled(world: World) -> list[tuple[int, str, int, int, int, int]]:
    """The sums, which must be those of packs before and those of events after settling."""
    assert packed(world)
    before = slots(world)
    settle(world.ledger)
    assert not packed(world)
    assert slots(world) == before
    return before


def test_a_row_of_a_spawned_thread_whose_counters_are_clamped(world: World) -> None:
    world.codex(meta(source=spawned_by("t0")), turn(), tokens((10, 0, 2, 5), (10, 0, 2, 5), minutes=5))
    world.sync()

    assert same_settled(world) == [(0, "t1", 1, 10, 2, 2)]


def test_a_barred_row_that_shows_the_total_earlier_lends_no_time(world: World) -> None:
    first = tokens((100, 0, 10), (100, 0, 10))
    lower, billed = tokens((50, 0, 5), minutes=1), tokens((50, 0, 5), (5, 0, 1), minutes=60)
    world.codex(meta(), turn(), first, lower, billed)
    world.sync()

    assert same_settled(world) == [(0, "t1", 1, 100, 10, 0), (4, "t1", 1, 5, 1, 0)]


@pytest.mark.parametrize("order", [("t1", "t2"), ("t2", "t1")])
def test_a_fork_of_a_spawned_thread_shows_its_parents_burst(world: World, order: tuple[str, str]) -> None:
    burst = tokens((100, 0, 10), (100, 0, 10), minutes=30)
    rows = {
        "t1": [meta("t1", 30, source=spawned_by("t0")), turn(), burst, tokens((200, 0, 20), minutes=45)],
        "t2": [meta("t2", 60, forked_from_id="t1"), turn(), {**burst, "timestamp": meta(minutes=60)["timestamp"]}],
    }
    for name in order:
        world.codex(*rows[name], name=rollout(name))
        world.sync()

    assert same_settled(world) == [(3, "t1", 1, 100, 10, 0), (4, "t1", 1, 100, 10, 0)]


def test_a_progress_row_gives_way_to_the_message_it_repeats(world: World) -> None:
    direct = claude("m1", "r1", output=9, sidechain=True)
    world.claude(claude_progress(claude("m1", "r1", output=2)), claude("m2", "r2", minutes=20))
    world.sync()
    assert slots(world) == [(0, "s1", 1, 10, 2, 0), (1, "s1", 1, 10, 5, 0)]
    world.claude(direct, name="-home-ada-code-tidepool/s1/subagents/agent-a1.jsonl")
    world.sync()

    assert same_settled(world) == [(0, "s1", 1, 10, 9, 0), (1, "s1", 1, 10, 5, 0)]


def test_a_resume_that_says_more_is_counted_instead(world: World) -> None:
    world.claude(claude("m1", "r1", output=5), claude("m2", "r2", minutes=20))
    world.sync()
    world.claude(
        claude("m1", "r1", output=7, session="s2"), claude("m3", "r3", minutes=40, session="s2"), name="s2.jsonl"
    )
    world.sync()

    assert same_settled(world) == [(0, "s1", 1, 10, 7, 0), (1, "s1", 1, 10, 5, 0), (2, "s2", 1, 10, 5, 0)]


def test_settling_twice_does_nothing(world: World) -> None:
    world.claude(claude())
    world.sync()
    settle(world.ledger)
    changed = world.ledger.manifest_path.stat().st_mtime_ns
    settle(world.ledger)

    assert world.ledger.manifest_path.stat().st_mtime_ns == changed


def test_settling_at_other_prices_than_were_booked_books_everything_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude(claude("m1", "r1", input=1_000_000), claude("m2", "r2", minutes=1))
    world.sync()
    monkeypatch.setattr(booking_key, "BOOKING_VERSION", "another")
    settle(world.ledger)

    with closing(connect(world.ledger, read_only=True)) as manifest:
        ((cells, nano),) = manifest.execute("SELECT sum(event_count), sum(list_price_nano) FROM cells").fetchall()
        booked = manifest.execute("SELECT count(*), sum(list_price_nano) FROM events").fetchall()
        assert get_meta(manifest, "booking_key") == booking_key.booking_key()
    assert booked == [(cells, nano)] == [(2, nano)]


def test_a_pack_whose_bytes_changed_is_not_booked(world: World) -> None:
    path = world.claude(claude("m1", "r1", input=101), claude("m2", "r2", minutes=1))
    world.sync()
    (journal,) = world.ledger.journal.glob("*.jsonl")
    written = journal.read_bytes()
    journal.write_bytes(written.replace(b"[101,", b"[901,"))

    with pytest.raises(SegmentDamagedError, match=re.escape(str(journal))):
        settle(world.ledger)
    for manifest in world.ledger.lake.glob("manifest.sqlite*"):
        manifest.unlink()
    with pytest.raises(SegmentDamagedError, match="restore the file from a backup"):
        world.sync(full=True)

    journal.write_bytes(written)
    world.sync(full=True)
    assert sorted(event.input for event in world.events()) == [10, 101]
    assert path.exists()


def test_two_messages_whose_keys_are_equal_by_chance_are_two(world: World) -> None:
    # equal CRC-32, found by search
    one, other = "msg_01plumless", "msg_01buckeroo"
    assert crc32(b"plumless") == crc32(b"buckeroo")
    world.claude(claude(one, "r1", output=10), name="a.jsonl")
    world.claude(claude_progress(claude(other, "r1", output=20)), name="b.jsonl")
    world.sync()

    assert sorted(event.output for event in world.events()) == [10, 20]
