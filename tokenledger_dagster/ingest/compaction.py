"""Compaction: journal segments become Parquet segments, by client and month.

Here: writing the Parquet files and swapping them for the journals in one transaction; merging small files of one
partition.  Not here: when to compact (the orchestrate job, or a sync with many journal rows).  Nothing is ever dropped:
the rows of the new files are counted against the old ones before the swap.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.fileio import staged
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.journal import Segment, sha256_of
from tokenledger_dagster.ingest.lake import journal_table
from tokenledger_dagster.ingest.manifest import connect, writer_lock
from tokenledger_dagster.ingest.segments import SegmentRow, segments, swap, sweep, verify
from tokenledger_dagster.ingest.settling import settle_packs

if TYPE_CHECKING:
    import pyarrow as pa

MERGE_FILES = 8
"""Files of one partition above which they are merged into one."""
MERGE_BYTES = 64 << 20
"""Files above this size are left alone when a partition is merged."""


class CompactionResult(msgspec.Struct, frozen=True):
    """What one compaction did."""

    journals: int
    rows: int
    segments_written: int
    duration_ms: int
    held: bool = True
    """False where another process was writing and nothing was done."""


def compact(home: Home, wait_seconds: float = 60.0) -> CompactionResult:
    """Turns all committed journals of ``home`` into Parquet segments.

    Raises SegmentDamagedError, changing nothing, when a journal's hash is not the recorded one.
    """
    started = time.perf_counter()
    with writer_lock(home, wait_seconds) as held:
        if not held:
            return CompactionResult(0, 0, 0, 0, held=False)
        connection = connect(home)
        try:
            sweep(home, connection)
            settle_packs(home, connection)  # they live in the journals that go
            journals = [segment for segment in segments(connection) if segment.format == "journal"]
            written = _compact_journals(home, connection, journals) if journals else 0
            written += _merge_partitions(home, connection)
        finally:
            connection.close()
    elapsed = round((time.perf_counter() - started) * 1000)
    return CompactionResult(len(journals), sum(one.row_count for one in journals), written, elapsed)


def _compact_journals(home: Home, connection: sqlite3.Connection, journals: list[SegmentRow]) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    for segment in journals:
        verify(home, segment)
    table = journal_table([home.lake / segment.name for segment in journals])
    months = pc.strftime(table["timestamp"], format="%Y-%m")
    parts = []
    found = pa.table({"client": table["client"], "month": months}).group_by(["client", "month"]).aggregate([])
    for client, month in sorted(zip(*found.to_pydict().values(), strict=True)):
        chosen = pc.and_(pc.equal(table["client"], client), pc.equal(months, month))
        parts.append((f"client={client}/month={month}", table.filter(chosen)))
    return _replace(home, connection, journals, parts)


def _merge_partitions(home: Home, connection: sqlite3.Connection) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    small: dict[str, list[SegmentRow]] = defaultdict(list)
    for segment in segments(connection):
        if segment.format == "parquet" and segment.bytes < MERGE_BYTES:
            small[segment.name.removeprefix("records/").rpartition("/")[0]].append(segment)
    written = 0
    for partition, found in sorted(small.items()):
        if len(found) > MERGE_FILES:
            for segment in found:
                verify(home, segment)
            tables = [pq.read_table(home.lake / segment.name, partitioning=None) for segment in found]
            written += _replace(home, connection, found, [(partition, pa.concat_tables(tables))])
    return written


def _replace(
    home: Home, connection: sqlite3.Connection, old: list[SegmentRow], parts: list[tuple[str, pa.Table]]
) -> int:
    written = [_write_part(home, partition, table.sort_by("rid")) for partition, table in parts]
    swap(home, connection, old, written, "parquet")
    return len(written)


def _write_part(home: Home, partition: str, table: pa.Table) -> Segment:
    import pyarrow.parquet as pq

    first, last = table["rid"][0].as_py(), table["rid"][-1].as_py()
    name = f"records/{partition}/{first:012d}-{last:012d}-{table.num_rows}.parquet"
    path: Path = home.lake / name
    with staged(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=3)
    return Segment(name, sha256_of(path), path.stat().st_size, table.num_rows, first, last)
