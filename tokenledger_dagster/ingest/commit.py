"""The commit protocol: scanned records become durable, then known, then booked, or not at all.

Here: one batch of scan results made part of the ledger: journal segment first (written, flushed, renamed), then one
SQLite transaction with the segment's hash, the files' offsets, the records and the booking they cause.  Not here:
scanning, or any booking rule.  A kill at any point leaves an orphan segment at worst; ``segments.sweep`` removes it and
the same bytes are read again.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.pack import SessionNote
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import bookkeeping, journal, segments
from tokenledger_dagster.ingest.bookkeeping import Added
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.packs import Pack, new_pack
from tokenledger_dagster.ingest.placing import Placing, Result


class BatchCounts(msgspec.Struct):
    """What one batch changed, by client."""

    scanned: Counter[str]
    emitted: Counter[str]
    invalidated: int = 0


class Batch:
    """One transaction that takes results while others are still being scanned, and ends with ``commit`` or ``abandon``.

    Numbers are taken inside the transaction; the segment they name is on the disk before it commits.
    """

    def __init__(self, home: Home, connection: sqlite3.Connection, ledger: Ledger, now_us: int, host: str) -> None:
        self._db = connection
        self._ledger = ledger
        self._now_us = now_us
        self._writer = journal.SegmentWriter(home.lake, host)
        self._runs: list[tuple[int, int, int]] = []
        self._notes: list[tuple[int, SessionNote]] = []
        self._added: list[Added] = []
        self._packs: list[Pack] = []
        self._rows: list[tuple[int, Copy]] = []
        self._counts = BatchCounts(Counter(), Counter())
        self.records = 0
        """Records taken so far."""
        connection.execute("BEGIN IMMEDIATE")
        self._placing = Placing(connection, now_us, ledger.source_ids)
        self._last_rid = int(connection.execute("SELECT coalesce(max(last_rid), 0) FROM stream_runs").fetchone()[0])

    def add(self, result: Result) -> None:
        """Takes one result: its file's row, its records' numbers and journal lines, and the sums that stand alone."""
        placed = self._placing.place(result)
        if placed is None:
            return
        scanned, client = result.scanned, result.task.file.client
        self._counts.invalidated += placed.invalidated
        count = scanned.count
        self._counts.scanned[client] += count
        self.records += count
        if not count:
            self._added.append(Added(placed.stream_no, client, []))
            return
        one = Added(placed.stream_no, client, scanned.records, scanned.packs, scanned.sessions)
        self._added.append(one)
        head, ledger = placed.head, self._ledger
        if one.records:
            first = self._take_rids(one.stream_no, len(one.records))
            rows = bookkeeping.number(ledger, one, first)
            self._rows += rows
            lines = [
                journal.Line(copy.rid, one.stream_no, record)
                for (_, copy), record in zip(rows, one.records, strict=True)
            ]
            self._writer.add_lines(one.stream_no, head, lines)
        for packed in one.packs:
            pack = new_pack(ledger.packs.number(), one.stream_no, client, packed)
            pack.first_rid = self._take_rids(one.stream_no, pack.rows)
            pack.place.offset = self._writer.add_pack(
                journal.PackHead(pack.stream_no, pack.first_rid, pack.rows), head, packed.body
            )
            self._packs.append(pack)
            bookkeeping.admit(ledger, pack)
        self._notes += ((ledger.session_number(client, note.name), note) for note in one.sessions)

    def _take_rids(self, stream_no: int, count: int) -> int:
        first = self._last_rid + 1
        self._last_rid += count
        self._runs.append((stream_no, first, self._last_rid))
        return first

    def commit(self) -> BatchCounts:
        """Books the batch and makes it durable."""
        self._placing.flush()
        self._db.executemany("INSERT INTO stream_runs VALUES (?, ?, ?)", self._runs)
        bookkeeping.store_sessions(self._db, self._ledger, self._notes)
        segment = self._writer.finish()
        if segment is not None:
            segments.record(self._db, segment, "journal", self._now_us)
            for pack in self._packs:
                pack.place.segment = segment.name
        bookkeeping.book(self._db, self._ledger, self._added, self._packs, self._rows)
        self._counts.emitted.update(self._ledger.finish())
        self._db.execute("COMMIT")
        return self._counts

    def abandon(self) -> None:
        """Forgets the batch, as if it had never begun."""
        self._writer.abandon()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
