"""What must hold of the lake and of booking.

Here: segments and their hashes, ids, counters, and that every record was judged.  Not here: sums or prices.
"""

from __future__ import annotations

from contextlib import closing

from tokenledger_dagster.contracts.tables import COUNTERS, TABLES
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.segments import segments, verify
from tokenledger_dagster.ingest.settling import settle

_CHECKED = (*COUNTERS, "total_tokens", "cache_write_1h_tokens", "reasoning_tokens", "web_search_requests")


def segments_intact(look: Inspection) -> Finding:
    """Whether every segment's file has the hash that was recorded when it was written."""
    with closing(connect(look.home, read_only=True)) as manifest:
        listed = segments(manifest)
    rows = []
    for segment in listed:
        try:
            verify(look.home, segment)
        except SegmentDamagedError as error:
            rows.append({"segment": segment.name, "rows": segment.row_count, "problem": str(error)})
    intact = len(listed) - len(rows)
    if not rows:
        message = f"All {intact} segments have the bytes that were recorded."
    else:
        message = (
            f"{len(rows)} of {len(listed)} segments are damaged; no figure made from them can be trusted. "
            f"First: {rows[0]['problem']}"
        )
    return Finding(passed=not rows, message=message, actual=intact, expected=len(listed), rows=rows)


def event_ids_unique(look: Inspection) -> Finding:
    """Whether each event id stands once."""
    rows = look.query(statement("same_ids", events=literal(look.path("events"))))
    if not rows:
        return Finding(passed=True, message="Every event id stands once.", actual=0, expected=0)
    message = (
        f"{len(rows)} event ids stand more than once, first {rows[0]['event_id']}: those requests are counted and "
        "paid several times. Run `tokenledger sync --full` to book anew; if they stay, report it as a fault of booking."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def counters_non_negative(look: Inspection) -> Finding:
    """Whether no counter of any event is below zero."""
    counters = ", ".join(_CHECKED)
    rows = look.query(statement("negative_counters", events=literal(look.path("events")), counters=counters))
    if not rows:
        return Finding(passed=True, message="No counter is below zero.", actual=0, expected=0)
    message = (
        f"{len(rows)} events have a counter below zero, first {rows[0]['event_id']}: sums and costs come out too low. "
        f"Delete {look.home.tables} and run again; if it comes back, run `tokenledger sync --full`."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def booked_plus_duplicates_equal_scanned(look: Inspection) -> Finding:
    """Whether every record of the lake is an event or a duplicate, in the tables as in the segments."""
    settle(look.home)
    with closing(connect(look.home, read_only=True)) as manifest:
        scanned = sum(segment.row_count for segment in segments(manifest))
        judged = manifest.execute("SELECT count(*) FROM records").fetchone()[0]
    counts = {name: _rows(look, name) for name in ("events", "duplicates")}
    actual = sum(counts.values())
    if actual == scanned == judged:
        message = f"{counts['events']} events and {counts['duplicates']} duplicates are all {scanned} records."
        return Finding(passed=True, message=message, actual=actual, expected=scanned)
    message = (
        f"{counts['events']} events and {counts['duplicates']} duplicates are {actual} records, but {scanned} were "
        f"read and {judged} were judged: usage was lost or counted twice. Run `tokenledger sync --full` to book anew."
    )
    rows = [{"what": "segments", "rows": scanned}, {"what": "judged by booking", "rows": judged}]
    rows += [{"what": f"table {name}", "rows": count} for name, count in counts.items()]
    return Finding(passed=False, message=message, actual=actual, expected=scanned, rows=rows)


def _rows(look: Inspection, name: str) -> int:
    assert name in TABLES
    return int(look.query(f"SELECT count(*) AS n FROM read_parquet({literal(look.path(name))})")[0]["n"])
