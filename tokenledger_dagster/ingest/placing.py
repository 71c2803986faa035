"""Sources and streams in the manifest: what a scan tells of its file.

Here: the rows of ``sources``, ``streams``, ``skips`` and ``quarantine``.  Not here: records or booking.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import NamedTuple

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.registry import parser_version
from tokenledger_dagster.ingest import families, journal
from tokenledger_dagster.ingest.plan import Task
from tokenledger_dagster.ingest.scan import NO_USAGE, Scanned


class Result(NamedTuple):
    """A task with what its scan found, and how its root was found."""

    task: Task
    scanned: Scanned
    origin: str


class Place(NamedTuple):
    """The stream that a scan's records belong to."""

    stream_no: int
    head: journal.StreamHead
    invalidated: bool
    """True where the file was rewritten, so that its records begin a new stream."""


_SOURCE = (
    "path, relative, origin, status, device, inode, size, mtime_ns, ctime_ns, encoding, head_hash, head_length, "
    "read_offset, tail_hash, tail_length, stream_no, chain, chain_length, carry, last_seen_us"
)
_INSERT_SOURCE = (
    f"INSERT INTO sources (source_no, source_id, client, first_seen_us, {_SOURCE}) "
    f"VALUES ({', '.join('?' * (4 + len(_SOURCE.split(','))))})"
)
_UPDATE_SOURCE = f"UPDATE sources SET {', '.join(f'{name} = ?' for name in _SOURCE.split(', '))} WHERE source_no = ?"


_INSERT_STREAM = (
    "INSERT INTO streams (stream_no, source_no, generation, client, stem, parser_version, archived, subagent, session, "
    "copied_rule, lineage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]')"
)


class Placing:
    """The sources and streams of one transaction; rows of new files are written together by ``flush``.

    ``ids`` are those of all sources, or none yet: the transactions of one sync share them.
    """

    def __init__(self, connection: sqlite3.Connection, now_us: int, ids: set[str]) -> None:
        self._db = connection
        self._now_us = now_us
        self._source_no = int(connection.execute("SELECT coalesce(max(source_no), 0) FROM sources").fetchone()[0])
        self._stream_no = int(connection.execute("SELECT coalesce(max(stream_no), 0) FROM streams").fetchone()[0])
        self._ids = ids
        self._sources: list[tuple[object, ...]] = []
        self._streams: list[tuple[object, ...]] = []
        self._skips: list[tuple[int, str, int]] = []
        self._bad: list[tuple[object, ...]] = []

    def place(self, result: Result) -> Place | None:
        """Updates a file's source row, and finds or makes its stream; None where what was read before stands."""
        task, scanned = result.task, result.scanned
        known, file = task.known, task.file
        generation, invalidated = 0, False
        if known is None:
            generation, source_no = 1, self._source_no + 1
            self._source_no = source_no
            source_id = self._source_id(file)
        else:
            source_no, source_id = known.source_no, known.source_id
            if task.action in ("reread", "reparse"):
                if task.action == "reread" and (scanned.continues or not known.chain_length):
                    self._db.execute("DELETE FROM skips WHERE stream_no = ?", (known.stream_no,))
                elif scanned.error is None:
                    invalidated = True
                    query = "SELECT max(generation) + 1 FROM streams WHERE source_no = ?"
                    generation = int(self._db.execute(query, (source_no,)).fetchone()[0])
                else:  # unreadable now: what was read of it before stands
                    self._keep(known.source_no, file, scanned)
                    return None
            elif task.action == "observe" and scanned.whole:
                self._db.execute("DELETE FROM skips WHERE stream_no = ?", (known.stream_no,))
        if generation:
            stream_no = self._new_stream(source_no, generation, result)
        elif known is not None:
            stream_no = known.stream_no
            query = "SELECT generation FROM streams WHERE stream_no = ?"
            generation = int(self._db.execute(query, (stream_no,)).fetchone()[0])
            if scanned.lineage is not None:
                families.set_lineage(self._db, stream_no, scanned.lineage)
            if scanned.count:  # a file that held no usage when it was first read
                self._db.execute("DELETE FROM skips WHERE stream_no = ? AND reason = ?", (stream_no, NO_USAGE))
        row = self._row(result, stream_no)
        if known is None:
            self._sources.append((source_no, source_id, file.client, self._now_us, *row))
        else:
            self._db.execute(_UPDATE_SOURCE, (*row, source_no))
        self._skips += ((stream_no, reason, count) for reason, count in scanned.skipped.items())
        for bad in scanned.bad:
            self._bad.append((stream_no, bad.byte_offset, bad.byte_length, bad.record_sha256, bad.reason))
        parser = parser_version(file.client)
        head = journal.StreamHead(file.client, source_id, file.shown, generation, parser, scanned.encoding)
        return Place(stream_no, head, invalidated)

    def _keep(self, source_no: int, file: SourceFile, scanned: Scanned) -> None:
        """Remembers a file that is damaged as it is now, so that it is not opened again before it changes."""
        if scanned.is_lasting:
            query = "UPDATE sources SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE source_no = ?"
            self._db.execute(query, (file.size, file.mtime_ns, file.ctime_ns, file.inode, source_no))

    def flush(self) -> None:
        """Writes what new files added."""
        self._db.executemany(_INSERT_SOURCE, self._sources)
        self._db.executemany(_INSERT_STREAM, self._streams)
        self._db.executemany(
            "INSERT INTO skips VALUES (?, ?, ?) ON CONFLICT (stream_no, reason) "
            "DO UPDATE SET row_count = row_count + excluded.row_count",
            self._skips,
        )
        self._db.executemany("INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?)", self._bad)

    def _row(self, result: Result, stream_no: int) -> tuple[object, ...]:
        """The columns of ``_SOURCE``."""
        file, scanned, position = result.task.file, result.scanned, result.scanned.position
        return (
            file.shown,
            file.relative,
            result.origin,
            "present",
            file.device,
            file.inode,
            file.size,
            # what could not be read must not look unchanged the next time
            file.mtime_ns if scanned.error is None or scanned.is_lasting else -1,
            file.ctime_ns,
            scanned.encoding,
            position.head_hash,
            position.head_length,
            position.offset,
            position.tail_hash,
            position.tail_length,
            stream_no,
            scanned.chain.digest,
            scanned.chain.length,
            scanned.carry,
            self._now_us,
        )

    def _source_id(self, file: SourceFile) -> str:
        # by where it was first seen, not by what: how much of a live file a first sync reads is chance
        if not self._ids:
            self._ids.update(found for (found,) in self._db.execute("SELECT source_id FROM sources"))
        base = f"{file.client}\x00{file.relative}".encode()
        twin = 0
        while True:  # equal copies of a file are sources of their own
            found = hashlib.blake2b(base + (b"" if not twin else str(twin).encode()), digest_size=12).hexdigest()
            if found not in self._ids:
                self._ids.add(found)
                return found
            twin += 1

    def _new_stream(self, source_no: int, generation: int, result: Result) -> int:
        file, lineage = result.task.file, result.scanned.lineage
        parser = parser_version(file.client)
        self._stream_no += 1
        session, rule = (lineage.session, lineage.copied_rule) if lineage else (None, "")
        self._streams.append(
            (
                self._stream_no,
                source_no,
                generation,
                file.client,
                file.stem,
                parser,
                int(file.archived),
                int(file.subagent),
                session,
                rule,
            )
        )
        if lineage is not None and lineage.ancestors:
            families.set_ancestors(self._db, self._stream_no, lineage)
        return self._stream_no
