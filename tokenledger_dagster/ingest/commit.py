"""The commit protocol: scanned records become durable, then known, then booked, or not at all.

Here: one batch of scan results made part of the ledger: journal segment first (written, flushed, renamed), then one
SQLite transaction with the segment's hash, the files' offsets, the records and the booking they cause.  Not here:
scanning, or any booking rule.  A kill at any point leaves an orphan segment at worst; ``segments.sweep`` removes it and
the same bytes are read again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tokenledger_dagster.clients.base import Copy, SourceFile
from tokenledger_dagster.clients.pack import (
    BOOKED,
    CONTACT,
    DOMINATED,
    WEAK,
    Cell,
    Packed,
    PricedContext,
    SessionNote,
    key_of,
)
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import booking, families, journal, segments
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import transaction
from tokenledger_dagster.ingest.packs import Pack, Place, Taken, dominates, new_pack
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
    """A stream with what this batch adds to it."""

    stream_no: int
    source_no: int
    client: str
    records: list[UsageRecord]
    packs: list[Packed] = []
    sessions: list[SessionNote] = []
    rids: list[int] | None = None
    """Numbers of the records, where they have some already; ascending."""


def commit(
    home: Home, connection: sqlite3.Connection, ledger: Ledger, results: Sequence[Result], now_us: int, host: str
) -> BatchCounts:
    """Makes one batch part of the ledger and books it."""
    counts = BatchCounts(Counter(), Counter())
    with transaction(connection):
        # numbers are taken inside the transaction; the segment they name is on the disk before it commits
        placed = [one for result in results if (one := _place(connection, result, now_us, counts)) is not None]
        rows, lines = _number(connection, ledger, placed)
        packs = _number_packs(connection, ledger, placed)
        for one in placed:
            counts.scanned[one.client] += len(one.records) + sum(packed.rows for packed in one.packs)
        if lines or packs:
            written = [
                journal.PackLine(journal.PackHead(p.stream_no, p.first_rid, p.rows), p.body or b"") for p in packs
            ]
            segment, places = journal.write_segment(home.lake, host, _heads(connection, placed), lines, written)
            segments.record(connection, segment, "journal", now_us)
            for pack, place in zip(packs, places, strict=True):
                pack.place = Place(segment.name, place, len(pack.body or b""))
        _book(connection, ledger, placed, packs, rows)
        counts.emitted.update(ledger.finish())
    return counts


def restore(connection: sqlite3.Connection, ledger: Ledger, placed: Sequence[Placed]) -> None:
    """Books records whose segments are listed already, in an empty manifest; call inside a transaction."""
    rows, _ = _number(connection, ledger, placed)
    _, touched = families.update(connection, ledger, placed)
    ledger.packs.add([], {}, [key for one in placed for key in _loose_keys(one)])
    for start in range(0, len(rows), 50_000):
        batch = rows[start : start + 50_000]
        _book_groups(ledger, booking.by_group(batch), touched, batch)
        touched = set()
    ledger.finish()


def rebook(connection: sqlite3.Connection, ledger: Ledger, chunk: int = 50_000) -> None:
    """Books everything anew from the stored records, as after a change of prices, names or rules."""
    settle(ledger, ledger.packs.every())
    ledger.forget_models()
    for table in ("events", "cells", "slots", "shared_groups", "session_order", "models"):
        connection.execute(f"DELETE FROM {table}")
    groups = [group for (group,) in connection.execute("SELECT DISTINCT grp FROM records ORDER BY grp")]
    for start in range(0, len(groups), chunk):
        _book_groups(ledger, {}, set(groups[start : start + chunk]), [])
    ledger.finish()


def settle(ledger: Ledger, numbers: Sequence[int], chunk: int = 50_000) -> None:
    """Hands the records of packs to general booking, so that each stands as a row; call inside a transaction.

    What they sum to does not change: their own file had told all about them.
    """
    batch: list[Pack] = []
    for number in numbers:
        batch.append(ledger.packs.pack(number))
        if sum(pack.rows for pack in batch) >= chunk:
            _settle(ledger, batch)
            batch = []
    if batch:
        _settle(ledger, batch)


def _settle(ledger: Ledger, packs: Sequence[Pack]) -> None:
    taken: list[Taken] = []
    own = {pack.pack_no for pack in packs}
    # where another pack's row stands for a request of these, both are booked together
    partners: dict[int, set[int]] = defaultdict(set)
    for holders in ledger.packs.holders({key for pack in packs for key in pack.keys}).values():
        for pack, event in holders:
            if pack.pack_no not in own:
                partners[pack.pack_no].add(event)
    for number, events in partners.items():
        taken += _expand(ledger, ledger.packs.pack(number), events)
    for pack in packs:
        taken += _expand(ledger, pack, range(len(pack.states)))
    rows = [_row_of(ledger, one) for one in taken]
    _book_groups(ledger, booking.by_group(rows), set(), rows)
    ledger.packs.drop(packs)
    ledger.finish()


def _book(
    connection: sqlite3.Connection,
    ledger: Ledger,
    placed: Sequence[Placed],
    packs: Sequence[Pack],
    rows: list[tuple[int, Copy]],
) -> None:
    """Books packs by themselves, and in general what several files show or one file cannot tell."""
    taken: list[Taken] = []
    loose = {key for one in placed for key in _loose_keys(one)}
    holders, outside = ledger.packs.met(packs, loose)
    sessions = {
        pack.pack_no: {ledger.session_number(pack.client, context.session) for context in pack.contexts}
        for pack in packs
    }
    ledger.packs.add(packs, sessions, loose)
    for pack in packs:
        _add_cells(ledger, pack)
    doomed: dict[int, set[int]] = defaultdict(set)
    for key, found in holders.items():
        standing = dominates(found) if key not in outside else None
        for pack, event in found:
            if standing is None:
                doomed[pack.pack_no].add(event)
            elif pack.states[event] == WEAK:
                _dominate(ledger, pack, event)
    for pack in packs:
        _add_weak_cells(ledger, pack)
        doomed[pack.pack_no].update(event for event, state in enumerate(pack.states) if state == CONTACT)
    for number, events in doomed.items():
        taken += _expand(ledger, ledger.packs.pack(number), events)
    changed, touched = families.update(connection, ledger, placed)
    for pack in ledger.packs.of_streams(changed):
        taken += _expand(ledger, pack, range(len(pack.states)))
    rows = rows + [_row_of(ledger, one) for one in taken]
    stirred = _stirred(ledger, packs, sessions)
    if rows or touched or stirred:
        _book_groups(ledger, booking.by_group(rows), touched | stirred, rows)


def _add_cells(ledger: Ledger, pack: Pack) -> None:
    """Adds the sums of a new pack's own events; those that only one by one have a price are left to general booking."""
    packed = pack.new
    if packed is None:
        return
    ledger.rules.update(packed.rules)
    odd = {
        (packed.contexts[cell.context], cell.slot, cell.prefix, cell.step)
        for cell in packed.cells
        if not ledger.add_cell(pack.client, packed.contexts[cell.context], cell, 1)
    }
    for event, state in enumerate(pack.states if odd else ()):
        if state == BOOKED:
            context, cell = ledger.packs.cell(pack, event)
            if (context, cell.slot, cell.prefix, cell.step) in odd:
                pack.states[event] = CONTACT


def _add_weak_cells(ledger: Ledger, pack: Pack) -> None:
    """The same for requests that only repetitions show, where nobody else does."""
    if pack.new is not None:
        for event, cell in pack.new.weak_cells.items():
            if pack.states[event] == WEAK and not ledger.add_cell(
                pack.client, pack.new.contexts[cell.context], cell, 1
            ):
                pack.states[event] = CONTACT


def _dominate(ledger: Ledger, pack: Pack, event: int) -> None:
    """Another file's message stands for a repetition from now on."""
    if pack.new is None:
        _subtract(ledger, pack, [ledger.packs.cell(pack, event)])
    ledger.rules[ledger.packs.form(pack).repetition] += 1
    pack.states[event] = DOMINATED
    pack.changed = True


def _expand(ledger: Ledger, pack: Pack, events: Iterable[int]) -> list[Taken]:
    """Hands events of a pack to general booking; their sums are taken back, for booking adds them again."""
    taken, cells, rules = ledger.packs.expand(pack, events)
    _subtract(ledger, pack, cells)
    ledger.rules.subtract(rules)
    return taken


def _subtract(ledger: Ledger, pack: Pack, cells: Sequence[tuple[PricedContext, Cell]]) -> None:
    for context, cell in cells:
        ledger.add_cell(pack.client, context, cell, -1)


def _row_of(ledger: Ledger, taken: Taken) -> tuple[int, Copy]:
    client, record = taken.pack.client, taken.record
    session = ledger.session_number(client, record.session_id)
    group = booking.group_number(client, clients()[client].group(record))
    return group, _copy(taken.rid, taken.pack.stream_no, session, record)


def _loose_keys(one: Placed) -> list[int]:
    """Key column entries of the records that are in no pack."""
    form = clients()[one.client].pack_format()
    if form is None:
        return [key_of(clients()[one.client].group(record).hex()) for record in one.records]
    return [form.record_key(record) for record in one.records]


def _stirred(ledger: Ledger, packs: Sequence[Pack], sessions: dict[int, set[int]]) -> set[int]:
    """Groups whose ownership may change because a session that competed for one shows an earlier request of its own."""
    first: dict[int, int] = {}
    for pack in packs:
        earliest = min(pack.times, default=booking.NEVER)
        for session in sessions[pack.pack_no]:
            first[session] = min(first.get(session, booking.NEVER), earliest)
    known = ledger.known_order(set(first))
    return ledger.shared_groups({session for session, before in known.items() if first[session] < before})


def _book_groups(ledger: Ledger, new: dict[int, list[Copy]], touched: set[int], rows: list[tuple[int, Copy]]) -> None:
    ledger.replace(*booking.book(ledger, clients(), new, touched), rows)


# -------------------------------------------------------------------- sources and streams


_SOURCE = (
    "path, relative, origin, status, device, inode, size, mtime_ns, ctime_ns, encoding, head_hash, head_length, "
    "read_offset, tail_hash, tail_length, stream_no, chain, chain_parts, carry, last_seen_us"
)
_INSERT_SOURCE = (
    f"INSERT INTO sources (source_no, source_id, client, first_seen_us, {_SOURCE}) "
    f"VALUES ({', '.join('?' * (4 + len(_SOURCE.split(','))))})"
)
_UPDATE_SOURCE = f"UPDATE sources SET {', '.join(f'{name} = ?' for name in _SOURCE.split(', '))} WHERE source_no = ?"


def _place(connection: sqlite3.Connection, result: Result, now_us: int, counts: BatchCounts) -> Placed | None:
    """Updates a file's source row, and finds or makes its stream."""
    task, scanned = result.task, result.scanned
    known, file = task.known, task.file
    if known is None:
        source_no = connection.execute("SELECT coalesce(max(source_no), 0) + 1 FROM sources").fetchone()[0]
        stream_no = _new_stream(connection, source_no, 1, result)
    else:
        source_no, stream_no = known.source_no, known.stream_no
        if task.action in ("reread", "reparse"):
            if task.action == "reread" and (scanned.continues or not known.chain_parts):
                connection.execute("DELETE FROM skips WHERE stream_no = ?", (stream_no,))
            elif scanned.error is None:
                counts.invalidated += 1
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
    return Placed(stream_no, source_no, file.client, scanned.records, scanned.packs, scanned.sessions)


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


def _heads(connection: sqlite3.Connection, placed: Sequence[Placed]) -> dict[int, journal.StreamHead]:
    heads = {}
    for one in placed:
        if one.records or one.packs:
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
    """Gives every record that is in no pack its number, unless it has one, and makes the copies booking works on."""
    rid = _last_rid(connection)
    rows: list[tuple[int, Copy]] = []
    lines: list[journal.Line] = []
    notes: list[tuple[int, SessionNote]] = []
    runs: list[tuple[int, int, int]] = []
    for one in placed:
        notes += ((ledger.session_number(one.client, note.name), note) for note in one.sessions)
        if not one.records:
            continue
        client = clients()[one.client]
        rids: Sequence[int] = one.rids or range(rid + 1, rid + 1 + len(one.records))
        rid = max(rid, rids[-1])
        runs += ((one.stream_no, first, last) for first, last in _runs(rids))
        for number, record in zip(rids, one.records, strict=True):
            session = ledger.session_number(one.client, record.session_id)
            group = booking.group_number(one.client, client.group(record))
            rows.append((group, _copy(number, one.stream_no, session, record)))
            lines.append(journal.Line(number, one.stream_no, record))
    connection.executemany("INSERT INTO stream_runs VALUES (?, ?, ?)", runs)
    _store_sessions(connection, notes)
    return rows, lines


def _number_packs(connection: sqlite3.Connection, ledger: Ledger, placed: Sequence[Placed]) -> list[Pack]:
    """Gives every pack its number, and numbers to its records."""
    rid = _last_rid(connection)
    packs: list[Pack] = []
    for one in placed:
        for packed in one.packs:
            pack = new_pack(ledger.packs.number(), one.stream_no, one.client, packed)
            pack.first_rid = rid + 1
            rid += pack.rows
            packs.append(pack)
    connection.executemany(
        "INSERT INTO stream_runs VALUES (?, ?, ?)",
        ((pack.stream_no, pack.first_rid, pack.first_rid + pack.rows - 1) for pack in packs),
    )
    return packs


def _last_rid(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(last_rid), 0) FROM stream_runs").fetchone()[0])


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


def _store_sessions(connection: sqlite3.Connection, notes: Iterable[tuple[int, SessionNote]]) -> None:
    connection.executemany(
        "UPDATE sessions SET first_us = min(coalesce(first_us, ?1), ?1), "
        "project = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR (?2, ?3) < (project_us, project)) "
        "THEN ?3 ELSE project END, "
        "project_us = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR ?2 < project_us) THEN ?2 ELSE project_us END "
        "WHERE session_no = ?4",
        ((note.first_us, note.project_us, note.project, number) for number, note in notes),
    )
