"""One look at a source that is rewritten in place: a JSON document, or another program's SQLite database.

Here: the scan of files that are not read line by line (``clients.base.Shape``).  Not here: what their parts mean (each
client), or lines (``ingest.scan``).  What earlier looks have seen is the reader's carry, so each look adds what is new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from tokenledger_dagster.clients import databases
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Sink, SourceFile
from tokenledger_dagster.clients.memory import without_marks
from tokenledger_dagster.clients.pack import evidence
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest import reading
from tokenledger_dagster.ingest.scan import Scanned, Start, extended, notes_of

DOCUMENT_BYTES = 1 << 30
"""A document is held in memory; a larger one is told and left alone."""


def observe(file: SourceFile, start: Start, context: Mapping[str, str], now_us: int) -> Scanned:
    """Looks at ``file``; what cannot be read ends in ``error``, and whatever was seen before stands."""
    sink = Sink(now_us, start.chain.length)
    reader = clients()[file.client].reader(file, start.carry, sink, context)
    look = _document if file.shape == "document" else _database
    encoding, size, whole, error = "plain", 0, False, None
    if not hasattr(reader, "read"):  # a file that somebody added, which the client never writes
        sink.skipped["no_log_of_the_client"] += 1
        sink.problems.append(f"is no file that {file.client} writes; remove it, or name the client whose log it is")
    else:
        try:
            encoding, size, whole = look(file, reader, sink)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError, sqlite3.Error) as problem:
            error = _told(problem)
            sink.skipped["unreadable_file"] += 1
    rows = evidence([], sink.records)
    return Scanned(
        records=sink.records,
        packs=[],
        sessions=notes_of(sink.records),
        skipped=dict(sink.skipped),
        bad=sink.bad,
        position=reading.Position(size, "", 0, "", 0, 0),
        encoding=encoding,
        # what was looked at before the error is known; the rest is looked for again from the beginning
        carry=reader.carry() if error is None else without_marks(reader.carry()) or b"",
        chain=extended(start.chain, *rows),
        continues=False,
        lineage=None,
        bytes_read=size,
        error=error,
        problems=sink.problems,
        whole=whole,
    )


def _document(file: SourceFile, reader: DocumentReader, sink: Sink) -> tuple[str, int, bool]:
    with reading.opened_as_told(file.path) as (handle, encoding):
        data = handle.read(DOCUMENT_BYTES + 1)
        while part := handle.read(1 << 20):
            data += part
            if len(data) > DOCUMENT_BYTES:
                break
    if len(data) > DOCUMENT_BYTES:
        sink.quarantine(b"", 0, "document_too_large")
        return encoding, 0, True
    reader.read(data)
    return encoding, len(data), True


def _database(file: SourceFile, reader: DatabaseReader, sink: Sink) -> tuple[str, int, bool]:
    with databases.opened(file.path) as connection:
        reader.read(connection)
    return "sqlite", reader.bytes_read, reader.whole


def _told(problem: Exception) -> str:
    if isinstance(problem, sqlite3.Error):
        return f"the database cannot be read ({problem}); the next sync tries again"[:200]
    return f"{type(problem).__name__}: {problem}"[:200]
