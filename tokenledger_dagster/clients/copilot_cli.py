"""GitHub Copilot CLI: requests in its session store, and the event logs of single sessions.

Here: the adapter and the reader of the store.  Not here: event logs (``clients.copilot_events``).
Rules: ``docs/clients/copilot-cli.md``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from tokenledger_dagster.clients import databases, link_names, row_marks, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.copilot_events import EventsReader
from tokenledger_dagster.clients.copilot_usage import counters_of, inclusive, model_of
from tokenledger_dagster.clients.documents import load
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated, kept_usage
from tokenledger_dagster.contracts.record import UsageRecord

TABLE = "assistant_usage_events"
_NEEDED = ("session_id", "input_tokens", "output_tokens")
_COUNTERS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_BILLING = ("total_nano_aiu", "request_multiplier")
_ABOUT = ("created_at", "model", "copilot_usage_model", "agent_id", "duration_ms", "time_to_first_token_ms")


class CopilotCLI(Adapter):
    """GitHub's command line agent."""

    name = "copilot-cli"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of the store, of an event log, or of an early session's document."""
        if file.shape == "database":
            return StoreReader(file, carry, sink)
        return EventsReader(file, carry, sink) if file.shape == "lines" else HistoryReader(sink)


class HistoryReader:
    """Looks at a session of the earliest builds, which counted no tokens."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def read(self, data: bytes) -> None:
        """Counts the session as one without usage."""
        if load(data, self._sink) is not None:
            self._sink.skipped["usage_null"] += 1

    def carry(self) -> bytes:
        """Nothing is kept."""
        return b""


class _Session(msgspec.Struct, frozen=True):
    cwd: str | None = None
    branch: str | None = None


class StoreReader:
    """Reads the store's table of requests; rows are only ever added to it."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file = file
        self._sink = sink
        self._memory = Memory.of(carry)
        self._sessions: dict[str, _Session] = {}
        self.whole = False
        self.bytes_read = 0

    def carry(self) -> bytes:
        """How far the table was read."""
        return self._memory.encode()

    def read(self, connection: sqlite3.Connection) -> None:
        """Adds the requests that came since."""
        known = databases.tables(connection)
        columns = known.get(TABLE, [])
        if missing := [name for name in _NEEDED if name not in columns]:
            self.whole = True
            self._sink.skipped["schema_drift"] += 1
            what = f"the table {TABLE} lacks {', '.join(missing)}" if columns else f"the table {TABLE} is missing"
            self._sink.problems.append(f"{what}: no request could be read from this store; event logs stand in for it")
            return
        self._sessions = _sessions(connection, known.get("sessions", []))
        told_by = "created_at" if "created_at" in columns else "session_id"
        # None too where the store was made anew
        mark = row_marks.read_up_to(connection, TABLE, told_by, self._memory.marks, self._file.inode)
        self.whole = mark is None
        chosen = [name for name in ("session_id", *_COUNTERS, *_BILLING, *_ABOUT) if name in columns]
        query = f"SELECT rowid, {', '.join(chosen)} FROM {TABLE} WHERE rowid > ? ORDER BY rowid"
        for number, *found in connection.execute(query, (mark or 0,)):
            self._row(number, dict(zip(chosen, found, strict=True)))
        self._memory.marks = row_marks.marks_of(connection, TABLE, told_by, self._file.inode)

    def _row(self, number: int, row: Mapping[str, Any]) -> None:
        evidence = databases.row_evidence(TABLE, {"rowid": number}, row)
        self.bytes_read += evidence.length
        session = values.text(row["session_id"], 256)
        if session is None:
            self._sink.skipped["session_missing"] += 1
            return
        usage = {name: row.get(name) for name in (*_COUNTERS, *_BILLING) if row.get(name) is not None}
        if all(row.get(name) is None for name in _COUNTERS):
            self._sink.skipped["usage_null"] += 1
            return
        flags: list[str] = []
        counters = counters_of(inclusive(*(row.get(name) for name in _COUNTERS), flags=flags))
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if not self._memory.is_news(str(number), evidence.sha256):
            return
        model = model_of(row.get("model"), row.get("copilot_usage_model"))
        if model is None:
            flags.append("model_missing")
        time = dated(self._file, self._sink, flags, row.get("created_at"))
        about = self._sessions.get(session, _Session())
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=time,
                session_id=session,
                model_raw=model,
                counters=counters,
                # a store that was made anew counts its rows from 1 again
                message_id=f"{session}/{number}@{values.text(row.get('created_at'), 64) or ''}",
                agent_id=values.text(row.get("agent_id"), 256),
                cwd=about.cwd,
                git_branch=about.branch,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(usage),
                latency_ms=_milliseconds(row.get("duration_ms")),
                ttft_ms=_milliseconds(row.get("time_to_first_token_ms")),
                links=(link_names.copilot_session(session), link_names.copilot_exact(session)),
            )
        )


def _sessions(connection: sqlite3.Connection, columns: list[str]) -> dict[str, _Session]:
    if "id" not in columns:
        return {}
    chosen = ", ".join(name if name in columns else "NULL" for name in ("cwd", "branch"))
    return {
        session: _Session(values.text(cwd), values.text(branch, 256))
        for session, cwd, branch in connection.execute(f"SELECT id, {chosen} FROM sessions")
        if isinstance(session, str)
    }


def _milliseconds(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        return None
    return round(value)
