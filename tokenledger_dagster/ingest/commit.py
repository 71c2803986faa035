"""The commit protocol: scanned records become durable, then known, then booked, or not at all.

Here: one batch of scan results made part of the ledger: journal segment first (written, flushed, renamed), then one
SQLite transaction with the segment's hash, the files' offsets, the records and the booking they cause.  Not here:
scanning, or any booking rule.  A kill at any point leaves an orphan segment at worst; ``segments.sweep`` removes it and
the same bytes are read again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import booking, families, journal, segments
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import transaction
from tokenledger_dagster.ingest.plan import Task
from tokenledger_dagster.ingest.scan import Scanned

_UNTIMED = "timestamp_from_file"


class Result(msgspec.Struct, frozen=True):
    """A task with what its scan found."""

    task: Task
    scanned: Scanned
    origin: str


class BatchCounts(msgspec.Struct):
    """What one batch changed, by client."""

    scanned: Counter[str]
    emitted: Counter[str]
    invalidated: int = 0


class Placed(msgspec.Struct):
    """A stream with the records this batch adds to it."""

    stream_no: int
    source_no: int
    client: str
    records: list[UsageRecord]
    rids: list[int] | None = None
    """Their numbers, where they have some already; ascending."""


class _SessionNote(msgspec.Struct):
    """Earliest row of a session in this batch, and the working folder of the earliest row that has one."""

    first_us: int
    project: tuple[int, str] | None = None


def commit(
    home: Home, connection: sqlite3.Connection, ledger: Ledger, results: Sequence[Result], now_us: int, host: str
) -> BatchCounts:
    """Makes one batch part of the ledger and books it."""
    counts = BatchCounts(Counter(), Counter())
    with transaction(connection):
        # numbers are taken inside the transaction; the segment they name is on the disk before it commits
        placed = [one for result in results if (one := _place(connection, result, now_us, counts)) is not None]
        rows, lines = _number(connection, ledger, placed)
        for one in placed:
            counts.scanned[one.client] += len(one.records)
        if lines:
            segment = journal.write_segment(home.lake, host, _heads(connection, placed), lines)
            segments.record(connection, segment, "journal", now_us)
        ledger.forget_streams()
        touched = families.update(connection, [(one.stream_no, one.client, one.records) for one in placed])
        ledger.forget_streams()
        new = booking.by_group(rows)
        if new or touched:
            counts.emitted.update(_book(ledger, new, touched, rows))
    return counts


def restore(connection: sqlite3.Connection, ledger: Ledger, placed: Sequence[Placed]) -> None:
    """Books records whose segments are listed already, in an empty manifest; call inside a transaction."""
    ledger.forget_streams()
    families.update(connection, [(one.stream_no, one.client, one.records) for one in placed])
    ledger.forget_streams()
    rows, _ = _number(connection, ledger, placed)
    for start in range(0, len(rows), 50_000):
        batch = rows[start : start + 50_000]
        _book(ledger, booking.by_group(batch), set(), batch)


def rebook(connection: sqlite3.Connection, ledger: Ledger, chunk: int = 50_000) -> None:
    """Books everything anew from the stored records, as after a change of prices, names or rules."""
    for table in ("events", "cells", "shared_groups", "session_order", "models"):
        connection.execute(f"DELETE FROM {table}")
    groups = [group for (group,) in connection.execute("SELECT DISTINCT grp FROM records ORDER BY grp")]
    for start in range(0, len(groups), chunk):
        _book(ledger, {}, set(groups[start : start + chunk]), [])


def _book(ledger: Ledger, new: dict[int, list[Copy]], touched: set[int], rows: list[tuple[int, Copy]]) -> Counter[str]:
    booked, orphans, groups = booking.book(ledger, clients(), new, touched)
    return ledger.replace(booked, orphans, groups, rows)


# -------------------------------------------------------------------- sources and streams


def _place(connection: sqlite3.Connection, result: Result, now_us: int, counts: BatchCounts) -> Placed | None:
    """Updates a file's source row, finds or makes its stream, and cuts off records already stored."""
    task, scanned = result.task, result.scanned
    known, file = task.known, task.file
    records, chains = scanned.records, scanned.chains
    if known is None:
        source_no = _new_source(connection, result, now_us)
        stream_no = _new_stream(connection, source_no, 1, result)
    else:
        source_no, stream_no = known.source_no, known.stream_no
        if task.action in ("reread", "reparse"):
            kept = known.chain_length
            if task.action == "reparse" and scanned.error is None:
                counts.invalidated += 1
                stream_no = _next_stream(connection, source_no, result)
            elif kept <= len(chains) and (kept == 0 or chains[kept - 1] == known.chain):
                records = records[kept:]  # the file still begins with all that was stored of it
                connection.execute("DELETE FROM skips WHERE stream_no = ?", (stream_no,))
            elif scanned.error is None:
                counts.invalidated += 1
                stream_no = _next_stream(connection, source_no, result)
            else:
                return None  # unreadable now: what was read of it before stands
    position = scanned.position
    before = known if known is not None and task.action == "tail" else None
    chain_length = len(scanned.records) + (before.chain_length if before else 0)
    chain = chains[-1] if chains else (before.chain if before else "")
    connection.execute(
        "UPDATE sources SET path = ?, relative = ?, origin = ?, status = 'present', device = ?, inode = ?, size = ?, "
        "mtime_ns = ?, ctime_ns = ?, encoding = ?, head_hash = ?, head_length = ?, read_offset = ?, tail_hash = ?, "
        "tail_length = ?, "
        "stream_no = ?, chain = ?, chain_length = ?, carry = ?, last_seen_us = ? WHERE source_no = ?",
        (
            file.shown,
            file.relative,
            result.origin,
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
            chain,
            chain_length,
            scanned.carry,
            now_us,
            source_no,
        ),
    )
    _store_skips(connection, stream_no, scanned)
    if scanned.lineage is not None:
        families.set_lineage(connection, stream_no, scanned.lineage)
    return Placed(stream_no, source_no, file.client, records)


def _new_source(connection: sqlite3.Connection, result: Result, now_us: int) -> int:
    file = result.task.file
    # by where it was first seen, not by what: how much of a live file a first sync reads is chance
    base = f"{file.client}\x00{file.relative}".encode()
    number = connection.execute("SELECT count(*) FROM sources").fetchone()[0]
    for twin in range(number + 2):  # equal copies of a file are sources of their own
        source_id = hashlib.blake2b(base + (b"" if not twin else str(twin).encode()), digest_size=12).hexdigest()
        if not connection.execute("SELECT 1 FROM sources WHERE source_id = ?", (source_id,)).fetchone():
            break
    cursor = connection.execute(
        "INSERT INTO sources (source_id, client, path, relative, origin, status, device, inode, size, mtime_ns, "
        "ctime_ns, encoding, head_hash, head_length, read_offset, tail_hash, tail_length, stream_no, chain, "
        "chain_length, carry, "
        "first_seen_us, last_seen_us) VALUES (?, ?, ?, ?, ?, 'present', 0, 0, 0, 0, 0, '', '', 0, 0, '', 0, 0, '', 0, "
        "x'', ?, ?)",
        (source_id, file.client, file.shown, file.relative, result.origin, now_us, now_us),
    )
    return int(cursor.lastrowid or 0)


def _next_stream(connection: sqlite3.Connection, source_no: int, result: Result) -> int:
    query = "SELECT max(generation) + 1 FROM streams WHERE source_no = ?"
    return _new_stream(connection, source_no, connection.execute(query, (source_no,)).fetchone()[0], result)


def _new_stream(connection: sqlite3.Connection, source_no: int, generation: int, result: Result) -> int:
    file = result.task.file
    parser = clients()[file.client].parser_version
    cursor = connection.execute(
        "INSERT INTO streams (source_no, generation, client, stem, parser_version, archived, subagent, copied_rule, "
        "vectors, lineage) VALUES (?, ?, ?, ?, ?, ?, ?, '', x'', '[]')",
        (source_no, generation, file.client, file.stem, parser, int(file.archived), int(file.subagent)),
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


def _heads(connection: sqlite3.Connection, placed: Sequence[Placed]) -> dict[int, journal.StreamHead]:
    heads = {}
    for one in placed:
        if one.records:
            source_id, path, encoding, generation = connection.execute(
                "SELECT o.source_id, o.path, o.encoding, s.generation FROM streams s JOIN sources o USING (source_no) "
                "WHERE s.stream_no = ?",
                (one.stream_no,),
            ).fetchone()
            parser = clients()[one.client].parser_version
            heads[one.stream_no] = journal.StreamHead(one.client, source_id, path, generation, parser, encoding)
    return heads


# -------------------------------------------------------------------- records


def _number(
    connection: sqlite3.Connection, ledger: Ledger, placed: Sequence[Placed]
) -> tuple[list[tuple[int, Copy]], list[journal.Line]]:
    """Gives every record its number, unless it has one, and makes the copies booking works on."""
    rid = connection.execute("SELECT coalesce(max(rid), 0) FROM records").fetchone()[0]
    rows: list[tuple[int, Copy]] = []
    lines: list[journal.Line] = []
    sessions: dict[int, _SessionNote] = {}
    for one in placed:
        if not one.records:
            continue
        client = clients()[one.client]
        rids: Sequence[int] = one.rids or range(rid + 1, rid + 1 + len(one.records))
        rid = max(rid, rids[-1])
        runs = ((one.stream_no, first, last) for first, last in _runs(rids))
        connection.executemany("INSERT INTO stream_runs VALUES (?, ?, ?)", runs)
        for number, record in zip(rids, one.records, strict=True):
            session = ledger.session_number(one.client, record.session_id)
            _note_session(sessions, session, record)
            group = booking.group_number(one.client, client.group(record))
            rows.append((group, _copy(number, one.stream_no, session, record)))
            lines.append(journal.Line(number, one.stream_no, record))
    _store_sessions(connection, sessions)
    return rows, lines


def _runs(rids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of consecutive numbers, each as (first, last)."""
    if isinstance(rids, range):
        yield rids[0], rids[-1]
        return
    start = 0
    for at in range(1, len(rids) + 1):
        if at == len(rids) or rids[at] != rids[at - 1] + 1:
            yield rids[start], rids[at - 1]
            start = at


def _copy(rid: int, stream_no: int, session: int, record: UsageRecord) -> Copy:
    counters = record.counters
    return Copy(
        rid=rid,
        stream=stream_no,
        ordinal=record.ordinal,
        session=session,
        timestamp_us=record.timestamp_us,
        timed=_UNTIMED not in record.flags,
        sha=bytes.fromhex(record.record_sha256),
        model_raw=record.model_raw,
        counters=msgspec.structs.astuple(counters),
        total=counters.total,
        message_id=record.message_id,
        request_id=record.request_id,
        cumulative=record.cumulative,
        last=record.last,
        by_content=record.by_content,
        file_rule=record.file_rule,
        is_sidechain=record.is_sidechain,
        is_progress=record.is_progress,
        service_tier=record.service_tier,
        speed=record.speed,
        reported_cost_nano=record.reported_cost_nano,
        is_estimated=record.is_estimated,
    )


def _note_session(sessions: dict[int, _SessionNote], number: int, record: UsageRecord) -> None:
    found = sessions.get(number)
    if found is None:
        found = sessions[number] = _SessionNote(record.timestamp_us)
    found.first_us = min(found.first_us, record.timestamp_us)
    if record.cwd is not None:
        at = (record.timestamp_us, record.cwd)
        found.project = at if found.project is None else min(found.project, at)


def _store_sessions(connection: sqlite3.Connection, sessions: dict[int, _SessionNote]) -> None:
    connection.executemany(
        "UPDATE sessions SET first_us = min(coalesce(first_us, ?1), ?1), "
        "project = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR (?2, ?3) < (project_us, project)) "
        "THEN ?3 ELSE project END, "
        "project_us = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR ?2 < project_us) THEN ?2 ELSE project_us END "
        "WHERE session_no = ?4",
        ((note.first_us, *(note.project or (None, None)), number) for number, note in sessions.items()),
    )
