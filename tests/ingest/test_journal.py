"""Journals hold single records and packs of them, stay readable, and keep their packs in reach when they are folded."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import Booked, World, claude, meta, tokens, turn
from tokenledger_dagster.clients.claude_pack import ClaudePackFormat
from tokenledger_dagster.ingest import folding
from tokenledger_dagster.ingest.journal import SegmentDamagedError, read_segment
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(world: World, syncs: int) -> None:
    """That many syncs, each with rows that are packed, and one that is not."""
    for number in range(syncs):
        world.append(
            world.claude_path() if number else world.claude(),
            claude(f"m{number}", f"r{number}", output=2, minutes=number),
            claude(f"m{number}", f"r{number}", output=number + 3, minutes=number),
            claude(f"odd{number}", f"odd{number}", input="7", minutes=number),
        )
        world.append(world.codex_path() if number else world.codex(meta(), turn()), tokens((100 * (number + 1), 0, 1)))
        world.sync()


def journals(world: World) -> list[Path]:
    return sorted(world.ledger.journal.iterdir())


def packs(world: World) -> list[tuple[Any, ...]]:
    """Without settling anything."""
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return manifest.execute("SELECT segment, place, length, row_count FROM packs ORDER BY first_rid").fetchall()


def numbered(path: Path) -> list[tuple[int, str | None]]:
    return [(line.rid, line.record.message_id) for _, line in read_segment(path)]


def test_a_pack_is_one_line_below_a_header_that_says_so(world: World) -> None:
    world.claude(claude("m1", "r1"), claude("m2", "r2"))
    world.sync()
    (path,) = journals(world)
    header, body = map(json.loads, path.read_bytes().splitlines())

    assert header["schema_version"] == 2
    assert header["pack"] == {"stream": 1, "first_rid": 1, "rows": 2}
    assert list(header["streams"]) == ["1"]
    assert body[0] == ClaudePackFormat.layout
    assert body[8] == [["m1", "r1"], ["m2", "r2"]]
    assert b"done" not in path.read_bytes()


def test_single_records_and_packs_are_read_back_in_the_numbers_they_were_given(world: World) -> None:
    fill(world, 1)
    (path,) = journals(world)

    found = numbered(path)
    assert sorted(found) == [(rid, name) for rid, (_, name) in enumerate(sorted(found), 1)]
    assert sorted(str(name) for _, name in found) == ["None", "m0", "m0", "odd0"]


def test_the_manifest_knows_where_each_pack_lies(world: World) -> None:
    fill(world, 2)

    assert len(packs(world)) == 4
    for segment, place, length, rows in packs(world):
        data = (world.ledger.lake / segment).read_bytes()
        assert data[place + length : place + length + 1] == b"\n"
        assert len(json.loads(data[place : place + length])[1]) == rows


def test_packs_are_found_in_folded_journals(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folding, "FOLD_ABOVE", 3)
    monkeypatch.setattr(folding, "_SMALL_PACK", 0)  # packs stay packs
    fill(world, 6)
    assert len(journals(world)) < 6
    for segment, place, length, rows in packs(world):
        body = (world.ledger.lake / segment).read_bytes()[place : place + length]
        assert len(json.loads(body)[1]) == rows

    # a resume shows requests of every pack again: they are expanded from the folded journal
    copies = [claude(f"m{number}", f"r{number}", output=99, minutes=number, session="s2") for number in range(6)]
    world.claude(*copies, name="s2.jsonl")
    world.sync()
    whole = World(tmp_path / "whole")
    whole.environ = world.environ
    whole.sync()

    assert world.booked() == whole.booked()
    assert sum(event.output for event in world.events() if event.client == "claude-code") == 6 * 99 + 6 * 5


def test_a_ledger_of_packs_is_made_again_from_its_journals(world: World) -> None:
    fill(world, 3)
    before = _with_manifest_lost(world)

    assert world.booked() == before
    assert world.sync().emitted_total == 0
    assert world.booked() == before


def _with_manifest_lost(world: World) -> Booked:
    # by a ledger of its own, so that the journals are those of packs that were never settled
    twin = World(world.ledger.root.parent / "twin")
    twin.environ = world.environ
    twin.sync()
    for path in world.ledger.lake.glob("manifest.sqlite*"):
        path.unlink()
    world.sync(full=True)
    return twin.booked()


def test_version_1_had_single_records_only_and_is_still_read(world: World) -> None:
    fill(world, 2)
    records, booked = world.records(), world.booked()
    old = _as_version_1(world)

    assert b'"schema_version":1' in old[0].read_bytes()
    assert b'"pack"' not in b"".join(path.read_bytes() for path in old)
    assert world.records() == records
    assert world.booked() == booked


def test_version_1_is_a_source_of_a_new_manifest_too(world: World) -> None:
    fill(world, 2)
    booked = world.booked()
    _as_version_1(world)
    for path in world.ledger.lake.glob("manifest.sqlite*"):
        path.unlink()

    world.sync(full=True)

    assert world.booked() == booked


def _as_version_1(world: World) -> list[Path]:
    """Writes every journal as the program did before there were packs."""
    settle(world.ledger)
    written = []
    for path in journals(world):
        rows = sorted(read_segment(path), key=lambda row: row[1].rid)
        streams = {str(number): head for header, _ in rows for number, head in header.streams.items()}
        lines = [{"schema_version": 1, "host": rows[0][0].host, "streams": streams}, *(line for _, line in rows)]
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        digest = hashlib.sha256(data).hexdigest()
        old = path.with_name(f"{path.stem.rpartition('-')[0]}-{digest[:12]}.jsonl")
        path.unlink()
        old.write_bytes(data)
        with closing(connect(world.ledger)) as manifest, manifest:
            manifest.execute(
                "UPDATE segments SET name = ?, bytes = ?, sha256 = ? WHERE name = ?",
                (f"journal/{old.name}", len(data), digest, f"journal/{path.name}"),
            )
        written.append(old)
    return written


_DAMAGES = {
    "cut in a pack": lambda data: data[:-40],
    "a pack that is no array": lambda data: data.partition(b"\n")[0] + b"\n5\n",
    "a pack of no known client": lambda data: data.replace(b'"client":"claude-code"', b'"client":"nobody-else"'),
    "a pack of a later layout": lambda data: data.replace(b'"claude-1"', b'"claude-2"'),
    "no header": lambda data: data.partition(b"\n")[2],
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_journal_is_named(world: World, damage: str) -> None:
    world.claude(claude("m1", "r1"))
    world.sync()
    (path,) = journals(world)
    path.write_bytes(_DAMAGES[damage](path.read_bytes()))

    with pytest.raises(SegmentDamagedError, match=path.name):
        list(read_segment(path))


def test_a_damaged_pack_is_named_by_who_asks_for_its_events(world: World) -> None:
    world.claude(claude("m1", "r1"))
    world.sync()
    (path,) = journals(world)
    path.write_bytes(path.read_bytes().replace(b'"claude-1"', b'"claude-1'))

    with pytest.raises(SegmentDamagedError, match=path.name):
        settle(world.ledger)
    assert packs(world) != []
