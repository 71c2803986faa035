"""The events behind a figure, each with its price row and its evidence, and whether the bytes still agree.

Here: what ``explain`` answers.  Not here: printing, or sums (``usage.report``).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tokenledger_dagster.clients import databases, documents
from tokenledger_dagster.clients.packed import opened
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.lake import attach
from tokenledger_dagster.ingest.ledger import SUM_FLAG
from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.context import booked_provider
from tokenledger_dagster.pricing.rates import UNIT_COLUMNS
from tokenledger_dagster.pricing.snapshots import Snapshot, by_id
from tokenledger_dagster.usage.report import KINDS, usd
from tokenledger_dagster.usage.selection import ModelDim, Selection, SessionDim, block_starts

if TYPE_CHECKING:
    import duckdb

Status = Literal["verified", "source_gone", "mismatch", "not_checked"]
_SQL = Path(__file__).with_name("evidence.sql")
_CHUNK = 2_000


class Evidence(msgspec.Struct, kw_only=True):
    """One usage record of an event: where it stands and what became of it."""

    rule: str | None
    """Why it was not booked; null for the record the event is made of."""
    source_path: str
    byte_offset: int
    byte_length: int
    record_sha256: str
    locator: str | None
    """Where the record stands in a source without lines; else null."""
    source_id: str
    encoding: str
    flags: list[str]
    status: Status = "not_checked"


class Explained(msgspec.Struct, kw_only=True):
    """One event behind a figure."""

    event_id: str
    timestamp: str
    client: str
    session_id: str
    project: str | None
    model: str
    model_raw: str | None
    mapping_rule: str
    mapping_confidence: int
    usage: dict[str, int]
    list_price_usd: Decimal | None
    price: dict[str, Any]
    evidence: list[Evidence]
    status: Status = "not_checked"


def events_of(
    connection: sqlite3.Connection, kind: str, key: str, selection: Selection
) -> tuple[list[str], int, int | None]:
    """Ids of the events behind the figure ``key`` of a report, with their tokens and nano-USD (None: all unpriced).

    Needs every event as a row (``ingest.settling``).
    """
    sessions = {
        row[0]: SessionDim(*row[1:])
        for row in connection.execute("SELECT session_no, client, session_id, project FROM sessions")
    }
    models = {
        row[0]: ModelDim(*row[1:])
        for row in connection.execute("SELECT model_no, client, model_raw, model, provider FROM models")
    }
    zone, key_of = Zone(selection.zone), KINDS[kind]
    found: list[str] = []
    tokens, nano, priced = 0, 0, False
    query = (
        "SELECT timestamp_us, event_id, session_no, model_no, is_estimated, list_price_nano, input_tokens + "
        "output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens + tool_output_tokens "
        "FROM events ORDER BY timestamp_us, event_id"
    )
    for start, row in block_starts(connection.execute(query)):
        timestamp_us, event_id, session_no, model_no, estimated, price, total = row
        day = zone.day(timestamp_us)
        session, model = sessions[session_no], models[model_no]
        if key_of(start if kind == "block" else day, session, model) != key:
            continue
        if not selection.matches(session, model, day, bool(estimated)):
            continue
        found.append(event_id)
        tokens += total
        if price is not None:
            nano, priced = nano + price, True
    return found, tokens, nano if priced else None


def explain(home: Home, event_ids: Sequence[str], *, verify: bool = False) -> list[Explained]:
    """The given events with price and evidence, in order of time; unknown ids are left out."""
    import duckdb

    con = duckdb.connect()
    try:
        attach(con, home)
        con.execute(_SQL.read_text("utf-8"))
        found: list[Explained] = []
        for start in range(0, len(event_ids), _CHUNK):
            found += _chunk(con, home, list(event_ids[start : start + _CHUNK]))
    finally:
        con.close()
    if verify:
        _verify(found)
    return found


def _chunk(con: duckdb.DuckDBPyConnection, home: Home, event_ids: list[str]) -> list[Explained]:
    rows = con.execute("SELECT * FROM explained_events WHERE event_id IN (SELECT unnest(?))", [event_ids])
    names = [column[0] for column in rows.description or []]
    events = {}
    snapshots = _Snapshots(home)
    for values in rows.fetchall():
        row = dict(zip(names, values, strict=True))
        events[row["event_id"]] = _event(row, snapshots)
    evidence = con.execute(
        "SELECT * FROM explained_evidence WHERE event_id IN (SELECT unnest(?)) ORDER BY rule NULLS FIRST, rid",
        [event_ids],
    )
    names = [column[0] for column in evidence.description or []]
    for values in evidence.fetchall():
        row = dict(zip(names, values, strict=True))
        current = row.pop("current")
        row.pop("rid")
        event_id = row.pop("event_id")
        one = Evidence(**row)
        if not current:
            # the file was written anew since: these bytes were read from it as it was before
            one.status = "source_gone"
        events[event_id].evidence.append(one)
    return [events[one] for one in event_ids if one in events]


def _event(row: dict[str, Any], snapshots: _Snapshots) -> Explained:
    counters = (
        "input",
        "output",
        "cache_write",
        "cache_read",
        "tool_input",
        "tool_output",
        "cache_write_1h",
        "reasoning",
    )
    return Explained(
        event_id=row["event_id"],
        timestamp=row["timestamp"].replace(tzinfo=UTC).isoformat().replace("+00:00", "Z"),
        client=row["client"],
        session_id=row["session_id"],
        project=row["project"],
        model=row["model"],
        model_raw=row["model_raw"],
        mapping_rule=row["mapping_rule"],
        mapping_confidence=row["mapping_confidence"],
        usage={f"{name}_tokens": row[f"{name}_tokens"] for name in counters},
        list_price_usd=None if row["list_price_nano"] is None else usd(row["list_price_nano"]),
        price=_price(row, snapshots),
        evidence=[],
    )


class _Snapshots:
    """The price snapshots that events were priced under, each loaded once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._found: dict[str, Snapshot | None] = {}

    def __getitem__(self, snapshot_id: str) -> Snapshot | None:
        if snapshot_id not in self._found:
            self._found[snapshot_id] = by_id(self._home, snapshot_id)
        return self._found[snapshot_id]


def _price(row: dict[str, Any], snapshots: _Snapshots) -> dict[str, Any]:
    """The rate row an event was priced with, USD per million tokens, or why there is none."""
    about = {
        "channel": row["channel"],
        "requested_context": row["requested_context"],
        "price_snapshot_id": row["price_snapshot_id"],
    }
    if row["list_price_nano"] is None:
        return {**about, "unpriced_reason": row["unpriced_reason"]}
    snapshot = snapshots[row["price_snapshot_id"] or ""]
    if snapshot is None:
        return {**about, "problem": "its price snapshot is gone; `tokenledger sync --full` prices anew"}
    name = ModelName(
        row["model"], row["maker"], json.loads(row["modifiers"]), row["mapping_rule"], row["mapping_confidence"]
    )
    provider = booked_provider(row["client"], name, row["upstream"], row["channel"])
    moment: datetime = row["timestamp"]
    at_us = int(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)
    looked_up = snapshot.table.named(provider, name).model
    rate = snapshot.table.resolve(row["channel"], looked_up, row["requested_context"], at_us, provider)
    if rate is None:  # nothing was counted, so nothing was looked up
        return about
    prompt = row["input_tokens"] + row["tool_input_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"]
    tier = rate.tier_from_tokens
    high = (
        SUM_FLAG not in row["booking_flags"]
        and tier is not None
        and (prompt > tier or (rate.tier_inclusive and prompt == tier))
    )
    has_tools = row["tool_input_tokens"] or row["tool_output_tokens"]
    names = [*UNIT_COLUMNS, *(("tool_input", "tool_output") if has_tools else ())]
    units = (*rate.units(high=high), *rate.tool_units(high=high))
    return {
        **about,
        "priced_context": rate.priced_context,
        "list_basis": row["list_basis"],
        "confidence": row["price_confidence"],
        "above_tier_of_tokens": tier if high else None,
        "usd_per_mtok": {name: usd(value) for name, value in zip(names, units, strict=False)},
        "layer": rate.layer,
        "source": f"{rate.source} {rate.source_version}".strip(),
    }


def _verify(events: Sequence[Explained]) -> None:
    """Re-reads the bytes of every record and settles each event by its own record, or an equal copy of it."""
    by_file: dict[tuple[str, str], list[Evidence]] = {}
    for event in events:
        for one in event.evidence:
            by_file.setdefault((one.source_path, one.encoding), []).append(one)
    for (path, encoding), wanted in by_file.items():
        _check_file(path, encoding, [one for one in wanted if one.locator is None])
        _check_observed(path, encoding, [one for one in wanted if one.locator is not None])
    for event in events:
        winner = event.evidence[0]
        equal = [one.status for one in event.evidence if one.record_sha256 == winner.record_sha256]
        event.status = "verified" if "verified" in equal else winner.status


def _check_file(path: str, encoding: str, wanted: list[Evidence]) -> None:
    wanted = sorted((one for one in wanted if one.status != "source_gone"), key=lambda one: one.byte_offset)
    try:
        with opened(path, encoding) as handle:
            at, data = 0, b""
            for one in wanted:
                if encoding == "plain":
                    handle.seek(one.byte_offset)
                    data = handle.read(one.byte_length)
                else:  # packed files are read forward only; records may overlap where one line held several objects
                    if one.byte_offset < at:
                        with opened(path, encoding) as again:
                            data = _read_at(again, one.byte_offset, one.byte_length)
                    else:
                        data = _read_at(handle, one.byte_offset - at, one.byte_length)
                        at = one.byte_offset + len(data)
                same = hashlib.sha256(data).hexdigest() == one.record_sha256
                one.status = "verified" if same else "mismatch"
    except (OSError, EOFError, ValueError):
        for one in wanted:
            one.status = "source_gone"


def _check_observed(path: str, encoding: str, wanted: list[Evidence]) -> None:
    """Documents and databases are rewritten by their programs: what is no longer there is gone, not tampered with."""
    for one in wanted:
        one.status = "source_gone"
    if not wanted:
        return
    try:
        if encoding == "sqlite":
            with databases.opened(path) as connection:
                for one in wanted:
                    _compare(one, databases.resolve(connection, one.locator or ""))
        else:
            with opened(path, encoding) as handle:
                find = documents.Finder(handle.read()).find
            for one in wanted:
                _compare(one, find(one.locator or ""))
    except (OSError, EOFError, ValueError, sqlite3.Error):
        return


def _compare(one: Evidence, content: bytes | None) -> None:
    if content is not None and hashlib.sha256(content).hexdigest() == one.record_sha256:
        one.status = "verified"


def _read_at(handle: Any, skip: int, length: int) -> bytes:
    while skip > 0:
        part = handle.read(min(skip, 1 << 20))
        if not part:
            return b""
        skip -= len(part)
    parts = []
    while length > 0 and (part := handle.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
