"""A lost manifest, made again from the segments: they describe themselves.

Here: reading every segment of a lake back into an empty manifest and booking it.  Not here: the normal commit
(``ingest.commit``).  What only the manifest knew is gone: offsets (files still there are read anew and recognised by
their records), counts of skipped lines, and the quarantine.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tokenledger_dagster.clients.base import Lineage
from tokenledger_dagster.clients.codex_reader import FORK_PREFIX, SPAWN_REPLAY
from tokenledger_dagster.contracts import record_table
from tokenledger_dagster.contracts.record import Counters, UsageRecord
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import bookkeeping, families, journal, segments
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import transaction
from tokenledger_dagster.ingest.scan import chain_of, notes_of

_RECORD_TEXTS = ("message_id", "request_id", "file_rule", "parent_session_id", "agent_id", "cwd", "git_branch")
_RECORD_REST = ("client_version", "service_tier", "speed", "raw_usage", "model_raw", "session_id", "record_sha256")
_RECORD_LATER = ("upstream", "locator", "joins", "status", "account_hash", "billing_kind", "latency_ms", "ttft_ms")
"""Columns that older Parquet segments lack."""
_RECORD_PLAIN = ("ordinal", "byte_offset", "byte_length", "by_content", "is_sidechain", "is_progress", "is_estimated")

Row = tuple[int, journal.StreamHead, UsageRecord]
StreamKey = tuple[str, int]


def rebuild(home: Home, connection: sqlite3.Connection, ledger: Ledger, now_us: int) -> int:
    """Fills an empty manifest from all segments of ``home``; returns the number of records.

    Segments that overlap (one merged from others that were not swept yet) count once.  Raises SegmentDamagedError,
    changing nothing, where a segment cannot be read.
    """
    found = sorted(_files(home), key=lambda path: -path.stat().st_size)
    seen: set[int] = set()
    listed: list[tuple[Path, set[int]]] = []
    streams: dict[StreamKey, list[tuple[int, UsageRecord]]] = defaultdict(list)
    heads: dict[StreamKey, journal.StreamHead] = {}
    for path in found:
        rows = list(_rows(path))
        fresh = {rid for rid, _, _ in rows} - seen
        if fresh and len(fresh) < len(rows):
            raise journal.SegmentDamagedError(f"{path}: holds records of other segments too; move one of them away")
        if fresh:
            seen |= fresh
            listed.append((path, fresh))
            for rid, head, record in rows:
                key = (head.source_id, head.generation)
                heads[key] = head
                streams[key].append((rid, record))
    with transaction(connection):
        _list_segments(home, connection, listed, now_us)
        # generations of a source in order, so that the last one stands as its current one
        placed = [
            _place(connection, heads[key], sorted(rows, key=_ordinal), now_us) for key, rows in sorted(streams.items())
        ]
        bookkeeping.restore(connection, ledger, placed)
    return len(seen)


def _ordinal(row: tuple[int, UsageRecord]) -> int:
    return row[1].ordinal


def _files(home: Home) -> Iterator[Path]:
    for folder in (home.journal, home.records):
        for path in folder.rglob("*") if folder.is_dir() else []:
            if path.is_file() and path.suffix in (".jsonl", ".parquet"):
                yield path


def _rows(path: Path) -> Iterator[Row]:
    if path.suffix == ".jsonl":
        for header, line in journal.read_segment(path):
            yield line.rid, header.streams[line.stream], line.record
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches(20_000)
        for batch in batches:
            for row in batch.to_pylist():
                yield row["rid"], _head(row), _record(row)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise journal.SegmentDamagedError(f"{path}: cannot be read ({error}); restore it from a backup") from error


def _head(row: dict[str, Any]) -> journal.StreamHead:
    return journal.StreamHead(**{name: row[name] for name in journal.StreamHead.__struct_fields__})


def _record(row: dict[str, Any]) -> UsageRecord:
    cost = row["reported_cost_usd"]
    moment: datetime = row["timestamp"]
    later: dict[str, Any] = {name: row.get(name) for name in _RECORD_LATER}
    return UsageRecord(
        **{name: row[name] for name in (*_RECORD_TEXTS, *_RECORD_REST, *_RECORD_PLAIN)},
        timestamp_us=record_table.microseconds(moment),
        counters=Counters(*(row[name] for name in record_table.COUNTERS)),
        cumulative=None if row["cumulative"] is None else tuple(row["cumulative"]),
        last=None if row["last"] is None else tuple(row["last"]),
        reported_cost_nano=None if cost is None else int(cost.scaleb(9)),
        flags=tuple(row["flags"]),
        source_rank=row.get("source_rank") or 0,
        links=tuple(row.get("links") or ()),
        is_sum=bool(row.get("is_sum")),
        **later,
    )


def _list_segments(
    home: Home, connection: sqlite3.Connection, listed: list[tuple[Path, set[int]]], now_us: int
) -> None:
    for path, rids in listed:
        name = path.relative_to(home.lake).as_posix()
        kind = "journal" if path.suffix == ".jsonl" else "parquet"
        size = path.stat().st_size
        digest = journal.sha256_of(path)
        if kind == "journal" and path.stem.rpartition("-")[2] != digest[:12]:
            raise journal.SegmentDamagedError(
                f"{path}: its bytes are not those that its name tells; restore the file from a backup, then run "
                "`tokenledger sync --full`"
            )
        one = journal.Segment(name, digest, size, len(rids), min(rids), max(rids))
        segments.record(connection, one, kind, now_us)


def _place(
    connection: sqlite3.Connection,
    head: journal.StreamHead,
    rows: list[tuple[int, UsageRecord]],
    now_us: int,
) -> bookkeeping.Added:
    """Makes the source and stream rows of one stream; the file itself is read anew by the next sync."""
    records = [record for _, record in rows]
    known = connection.execute("SELECT source_no FROM sources WHERE source_id = ?", (head.source_id,)).fetchone()
    source_no = known[0] if known else _new_source(connection, head, now_us)
    stem = Path(head.source_path).name.partition(".jsonl")[0]
    archived = "/archived_sessions/" in head.source_path
    subagent = "/subagents/" in head.source_path or Path(head.source_path).name.startswith("agent-")
    cursor = connection.execute(
        "INSERT INTO streams (source_no, generation, client, stem, parser_version, archived, subagent, copied_rule, "
        "lineage) VALUES (?, ?, ?, ?, ?, ?, ?, '', '[]')",
        (source_no, head.generation, head.client, stem, head.parser_version, int(archived), int(subagent)),
    )
    stream_no = int(cursor.lastrowid or 0)
    lineage = _lineage(head, records)
    if lineage is not None:
        families.set_lineage(connection, stream_no, lineage)
    chain = chain_of(records)
    connection.execute(
        "UPDATE sources SET stream_no = ?, chain = ?, chain_length = ? WHERE source_no = ?",
        (stream_no, chain.digest, chain.length, source_no),
    )
    return bookkeeping.Added(stream_no, head.client, records, [], notes_of(records), [rid for rid, _ in rows])


def _new_source(connection: sqlite3.Connection, head: journal.StreamHead, now_us: int) -> int:
    cursor = connection.execute(
        "INSERT INTO sources (source_id, client, path, relative, origin, status, device, inode, size, mtime_ns, "
        "ctime_ns, encoding, head_hash, head_length, read_offset, tail_hash, tail_length, stream_no, chain, "
        "chain_length, carry, "
        "first_seen_us, last_seen_us) VALUES (?, ?, ?, '', 'rebuilt', 'missing', 0, 0, -1, -1, 0, ?, '', 0, 0, '', 0, "
        "0, "
        "'', 0, x'', ?, ?)",
        (head.source_id, head.client, head.source_path, head.encoding, now_us, now_us),
    )
    return int(cursor.lastrowid or 0)


def _lineage(head: journal.StreamHead, records: list[UsageRecord]) -> Lineage | None:
    if head.client != "codex":
        return None
    spawned = any(record.file_rule == SPAWN_REPLAY for record in records)
    last = records[-1]
    # embedded ancestors are not in the records; the next sync reads them from the file, if it is still there
    parent = last.parent_session_id
    ancestors = [parent] if parent is not None and parent != last.session_id else []
    return Lineage(last.session_id, ancestors, SPAWN_REPLAY if spawned else FORK_PREFIX)
