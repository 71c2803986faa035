"""Booked events and duplicates as streams of rows: JSON Lines, CSV or Parquet, filtered.

Here: what ``tokenledger events`` and ``tokenledger duplicates`` write, in the shape of the event contract.  Not here:
the published tables (``exports.tables``).
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from tokenledger_dagster.contracts.record import Counters
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.fileio import encode_json, staged
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.lake import attach
from tokenledger_dagster.usage.selection import Selection

if TYPE_CHECKING:
    import duckdb

Table = Literal["events", "duplicates"]
_SQL = Path(__file__).parent / "sql"
_ROWS = 5_000
_USAGE = (*Counters.__struct_fields__,)
_MODEL_OF = {"events": "model", "duplicates": "model_raw"}


class Stream(msgspec.Struct, frozen=True):
    """The rows of a table over a lake, in order of time and identity; usable as long as its connection."""

    con: Any
    statement: str
    values: list[Any]

    def write(self, form: str, target: IO[bytes]) -> int:
        """Writes the rows as ``jsonl`` or ``csv``; returns how many."""
        cursor = self.con.execute(self.statement, self.values)
        names = [column[0] for column in cursor.description]
        count = 0
        while batch := cursor.fetchmany(_ROWS):
            if form == "csv":
                target.write(_csv(batch if count else [names, *batch]))
            else:
                target.writelines(encode_json(_document(names, values), indent=0) for values in batch)
            count += len(batch)
        return count

    def write_parquet(self, path: Path) -> int:
        """Writes the rows as a Parquet file, all of it or nothing; returns how many."""
        import pyarrow.parquet as pq

        table = self.con.sql(self.statement, params=self.values).to_arrow_table()
        with staged(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return int(table.num_rows)


def stream(con: duckdb.DuckDBPyConnection, home: Home, table: Table, selection: Selection) -> Stream:
    """Attaches the lake of ``home`` to ``con`` and prepares the rows of ``table`` that match ``selection``."""
    attach(con, home)
    where, values = _conditions(table, selection)
    statement = (_SQL / f"{table}_stream.sql").read_text("utf-8").replace("/*conditions*/", where)
    return Stream(con, statement, values)


def _csv(batch: list[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [_stamp(one) if isinstance(one, datetime) else "|".join(one) if isinstance(one, list) else one for one in row]
        for row in batch
    )
    return buffer.getvalue().encode("utf-8")


def _document(names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """One row as the contract's JSON object: counters under ``usage``, evidence position under ``locator``."""
    flat = dict(zip(names, values, strict=True))
    found: dict[str, Any] = {}
    usage = {name: flat.pop(name) for name in _USAGE if name in flat}
    locator = {name: flat.pop(name) for name in ("byte_offset", "byte_length")}
    if (elsewhere := flat.pop("source_locator")) is not None:
        locator = {"in_source": elsewhere, "byte_length": locator["byte_length"]}
    for name, value in flat.items():
        if isinstance(value, datetime):
            found[name] = _stamp(value)
        elif name in ("modifiers", "raw_usage"):
            found[name] = None if value is None else msgspec.json.decode(value)
        else:
            found[name] = value
        if name == "timestamp":
            found["usage"] = usage
    found["locator"] = locator
    return found


def _stamp(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _conditions(table: Table, selection: Selection) -> tuple[str, list[Any]]:
    """SQL conditions (each after an AND) and their parameters."""
    parts: list[str] = []
    values: list[Any] = []

    def one_of(expression: str, wanted: tuple[str, ...]) -> None:
        if wanted:
            parts.append(f"AND ({expression} IN (SELECT unnest(?)))")
            values.append(list(wanted))

    if selection.since:
        parts.append("AND timestamp >= ?")
        values.append(_midnight(selection.since, "--since", selection.zone, 0))
    if selection.until and selection.until < date.max.isoformat():
        parts.append("AND timestamp < ?")
        values.append(_midnight(selection.until, "--until", selection.zone, 1))
    one_of("client", selection.clients)
    one_of("session_id", selection.sessions)
    if selection.models:
        parts.append(f"AND ({_MODEL_OF[table]} IN (SELECT unnest(?)) OR model_raw IN (SELECT unnest(?)))")
        values += [list(selection.models)] * 2
    if selection.projects:
        tail = "regexp_extract(rtrim(coalesce(project, 'unknown'), '/\\'), '[^/\\\\]*$')"
        parts.append(f"AND (coalesce(project, 'unknown') IN (SELECT unnest(?)) OR {tail} IN (SELECT unnest(?)))")
        values += [list(selection.projects)] * 2
    if not selection.estimates:
        parts.append("AND NOT is_estimated")
    return "\n".join(parts), values


def _midnight(day: str, option: str, zone: str, days_later: int) -> datetime:
    """Naive UTC instant at which a local day begins."""
    try:
        at = date.fromisoformat(day) + timedelta(days=days_later)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} {day}: not a date; write it as 2026-02-18") from error
    local = datetime(at.year, at.month, at.day, tzinfo=ZoneInfo(zone))
    try:
        return local.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:  # the first or last day of the calendar
        return datetime(at.year, at.month, at.day)
