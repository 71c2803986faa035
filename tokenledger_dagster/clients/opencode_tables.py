"""opencode's databases: messages in ``message``, and since 2.0 in ``session_message``; Kilo's CLI writes the first.

Here: which rows of a growing database are looked at, and which table tells of them.  Not here: what a message means
(``clients.opencode_messages``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from tokenledger_dagster.clients import databases, documents, row_marks, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.opencode_messages import Place, Session, is_answer, record_of

LATE_MS = 600_000
"""A row's time of change is taken before its transaction ends: rows this much older than the newest are looked at."""
OPEN_ROWS = 256
"""Messages still being written that are looked at again whatever their time of change says; the newest of them."""
_WANTED = ("id", "data", "type", "session_id", "time_created", "time_updated")
_UNKNOWN = (
    "its table message(id, session_id, data) is not there: this version's layout is not known, so nothing of it is "
    "counted"
)


class _Table(msgspec.Struct):
    """A table of messages, and how far it was read."""

    name: str
    columns: list[str]
    last: int | None
    """Highest row number; None where rows have none."""
    is_new: bool
    """Whether only new, changed and open rows need to be looked at."""


class MessageTables:
    """Reads the messages of a database its program may be writing.

    Rows are added and rewritten in place.  Where a table tells when a row was changed (``time_updated``), a later
    reading looks at new rows, at those changed since, and at those that were not finished.
    """

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)
        self._sessions: dict[str, Session] = {}
        self.whole = True
        self.bytes_read = 0

    def carry(self) -> bytes:
        """Messages seen, how far the tables were read, and which rows were open."""
        return self._memory.encode()

    def read(self, connection: sqlite3.Connection) -> None:
        """Adds what is new; a layout that is not known is told."""
        there = databases.tables(connection)
        # the second table is older than its use: only beside its sessions is it what the program writes
        names = ["message", *(["session_message"] if "session_v2" in there else [])]
        tables = [
            self._table(connection, name, there[name]) for name in names if {"id", "data"} <= set(there.get(name, ()))
        ]
        if not tables:
            self._sink.skipped["schema_drift"] += 1
            self._sink.problems.append(_UNKNOWN)
            return
        self.whole = not all(table.is_new for table in tables)
        for name in ("session", "session_v2"):
            self._sessions |= _sessions(connection, name, there.get(name, []))
        for table in tables:
            self._read(connection, table)

    def _table(self, connection: sqlite3.Connection, name: str, columns: list[str]) -> _Table:
        try:
            (last,) = connection.execute(f"SELECT max(rowid) FROM {name}").fetchone()
        except sqlite3.OperationalError:  # a table without row numbers
            last = None
        if last is None or "time_updated" not in columns:
            return _Table(name, columns, last, False)
        # another database in the place of the one that was read, or rows numbered anew: all of it is looked at
        known = row_marks.read_up_to(connection, name, "id", _of(self._memory.marks, name), self._file.inode)
        return _Table(name, columns, last, known is not None)

    def _read(self, connection: sqlite3.Connection, table: _Table) -> None:
        marks, state = self._memory.marks, self._memory.state
        newest = marks.get(f"{table.name}.time", 0)
        was_open = {one for one in state.get(f"{table.name}.open", ()) if isinstance(one, int)}
        names = ["NULL" if table.last is None else "rowid", *(n if n in table.columns else "NULL" for n in _WANTED)]
        query = f"SELECT {', '.join(names)} FROM {table.name}"
        arguments: tuple[int, ...] = ()
        if not self.whole:
            query += f" WHERE rowid > ? OR time_updated >= ? OR rowid IN ({','.join('?' * len(was_open))})"
            arguments = (marks[f"{table.name}.last"], newest, *was_open)
        opened = []
        for number, *row, updated in connection.execute(query, arguments):
            finished = self._row(table, number, was_open, *row)
            if not finished and isinstance(number, int):
                opened.append(number)
            if isinstance(updated, int):
                newest = max(newest, min(updated, self._sink.now_us // 1000) - LATE_MS)
        if table.last is not None:
            found = row_marks.marks_of(connection, table.name, "id", self._file.inode)
            for name in _of(marks, table.name):
                del marks[f"{table.name}.{name}"]
            marks.update({f"{table.name}.{name}": value for name, value in found.items()})
            marks[f"{table.name}.time"] = newest
        state[f"{table.name}.open"] = sorted(opened)[-OPEN_ROWS:]

    def _row(
        self,
        table: _Table,
        number: object,
        was_open: set[int],
        row_id: object,
        data: object,
        kind: object,
        session_id: object,
        created: object,
    ) -> bool:
        """Reads one row; whether it is finished."""
        content = data.encode("utf-8", "replace") if isinstance(data, str) else data
        key = {"id": row_id} if isinstance(row_id, str) else {"rowid": number}
        name = f"{table.name} {json.dumps(key)}"
        if not isinstance(content, bytes):
            if self._memory.is_news(name, "") or self.whole:
                self._sink.skipped["not_an_object"] += 1
            return True
        self.bytes_read += len(content)
        if kind is None:
            if b'"tokens"' not in content and b'"assistant"' not in content and content.startswith(b"{"):
                return True  # a prompt
        elif kind != "assistant":
            return True
        evidence = databases.row_evidence(table.name, key, {"data": data})
        is_news = self._memory.is_news(name, evidence.sha256)
        if not is_news and not self.whole:
            return number not in was_open
        try:
            message, flags = msgspec.json.decode(content), list[str]()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            loaded = documents.load(content, self._sink)
            if loaded is None:
                return True
            message, flags = loaded[0].value, loaded[1]
        if not isinstance(message, dict):
            self._sink.skipped["not_an_object"] += 1
            return True
        place = Place(
            evidence,
            values.text(row_id),
            values.text(session_id),
            created,
        )
        record = record_of(message, place, self._session, self._file, self._sink, flags)
        if record is not None and is_news:
            self._sink.records.append(record)
        return _is_finished(message)

    def _session(self, name: str) -> Session:
        return self._sessions.get(name, Session())


def _of(marks: Mapping[str, int], table: str) -> dict[str, int]:
    """A table's own marks, under their own names."""
    return {name.removeprefix(f"{table}."): value for name, value in marks.items() if name.startswith(f"{table}.")}


def _is_finished(message: dict[str, Any]) -> bool:
    times = message.get("time")
    ended = isinstance(times, dict) and times.get("completed") is not None
    return not is_answer(message) or ended or bool(message.get("error"))


def _sessions(connection: sqlite3.Connection, table: str, columns: list[str]) -> dict[str, Session]:
    if "id" not in columns:
        return {}
    names = [name if name in columns else "NULL" for name in ("parent_id", "directory", "version", "time_created")]
    rows = connection.execute(f"SELECT id, {', '.join(names)} FROM {table}")
    return {
        str(name): Session(values.text(parent), values.text(folder), values.text(version), values.time_us(created))
        for name, parent, folder, version, created in rows
    }
