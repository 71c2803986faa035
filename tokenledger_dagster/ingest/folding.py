"""Keeping the lake small under thousands of small syncs, such as a status bar's polls.

Here: joining small journals, settling the small packs in them, and joining what each sync adds a row of.  Not here:
Parquet (``ingest.compaction``), or what settling means (``ingest.bookkeeping``).  The work of one fold is bounded by
the number of small journals it joins, whatever the ledger holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import bookkeeping, segments
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import transaction
from tokenledger_dagster.ingest.segments import SegmentRow

FOLD_ABOVE = 64
"""Journals of fresh syncs above which they are joined."""
JOIN_ABOVE = 16
"""Journals that are themselves joined ones, above which they are joined again."""
FRESH_BYTES = 128 << 10
"""A journal above this size is no longer rewritten with every fold ..."""
_FULL_BYTES = 8 << 20
"""... and above this one it is left for compaction."""
_SMALL_PACK = 200
"""Rows below which a pack costs every sync more than its rows would."""


def fold(home: Home, connection: sqlite3.Connection, ledger: Ledger) -> int:
    """Joins small journals where there are many; returns how many it joined.

    Raises SegmentDamagedError, changing nothing, where one is not as it was written.
    """
    journals = [one for one in segments.segments(connection) if one.format == "journal"]
    fresh = [one for one in journals if one.bytes < FRESH_BYTES]
    joined = [one for one in journals if FRESH_BYTES <= one.bytes < _FULL_BYTES]
    count = 0
    if len(fresh) > FOLD_ABOVE:
        with transaction(connection):
            bookkeeping.settle(ledger, _small_packs(connection, fresh))
            ledger.packs.join_settled()
            _join_runs(connection, min(one.first_rid for one in fresh))
        count += segments.join_journals(home, connection, fresh)
    if len(joined) > JOIN_ABOVE:
        count += segments.join_journals(home, connection, joined)
    return count


def _small_packs(connection: sqlite3.Connection, journals: Sequence[SegmentRow]) -> list[int]:
    query = "SELECT pack_no FROM packs WHERE segment = ? AND row_count < ? ORDER BY pack_no"
    return [number for one in journals for (number,) in connection.execute(query, (one.name, _SMALL_PACK))]


def _join_runs(connection: sqlite3.Connection, first_rid: int) -> None:
    """Joins runs of one stream that follow each other, from a record on."""
    query = "SELECT rowid, stream_no, first_rid, last_rid FROM stream_runs WHERE last_rid >= ? ORDER BY first_rid"
    gone: list[tuple[int]] = []
    longer: dict[int, int] = {}
    row_before, stream_before, end_before = 0, 0, 0
    for row, stream, first, last in connection.execute(query, (first_rid - 1,)):
        if stream == stream_before and first == end_before + 1:
            gone.append((row,))
            longer[row_before] = last
        else:
            row_before, stream_before = row, stream
        end_before = last
    connection.executemany("DELETE FROM stream_runs WHERE rowid = ?", gone)
    connection.executemany(
        "UPDATE stream_runs SET last_rid = ? WHERE rowid = ?", ((end, row) for row, end in longer.items())
    )
