"""opencode's messages, as its databases and its older JSON files hold them; Kilo's CLI writes the same.

Here: how one message becomes a usage record, and the readers of both containers.  Not here: where they lie
(``places.csv``), or which copies are one request (``clients.opencode``).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tokenledger_dagster.clients import databases, documents, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.contracts.record import Counters, UsageRecord

LATE_MS = 600_000
"""A row's time of change is taken before its transaction ends: rows this much older than the newest are looked at."""
OPEN_ROWS = 256
"""Messages still being written that are looked at again whatever their time of change says; the newest of them."""


class Session(msgspec.Struct, frozen=True):
    """What the session's own row or file adds to its messages."""

    parent: str | None = None
    directory: str | None = None
    version: str | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a message stands: its evidence, and what its container says of it."""

    sha256: str
    length: int
    locator: str
    message_id: str | None
    session_id: str | None
    time_us: int | None
    source_rank: int = 0


def record_of(
    message: dict[str, Any],
    place: Place,
    session: Callable[[str], Session],
    file: SourceFile,
    sink: Sink,
    flags: list[str],
) -> UsageRecord | None:
    """The usage record of a message; None where it is a prompt, or (counted by its reason) has no usage."""
    if not _is_answer(message):
        return None
    tokens = message.get("tokens")
    if not isinstance(tokens, dict):
        sink.skipped["usage_null" if tokens is None else "usage_not_an_object"] += 1
        return None
    counters = _counters(tokens, flags)
    if not counters.total:
        sink.skipped["zero_usage"] += 1
        return None
    times = _object(message.get("time"))
    started, ended = values.time_us(times.get("created")), values.time_us(times.get("completed"))
    time = started if started is not None else ended
    if time is None and place.time_us is not None:
        time = place.time_us
        flags.append("timestamp_fallback")
    if time is None:
        time = file.mtime_ns // 1000
        flags.append("timestamp_from_file")
    values.flag_odd_time(time, sink.now_us, flags.append)
    session_id = place.session_id or values.text(message.get("sessionID"))
    if session_id is None:
        session_id = file.stem.removesuffix(".json")
        flags.append("session_from_file")
    told = session(session_id)
    model, upstream = _model(message)
    if model is None:
        flags.append("model_missing")
    path = message.get("path")
    folders = path if isinstance(path, dict) else {"cwd": path}
    message_id = values.text(message.get("id")) or place.message_id
    return UsageRecord(
        ordinal=sink.ordinal,
        byte_offset=0,
        byte_length=place.length,
        record_sha256=place.sha256,
        timestamp_us=time,
        session_id=session_id,
        model_raw=model,
        counters=counters,
        message_id=message_id,
        by_content=message_id is None,
        parent_session_id=told.parent,
        cwd=values.text(folders.get("cwd")) or values.text(folders.get("root")) or told.directory,
        client_version=told.version,
        reported_cost_nano=values.cost_nano(message.get("cost")),
        flags=tuple(flags),
        raw_usage=values.safe_usage(json.dumps(tokens).encode("utf-8", "replace")),
        upstream=upstream,
        locator=place.locator,
        source_rank=place.source_rank,
        latency_ms=(ended - started) // 1000
        if started is not None and ended is not None and ended >= started
        else None,
        status="error" if message.get("error") else "ok" if ended is not None else None,
    )


def _counters(tokens: dict[str, Any], flags: list[str]) -> Counters:
    cache = _object(tokens.get("cache"))
    fresh, output, reasoning, read, write, total = (
        values.count(value, flags.append)
        for value in (
            tokens.get("input"), tokens.get("output"), tokens.get("reasoning"),
            cache.get("read"), cache.get("write"), tokens.get("total"),
        )
    )  # fmt: skip
    # builds that state a total show by it whether output holds the reasoning already
    inside = reasoning <= output and total == fresh + output + read + write
    return Counters(
        input_tokens=fresh,
        output_tokens=output if inside else output + reasoning,
        cache_write_tokens=write,
        cache_read_tokens=read,
        reasoning_tokens=reasoning,
    )


def _model(message: dict[str, Any]) -> tuple[str | None, str | None]:
    """Model and provider; of 2026 they stand in an object of their own."""
    nested = _object(message.get("model"))
    model = values.text(message.get("modelID")) or values.text(nested.get("modelID"))
    return model, values.upstream(message.get("providerID")) or values.upstream(nested.get("providerID"))


def _is_answer(message: dict[str, Any]) -> bool:
    role = message.get("role")
    return role == "assistant" or not isinstance(role, str)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class MessageFile:
    """Reads ``storage/message/<session>/<message>.json``, what came before the database; it is moved into it once.

    The file stays, so every message of it also stands in the database, which is the newer: a file ranks behind it.
    """

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink, sessions: SessionFiles) -> None:
        self._file, self._sink, self._sessions = file, sink, sessions
        self._memory = Memory.of(carry)

    def read(self, data: bytes) -> None:
        """One message a file."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        part, flags = loaded
        message = part.value
        if not isinstance(message, dict):
            self._sink.skipped["not_an_object"] += 1
            return
        sha = part.sha256
        folder, _, name = self._file.path.rpartition("/")
        above = folder.rpartition("/")[2]
        place = Place(
            sha,
            len(part.raw),
            part.pointer,
            message_id=values.text(name.split(".json", 1)[0]),
            session_id=values.text(message.get("sessionID")) or (values.text(above) if above != "message" else None),
            time_us=None,
            source_rank=1,
        )
        record = record_of(message, place, self._session, self._file, self._sink, flags)
        if record is not None and self._memory.is_news("", sha):
            self._sink.records.append(record)

    def carry(self) -> bytes:
        """The content last read."""
        return self._memory.encode()

    def _session(self, name: str) -> Session:
        return self._sessions.get(self._file.path, name)


class SessionFiles:
    """Sessions beside message files: ``storage/session/<project>/<session>.json``; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Session] = {}

    def get(self, message_path: str, name: str) -> Session:
        """The session a message file names; an empty one where its file is not there."""
        folder, _, _ = message_path.rpartition("/message/")
        key = (folder, name)
        if key not in self._known:
            found = next(self._read(f"{folder}/session", name), None)
            if found is None:  # it may come later
                return Session()
            self._known[key] = found
        return self._known[key]

    @staticmethod
    def _read(folder: str, name: str) -> Iterator[Session]:
        if "/" in name or "\x00" in name or not folder.startswith("/"):
            return
        try:
            projects = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
        except OSError:
            return
        for project in projects:
            try:
                with open(f"{project}/{name}.json", "rb") as handle:
                    told = _object(msgspec.json.decode(handle.read(1 << 20)))
            except (OSError, ValueError, RecursionError):
                continue
            yield Session(
                values.text(told.get("parentID")), values.text(told.get("directory")), values.text(told.get("version"))
            )


class MessageTable:
    """Reads ``message(id, session_id, data)`` of a database its program may be writing.

    Rows are added and rewritten in place.  Where the table tells when a row was changed (``time_updated``), a later
    reading looks at new rows, at those changed since, and at those that were not finished.
    """

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)
        self._sessions: dict[str, Session] = {}
        self._open = {one for one in self._memory.state.get("open", ()) if isinstance(one, int)}
        self.whole = True
        self.bytes_read = 0

    def carry(self) -> bytes:
        """Messages seen, how far the table was read, and which rows were open."""
        return self._memory.encode()

    def read(self, connection: sqlite3.Connection) -> None:
        """Adds what is new; a table that is not there, or of another shape, is told."""
        tables = databases.tables(connection)
        columns = tables.get("message", [])
        if not {"id", "data"} <= set(columns):
            self._sink.problems.append(
                "its table message(id, session_id, data) is not there: this version's layout is not known, so nothing "
                "of it is counted"
            )
            return
        self._sessions = _sessions(connection, tables.get("session", []))
        names = [name if name in columns else "NULL" for name in ("session_id", "time_created", "time_updated")]
        try:
            (last,) = connection.execute("SELECT max(rowid) FROM message").fetchone()
            row_name = "rowid"
        except sqlite3.OperationalError:  # a table without row numbers
            last, row_name = None, "NULL"
        query = f"SELECT {row_name}, id, data, {', '.join(names)} FROM message"
        marks = self._memory.marks
        known_row, known_time = marks.get("row"), marks.get("time")
        if "time_updated" in columns and last is not None and known_row is not None and known_row <= last:
            self.whole = False
            query += f" WHERE rowid > ? OR time_updated >= ? OR rowid IN ({','.join('?' * len(self._open))})"
            rows = connection.execute(query, (known_row, known_time or 0, *self._open))
        else:
            rows = connection.execute(query)
        newest, opened = known_time or 0, []
        for number, message_id, data, session_id, created, updated in rows:
            finished = self._row(number, message_id, data, session_id, created)
            if not finished and isinstance(number, int):
                opened.append(number)
            if isinstance(updated, int):
                newest = max(newest, min(updated, self._sink.now_us // 1000) - LATE_MS)
        if last is not None:
            marks["row"], marks["time"] = last, newest
        self._memory.state["open"] = sorted(opened)[-OPEN_ROWS:]

    def _row(self, number: object, row_id: object, data: object, session_id: object, created: object) -> bool:
        """Reads one row; whether it is finished."""
        content = data.encode("utf-8", "replace") if isinstance(data, str) else data
        if not isinstance(content, bytes):
            if self.whole:
                self._sink.skipped["not_an_object"] += 1
            return True
        self.bytes_read += len(content)
        if b'"tokens"' not in content and b'"assistant"' not in content and content.startswith(b"{"):
            return True  # a prompt
        key = {"id": row_id} if isinstance(row_id, str) else {"rowid": number}
        evidence = databases.RowEvidence("message", key, {"data": data})
        is_news = self._memory.is_news(json.dumps(key), evidence.sha256)
        if not is_news and not self.whole:
            return number not in self._open
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
            evidence.sha256,
            evidence.length,
            evidence.locator,
            values.text(row_id),
            values.text(session_id),
            values.time_us(created),
        )
        record = record_of(message, place, self._session, self._file, self._sink, flags)
        if record is not None and is_news:
            self._sink.records.append(record)
        return _is_finished(message)

    def _session(self, name: str) -> Session:
        return self._sessions.get(name, Session())


def _is_finished(message: dict[str, Any]) -> bool:
    times = _object(message.get("time"))
    return not _is_answer(message) or times.get("completed") is not None or bool(message.get("error"))


def _sessions(connection: sqlite3.Connection, columns: list[str]) -> dict[str, Session]:
    if "id" not in columns:
        return {}
    names = [name if name in columns else "NULL" for name in ("parent_id", "directory", "version")]
    rows = connection.execute(f"SELECT id, {', '.join(names)} FROM session")
    return {str(name): Session(*map(values.text, told)) for name, *told in rows}
