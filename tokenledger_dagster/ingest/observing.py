"""One look at a source that is rewritten in place: a JSON document, or another program's SQLite database.

Here: the scan of files that are not read line by line (``clients.base.Shape``).  Not here: what their parts mean (each
client), or lines (``ingest.scan``).  What earlier looks have seen is the reader's carry, so each look adds what is new.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenledger_dagster.clients import databases, packed
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Sink, SourceFile
from tokenledger_dagster.clients.memory import without_marks
from tokenledger_dagster.clients.pack import evidence
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest import reading
from tokenledger_dagster.ingest.scan import FOREIGN, Scanned, Start, extended, notes_of
from tokenledger_dagster.ingest.trouble import is_lasting, told

DOCUMENT_BYTES = 1 << 30
"""A document is held in memory; a larger one is told and left alone."""


def observe(file: SourceFile, start: Start, context: Mapping[str, str], now_us: int) -> Scanned:
    """Looks at ``file``; what cannot be read ends in ``error``, and whatever was seen before stands."""
    sink = Sink(now_us, start.chain.length)
    reader = clients()[file.client].reader(file, start.carry, sink, context)
    look = _document if file.shape == "document" else _database
    encoding, size, whole = "plain", 0, False
    trouble: Exception | None = None
    if not _fits(reader, file.shape):  # a file that somebody added, which the client never writes
        sink.skipped["no_log_of_the_client"] += 1
        sink.problems.append(FOREIGN.format(client=file.client))
    else:
        try:
            encoding, size, whole = look(file, reader, sink)  # type: ignore[arg-type]
        except Exception as problem:  # whatever it is, the other files are read
            trouble = problem
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
        carry=reader.carry() if trouble is None else without_marks(reader.carry()) or b"",
        chain=extended(start.chain, *rows),
        continues=False,
        lineage=None,
        bytes_read=size,
        error=told(trouble) if trouble is not None else None,
        is_lasting=trouble is not None and is_lasting(trouble),
        problems=sink.problems,
        whole=whole,
    )


def _document(file: SourceFile, reader: DocumentReader, sink: Sink) -> tuple[str, int, bool]:
    with packed.opened_as_told(file.path) as (handle, encoding):
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


def _fits(reader: object, shape: str) -> bool:
    """Whether the reader takes files of this shape; only a database's reader counts the bytes it looked at."""
    return hasattr(reader, "read") and hasattr(reader, "bytes_read") == (shape == "database")
