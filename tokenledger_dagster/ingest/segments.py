"""Segments as the manifest lists them: which files hold the records, and how one set of files replaces another.

Here: listing, recording, verifying, swapping and sweeping.  Not here: what is inside a segment (``ingest.journal`` for
journals, ``ingest.compaction`` for Parquet).
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import journal
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.manifest import ManifestError, get_meta, transaction

_KEEP_RETIRED_US = 900_000_000
"""Quarter of an hour: no reader of the lake takes longer."""


_RIDS = re.compile(r"\d{12}-(\d{12})-")


class SegmentRow(msgspec.Struct, frozen=True):
    """A segment as the manifest lists it."""

    name: str
    format: str
    sha256: str
    bytes: int
    row_count: int
    first_rid: int
    last_rid: int
    created_us: int


def segments(connection: sqlite3.Connection) -> list[SegmentRow]:
    """Every committed segment, by first record."""
    columns = ", ".join(SegmentRow.__struct_fields__)
    return [SegmentRow(*row) for row in connection.execute(f"SELECT {columns} FROM segments ORDER BY first_rid, name")]


def record(connection: sqlite3.Connection, segment: journal.Segment, kind: str, now_us: int) -> None:
    """Makes a written segment part of the ledger; call inside a transaction."""
    connection.execute(
        "INSERT INTO segments (name, format, sha256, bytes, row_count, first_rid, last_rid, created_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (segment.name, kind, *msgspec.structs.astuple(segment)[1:], now_us),
    )


def verify(home: Home, segment: SegmentRow) -> None:
    """Raises SegmentDamagedError unless the segment's file is there with the recorded bytes."""
    path = home.lake / segment.name
    try:
        found = journal.sha256_of(path)
    except OSError as error:
        raise SegmentDamagedError(f"{path}: {error.strerror or error}; restore the file from a backup") from error
    if found != segment.sha256:
        raise SegmentDamagedError(
            f"{path}: its bytes are not those that were recorded ({found[:12]} instead of {segment.sha256[:12]}); "
            "restore the file from a backup; records of logs that are gone stand nowhere else"
        )


def swap(
    home: Home,
    connection: sqlite3.Connection,
    old: Sequence[SegmentRow],
    new: Sequence[journal.Segment],
    kind: str,
    moved: Mapping[str, tuple[str, int]] = MappingProxyType({}),
) -> None:
    """Replaces ``old`` by the written ``new`` in one transaction, then deletes old journals.

    ``moved`` says which segment holds the bytes of an old one now, and from where on.

    Old Parquet files are left for readers that have them open; a later ``sweep`` removes them.

    Raises SegmentDamagedError, changing nothing, when the number of records would change.
    """
    if sum(one.row_count for one in new) != sum(one.row_count for one in old):
        raise SegmentDamagedError(
            f"{home.lake}: swapping segments would change the number of records; nothing was done"
        )
    now_us = time.time_ns() // 1000
    with transaction(connection):
        connection.executemany("DELETE FROM segments WHERE name = ?", ((one.name,) for one in old))
        for one in new:
            record(connection, one, kind, now_us)
        connection.executemany(
            "UPDATE packs SET segment = ?, place = place + ? WHERE segment = ?",
            ((*place, name) for name, place in moved.items()),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO retired VALUES (?, ?)",
            # readers copy journals whole, so only Parquet files may still be wanted
            ((one.name, now_us if one.format == "parquet" else 0) for one in old),
        )
    kept = {one.name for one in new}
    for row in old:
        if row.format == "journal" and row.name not in kept:
            (home.lake / row.name).unlink(missing_ok=True)


def join_journals(home: Home, connection: sqlite3.Connection, old: Sequence[SegmentRow]) -> int:
    """Joins journals into one; returns how many.  Raises SegmentDamagedError where one is not as it was written."""
    for one in old:
        verify(home, one)
    parts = [journal.Segment(o.name, o.sha256, o.bytes, o.row_count, o.first_rid, o.last_rid) for o in old]
    joined, starts = journal.fold(home.lake, parts)
    moved = {one.name: (joined.name, start) for one, start in zip(old, starts, strict=True)}
    swap(home, connection, old, [joined], "journal", moved)
    return len(old)


def is_lost(home: Home, connection: sqlite3.Connection) -> bool:
    """Whether the manifest knows of nothing while the lake holds segments of earlier commits."""
    if connection.execute("SELECT 1 FROM sources LIMIT 1").fetchone():
        return False
    if get_meta(connection, "booking_key") is not None:
        return False  # a first sync was killed between its segment and its commit
    return any(path.is_file() for folder in (home.journal, home.records) for path in folder.rglob("[!.]*.*"))


def require_manifest(home: Home, connection: sqlite3.Connection) -> None:
    """Raises ManifestError where the manifest was lost, so that nobody mistakes a full lake for an empty ledger."""
    if is_lost(home, connection):
        raise ManifestError(
            f"{home.manifest_path} is new or empty, but {home.lake} holds segments; restore it from a backup, or run "
            "`tokenledger sync --full` to make it again from them"
        )


def sweep(home: Home, connection: sqlite3.Connection) -> list[str]:
    """Puts segment files aside that no committed transaction names; returns their names.

    They are what a kill left between a file and its commit, or newer than a manifest that was restored: the first are
    read again from the logs, the second may stand nowhere else, so neither is deleted.  What is deleted: segments that
    a merge replaced, once their readers are done, and files that hold only records known already.  Raises
    ManifestError where the manifest was lost.
    """
    require_manifest(home, connection)
    since = time.time_ns() // 1000 - _KEEP_RETIRED_US
    expired = {name for (name,) in connection.execute("SELECT name FROM retired WHERE retired_us < ?", (since,))}
    known = {name for (name,) in connection.execute("SELECT name FROM segments UNION SELECT name FROM retired")}
    last_rid = connection.execute("SELECT coalesce(max(last_rid), 0) FROM stream_runs").fetchone()[0]
    swept = []
    for folder in (home.journal, home.records):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            name = path.relative_to(home.lake).as_posix()
            if not path.is_file() or name in known - expired:
                continue
            rids = _RIDS.match(path.name)
            repeated = rids is not None and int(rids[1]) <= last_rid
            if name in expired or repeated or path.name.startswith("."):  # the last are half written
                path.unlink(missing_ok=True)
            else:
                aside = home.lake / "orphaned" / name.replace("/", "_")
                aside.parent.mkdir(exist_ok=True)
                path.replace(aside)
            swept.append(name)
    connection.executemany("DELETE FROM retired WHERE name = ?", ((name,) for name in expired))
    return swept


def absent(home: Home, connection: sqlite3.Connection) -> list[str]:
    """Segment files that are not there, or not of the recorded size; their bytes are ``verify``'s business."""
    found = []
    for segment in segments(connection):
        path = home.lake / segment.name
        try:
            if path.stat().st_size == segment.bytes:
                continue
        except OSError:
            pass
        found.append(str(path))
    return found
