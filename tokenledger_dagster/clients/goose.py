"""Goose: running sums of every session in ``sessions.db``, or in the first line of an older session file.

Here: the adapter and both readers.  Not here: how sums become events (``clients.adapter.SnapshotAdapter``).
Rules: ``docs/clients/goose.md``.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from tokenledger_dagster.clients import databases, documents, lines, values
from tokenledger_dagster.clients.adapter import SnapshotAdapter, counters_of, looked_at
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Shape, Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import kept_usage, stamped
from tokenledger_dagster.contracts.record import UsageRecord, Vector

TABLE = "sessions"
_SUMS = ("accumulated_total_tokens", "accumulated_input_tokens", "accumulated_output_tokens")
_CACHE = ("accumulated_cache_read_tokens", "accumulated_cache_write_tokens")
_ABOUT = ("created_at", "updated_at", "working_dir", "provider_name", "model_config_json")
_COUNTED_ID = re.compile(r"\d{8}_\d{1,5}")


class Goose(SnapshotAdapter):
    """Block's agent, desktop and command line."""

    name = "goose"

    def shape(self, path: str) -> Shape:
        """Session files are written anew at every turn, though they hold lines."""
        return "database" if path.endswith(".db") else "document"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> DatabaseReader | DocumentReader:
        """A reader of the database, or of an older session file."""
        return SessionsReader(file, carry, sink) if file.shape == "database" else FileReader(file, carry, sink)


class _Told(msgspec.Struct):
    """What one look shows of a session."""

    session: str
    key: str
    """The session among those of all databases."""
    sums: Vector
    evidence: Evidence
    model: str | None = None
    upstream: str | None = None
    cwd: str | None = None
    created_us: int | None = None
    updated_us: int | None = None
    raw_usage: str | None = None


class _Observer:
    """Adds a session's sums to the sink, if they were not seen before."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file = file
        self._sink = sink
        self._memory = Memory.of(carry)

    def carry(self) -> bytes:
        """The sums last seen of each session."""
        return self._memory.encode()

    def _observe(self, told: _Told, flags: list[str]) -> None:
        if not any(told.sums):
            self._sink.skipped["zero_usage"] += 1
            return
        if not self._memory.is_news(f"sums:{told.key}", repr(told.sums)):
            return
        # the first look cannot tell when its tokens were used: they stand where the session began
        is_first = self._memory.is_news(f"session:{told.key}", "")
        time = told.created_us if is_first and told.created_us is not None else told.updated_us
        time = stamped(self._file, self._sink, flags, time)
        if told.model is None:
            flags.append("model_missing")
        self._sink.records.append(
            UsageRecord(
                **told.evidence.placed(self._sink),
                timestamp_us=time,
                session_id=told.session,
                model_raw=told.model,
                counters=counters_of(told.sums),
                message_id=told.key,
                cumulative=told.sums,
                last=looked_at(self._file, self._sink),
                is_sum=True,
                cwd=told.cwd,
                upstream=told.upstream,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=told.raw_usage,
            )
        )


class SessionsReader(_Observer):
    """Reads the table of sessions: one row a session, its sums rewritten in place."""

    whole = True

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, carry, sink)
        self.bytes_read = 0

    def read(self, connection: sqlite3.Connection) -> None:
        """Looks at every session."""
        known = databases.tables(connection).get(TABLE, [])
        if "id" not in known or not any(name in known for name in _SUMS):
            self._sink.skipped["schema_drift"] += 1
            missing = f"the table {TABLE} is missing" if not known else f"the table {TABLE} has no accumulated counters"
            self._sink.problems.append(f"{missing}: this version of Goose is not known, and nothing was read")
            return
        columns = [name for name in (*_SUMS, *_CACHE, *_ABOUT) if name in known]
        query = f"SELECT id, {', '.join(columns)} FROM {TABLE} ORDER BY rowid"
        for name, *found in connection.execute(query):
            self._row(name, dict(zip(columns, found, strict=True)))

    def _row(self, name: object, row: Mapping[str, Any]) -> None:
        session = values.text(name if isinstance(name, str) else None, 256)
        usage = {column: row.get(column) for column in (*_SUMS, *_CACHE) if row.get(column) is not None}
        if session is None or not usage:
            self._sink.skipped["usage_null" if session else "session_missing"] += 1
            return
        evidence = databases.row_evidence(TABLE, {"id": session}, usage)
        self.bytes_read += evidence.length
        flags: list[str] = []
        told = _Told(
            session=session,
            key=session,
            sums=sums_of(usage, flags),
            evidence=evidence,
            model=_model_of(row.get("model_config_json")),
            upstream=values.upstream(row.get("provider_name")),
            cwd=values.text(row.get("working_dir")),
            created_us=values.time_us(row.get("created_at")),
            updated_us=values.time_us(row.get("updated_at")),
            raw_usage=kept_usage(usage),
        )
        if _COUNTED_ID.fullmatch(session):
            # such ids count a day's sessions, and every machine counts for itself
            told.key = f"{session}@{values.text(row.get('created_at'), 64) or ''}"
        self._observe(told, flags)


class FileReader(_Observer):
    """Reads an older session file: its first line tells the sums, the lines below it are messages."""

    def read(self, data: bytes) -> None:
        """Looks at the first line."""
        head, _, rest = data.partition(b"\n")
        head = head.removesuffix(b"\r")
        found = next(iter(lines.objects(head, 0, self._sink)), None)
        if found is None:
            return
        row, _, _, flags = found
        usage = {name: row[name] for name in (*_SUMS, *_CACHE) if row.get(name) is not None}
        if not usage:
            self._sink.skipped["usage_null"] += 1
            return
        session = values.text(row.get("id"), 256)
        if session is None:
            session = self._file.stem
            flags.append("session_from_file")
        told = _Told(
            session=session,
            key=session,
            sums=sums_of(usage, flags),
            evidence=Evidence.of(head, 0, f"{documents.LINE}0"),
            cwd=values.text(row.get("working_dir")),
            created_us=_first_time(rest),
            raw_usage=kept_usage(usage),
        )
        self._observe(told, flags)


def sums_of(usage: Mapping[str, Any], flags: list[str]) -> Vector:
    """Input, cache read, cache write, output, reasoning.

    Cached tokens are inside input unless the total says that they stand beside it.  What the total holds beyond input
    and output is reasoning, which Goose does not count apart; a total alone stands under output.
    """
    total, given, output, read, write = (values.count(usage.get(name), flags.append) for name in (*_SUMS, *_CACHE))
    cached = read + write
    if cached and total != given + output + cached:
        if cached > given:
            flags.append("cache_above_input")
        given = max(0, given - cached)
    remainder = max(0, total - given - cached - output)
    if not remainder:
        return given, read, write, output, 0
    if given or cached or output:
        flags.append("remainder_as_reasoning")
        return given, read, write, output + remainder, remainder
    flags.append("only_total_known")
    return 0, 0, 0, remainder, 0


def _model_of(config: object) -> str | None:
    try:
        told = json.loads(config) if isinstance(config, str) else None
    except (ValueError, RecursionError):
        return None
    return values.text(told.get("model_name"), 256) if isinstance(told, dict) else None


def _first_time(rest: bytes) -> int | None:
    """When the first message was written."""
    try:
        row = json.loads(rest.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return values.time_us(row.get("created")) if isinstance(row, dict) else None
