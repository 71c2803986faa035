"""Sources and streams in the manifest: what a scan tells of its file.

Here: the rows of ``sources``, ``streams``, ``skips`` and ``quarantine``.  Not here: records or booking.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import NamedTuple

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest import families, journal
from tokenledger_dagster.ingest.plan import Task
from tokenledger_dagster.ingest.scan import Scanned


class Result(NamedTuple):
    """A task with what its scan found, and how its root was found."""

    task: Task
    scanned: Scanned
    origin: str


class Place(NamedTuple):
    """The stream that a scan's records belong to."""

    stream_no: int
    source_no: int
    invalidated: bool
    """True where the file was rewritten, so that its records begin a new stream."""


_SOURCE = (
    "path, relative, origin, status, device, inode, size, mtime_ns, ctime_ns, encoding, head_hash, head_length, "
    "read_offset, tail_hash, tail_length, stream_no, chain, chain_parts, carry, last_seen_us"
)
_INSERT_SOURCE = (
    f"INSERT INTO sources (source_no, source_id, client, first_seen_us, {_SOURCE}) "
    f"VALUES ({', '.join('?' * (4 + len(_SOURCE.split(','))))})"
)
_UPDATE_SOURCE = f"UPDATE sources SET {', '.join(f'{name} = ?' for name in _SOURCE.split(', '))} WHERE source_no = ?"


def place(connection: sqlite3.Connection, result: Result, now_us: int) -> Place | None:
    """Updates a file's source row, and finds or makes its stream; None where what was read before stands."""
    task, scanned = result.task, result.scanned
    known, file = task.known, task.file
    invalidated = False
    if known is None:
        source_no = connection.execute("SELECT coalesce(max(source_no), 0) + 1 FROM sources").fetchone()[0]
        stream_no = _new_stream(connection, source_no, 1, result)
    else:
        source_no, stream_no = known.source_no, known.stream_no
        if task.action in ("reread", "reparse"):
            if task.action == "reread" and (scanned.continues or not known.chain_parts):
                connection.execute("DELETE FROM skips WHERE stream_no = ?", (stream_no,))
            elif scanned.error is None:
                invalidated = True
                stream_no = _next_stream(connection, source_no, result)
            else:
                return None  # unreadable now: what was read of it before stands
    position = scanned.position
    row = (
        file.shown,
        file.relative,
        result.origin,
        "present",
        file.device,
        file.inode,
        file.size,
        # what could not be read must not look unchanged the next time
        file.mtime_ns if scanned.error is None else -1,
        file.ctime_ns,
        scanned.encoding,
        position.head_hash,
        position.head_length,
        position.offset,
        position.tail_hash,
        position.tail_length,
        stream_no,
        scanned.chain.digest,
        ",".join(map(str, scanned.chain.parts)),
        scanned.carry,
        now_us,
    )
    if known is None:
        connection.execute(_INSERT_SOURCE, (source_no, _source_id(connection, file), file.client, now_us, *row))
    else:
        connection.execute(_UPDATE_SOURCE, (*row, source_no))
    _store_skips(connection, stream_no, scanned)
    if scanned.lineage is not None:
        families.set_lineage(connection, stream_no, scanned.lineage)
    return Place(stream_no, source_no, invalidated)


def _source_id(connection: sqlite3.Connection, file: SourceFile) -> str:
    # by where it was first seen, not by what: how much of a live file a first sync reads is chance
    base = f"{file.client}\x00{file.relative}".encode()
    twin = 0
    while True:  # equal copies of a file are sources of their own
        found = hashlib.blake2b(base + (b"" if not twin else str(twin).encode()), digest_size=12).hexdigest()
        if not connection.execute("SELECT 1 FROM sources WHERE source_id = ?", (found,)).fetchone():
            return found
        twin += 1


def _next_stream(connection: sqlite3.Connection, source_no: int, result: Result) -> int:
    query = "SELECT max(generation) + 1 FROM streams WHERE source_no = ?"
    return _new_stream(connection, source_no, connection.execute(query, (source_no,)).fetchone()[0], result)


def _new_stream(connection: sqlite3.Connection, source_no: int, generation: int, result: Result) -> int:
    file, lineage = result.task.file, result.scanned.lineage
    parser = clients()[file.client].parser_version
    cursor = connection.execute(
        "INSERT INTO streams (source_no, generation, client, stem, parser_version, archived, subagent, session, "
        "copied_rule, lineage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '[]')",
        (
            source_no,
            generation,
            file.client,
            file.stem,
            parser,
            int(file.archived),
            int(file.subagent),
            lineage.session if lineage else None,
            lineage.copied_rule if lineage else "",
        ),
    )
    return int(cursor.lastrowid or 0)


def _store_skips(connection: sqlite3.Connection, stream_no: int, scanned: Scanned) -> None:
    connection.executemany(
        "INSERT INTO skips VALUES (?, ?, ?) ON CONFLICT (stream_no, reason) "
        "DO UPDATE SET row_count = row_count + excluded.row_count",
        ((stream_no, reason, count) for reason, count in scanned.skipped.items()),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?)",
        ((stream_no, bad.byte_offset, bad.byte_length, bad.record_sha256, bad.reason) for bad in scanned.bad),
    )


def head_of(connection: sqlite3.Connection, stream_no: int) -> journal.StreamHead:
    """What all records of a stream share."""
    client, source_id, path, generation, parser, encoding = connection.execute(
        "SELECT o.client, o.source_id, o.path, s.generation, s.parser_version, o.encoding "
        "FROM streams s JOIN sources o USING (source_no) WHERE s.stream_no = ?",
        (stream_no,),
    ).fetchone()
    return journal.StreamHead(client, source_id, path, generation, parser, encoding)
