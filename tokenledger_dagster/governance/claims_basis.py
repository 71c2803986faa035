"""What published totals are held against: the sums of the events they stand on, recomputed from exported lines.

Here: which events these are, and asking the exporter for them.  Not here: the sums (``governance.recomputed``), or what
is compared (``governance.claims``).

The lake may have grown since the tables were built, by any report.  While it has not, the lines are those of
`tokenledger events`; else the same writer is given the events as they were published.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import msgspec

from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.state import booked_state
from tokenledger_dagster.exports.streams import Stream, stream
from tokenledger_dagster.exports.tables import is_current
from tokenledger_dagster.governance.outcome import Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.declared import is_declared
from tokenledger_dagster.usage.selection import Selection

if TYPE_CHECKING:
    from tokenledger_dagster.governance.recomputed import Totals

_EVERYTHING = Selection(zone="UTC")
_COST_ROWS = 50_000
_PART_ROWS = 100_000


class Basis(msgspec.Struct, frozen=True):
    """The recomputed sums and what they are sums of."""

    totals: Any
    """``governance.recomputed.Totals``."""
    zone: str
    """Zone that the tables say their days are cut in."""
    is_current: bool
    """Whether the lake is as it was when the tables were built: the lines came from the lake itself."""
    is_declared: bool
    """Whether plans make cost differ from list price."""


class BasisError(Exception):
    """The events cannot be summed; says why, and what to do."""


def basis(look: Inspection) -> Basis:
    """The recomputed sums, made once for an inspection.

    Raises:
        BasisError: the tables are not there, or contradict themselves.
    """
    found = look.once("claims_basis", lambda: _attempted(look))
    if isinstance(found, BasisError):
        raise found
    return found


def state(look: Inspection) -> str:
    """Stands for the lake: with the tables' files, for all that a claim about tables depends on."""
    return booked_state(look.home)


def last_read(look: Inspection) -> float:
    """When the logs were last read with something to book, seconds since 1970; 0 where nobody knows."""
    try:
        told = msgspec.json.decode(look.home.ingest_summary_path.read_bytes(), type=_Read)
        return datetime.fromisoformat(told.finished_at).timestamp()
    except (OSError, msgspec.DecodeError, ValueError):
        return 0.0


class _Read(msgspec.Struct):
    finished_at: str


class _Zoned(msgspec.Struct):
    timezone: str = ""


def _attempted(look: Inspection) -> Basis | BasisError:
    try:
        return _made(look)
    except BasisError as error:
        return error


def _made(look: Inspection) -> Basis:
    for name in ("events", "event_costs", "usage_daily"):
        if not look.path(name).exists():
            raise BasisError(f"{look.path(name)} is not there. Run `tokenledger orchestrate`.")
    zone = _zone(look)
    with closing(connect(look.home, read_only=True)) as manifest:
        declared = is_declared(manifest, str(look.home.root))
    current = _is_current(look)
    totals = _totals(look, zone, current=current, declared=declared)
    if current and not _is_current(look):
        # a report read new lines meanwhile
        current = False
        totals = _totals(look, zone, current=False, declared=declared)
    return Basis(totals, zone, current, declared)


def _is_current(look: Inspection) -> bool:
    return is_current(look.home, "event_costs", look.con, look.zone)


def _zone(look: Inspection) -> str:
    daily = literal(look.path("usage_daily"))
    named = [row["timezone"] for row in look.query(f"SELECT DISTINCT timezone FROM read_parquet({daily}) ORDER BY 1")]
    if len(named) > 1:
        raise BasisError(f"usage_daily cuts days in {' and in '.join(named)}. Delete it and run again.")
    zone = named[0] if named else look.zone
    if not is_zone(zone):
        raise BasisError(f"usage_daily cuts days in {zone}, which is no time zone. Delete it and run again.")
    return zone


def is_zone(name: str) -> bool:
    """Whether the time zone database knows a name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _totals(look: Inspection, zone: str, *, current: bool, declared: bool) -> Totals:
    import pyarrow as pa

    from tokenledger_dagster.governance.recomputed import ExportError, Lines

    costs = _costs(look.path("event_costs")) if declared else None
    lines = Lines(sorted({zone, *_documents_zones(look)}), costs)
    try:
        for part in _parts(_export(look, current=current)):
            part.write("jsonl", cast("IO[bytes]", lines))
        return lines.totals()
    except (ExportError, pa.ArrowException) as error:
        remedy = f"Delete {look.home.tables} and run `tokenledger orchestrate`."
        raise BasisError(f"The events cannot be summed: {str(error).splitlines()[0]}. {remedy}") from error


def _export(look: Inspection, *, current: bool) -> Stream:
    if current:
        return stream(look.con, look.home, "events", _EVERYTHING)
    paths = {"events": literal(look.path("events")), "costs": literal(look.path("event_costs"))}
    return Stream(look.con, statement("published_stream", **paths), [])


def _parts(export: Stream) -> Iterator[Stream]:
    """The export some days at a time: DuckDB keeps the whole answer to a query in memory."""
    days = export.con.execute(statement("export_days", export=export.statement), export.values).fetchall()
    windows: list[list[Any]] = []
    room = 0
    for day, count in days:
        if not windows or count > room:
            windows.append([day, day])
            room = _PART_ROWS
        windows[-1][1] = day
        room -= count
    window = statement("export_window", export=export.statement)
    for first, last in windows:
        yield Stream(export.con, window, [*export.values, first, last])


def _documents_zones(look: Inspection) -> Iterator[str]:
    """Zones that published documents cut their months in."""
    try:
        told = msgspec.json.decode(look.home.ui_snapshot_path.read_bytes(), type=_Zoned)
    except (OSError, msgspec.DecodeError):
        return
    if is_zone(told.timezone):
        yield told.timezone


def _costs(path: Path) -> Iterator[tuple[str, int | None]]:
    """Id and effective cost (nano-USD) of every event, in the order of the table."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_COST_ROWS, columns=["event_id", "effective_cost_usd"]):
            ids, costs = (batch.column(name).to_pylist() for name in ("event_id", "effective_cost_usd"))
            for event_id, usd in zip(ids, costs, strict=True):
                yield event_id, None if usd is None else int(usd.scaleb(9))
