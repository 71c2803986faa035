"""opencode and Kilo's CLI: user messages, whose words stand in parts of their own, in tables or in files.

Here: from a user message to its parts, in both layouts.  Not here: which databases there are, or sessions' files
(`clients.opencode_messages`).
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.databases import tables
from tokenledger_dagster.clients.opencode_messages import SessionFiles
from tokenledger_dagster.clients.row_values import name_of
from tokenledger_dagster.clients.rows import Row, object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Database, Document, PromptReader

__all__ = ["beside", "reader"]

FILE = 1
"""Source of prompts in files, which came before the database and were moved into it."""
_PART_BYTES = 1 << 24
_PARTS_AT_A_TIME = 500


class _Session(msgspec.Struct, frozen=True):
    is_child: bool = False
    """A helper's session: an agent wrote to it."""
    created_us: int | None = None


class _Tables(Database):
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._sessions: dict[str, _Session] = {}
        self._size = 0

    def take(self, connection: sqlite3.Connection) -> int:
        there = tables(connection)
        for name in ("session", "session_v2"):
            self._sessions |= _sessions(connection, name, there.get(name, []))
        # the second table is older than its use: only beside its sessions is it what the program writes
        newer = "session_v2" in there and {"id", "data", "type"} <= set(there.get("session_message", ()))
        older = {"id", "data"} <= set(there.get("message", ()))
        if newer:
            self._messages(connection, "session_message", there["session_message"])
        if older:
            self._with_parts(connection, there)
        if not newer and not older:
            self._notes.skipped["schema_drift"] += 1
        return self._size

    def _messages(self, connection: sqlite3.Connection, table: str, columns: list[str]) -> None:
        """Messages that hold their words themselves."""
        session = "session_id" if "session_id" in columns else "NULL"
        for told_by, data in connection.execute(f"SELECT {session}, data FROM {table} WHERE type = 'user'"):
            message = self._decoded(data)
            if message is not None:
                self._typed(told_by, message, message.get("text"))

    def _with_parts(self, connection: sqlite3.Connection, there: dict[str, list[str]]) -> None:
        """Messages whose words are rows of another table, looked up some hundred messages at a time."""
        session = "session_id" if "session_id" in there["message"] else "NULL"
        has_parts = {"message_id", "data"} <= set(there.get("part", ()))
        waiting: dict[str, tuple[object, Row]] = {}
        for name, told_by, data in connection.execute(f"SELECT id, {session}, data FROM message"):
            if isinstance(data, str) and '"user"' not in data and data.startswith("{"):
                self._size += len(data)
                continue  # an answer
            message = self._decoded(data)
            if message is None or message.get("role") != "user" or not isinstance(name, str):
                continue
            if not has_parts:
                self._notes.skipped["no_text"] += 1
                continue
            waiting[name] = told_by, message
            if len(waiting) == _PARTS_AT_A_TIME:
                self._flush(connection, waiting)
        self._flush(connection, waiting)

    def _flush(self, connection: sqlite3.Connection, waiting: dict[str, tuple[object, Row]]) -> None:
        marks = ", ".join("?" * len(waiting))
        order = "message_id, id" if waiting else "1"
        found: dict[str, list[Row]] = defaultdict(list)
        if waiting:
            query = f"SELECT message_id, data FROM part WHERE message_id IN ({marks}) ORDER BY {order}"
            for name, data in connection.execute(query, tuple(waiting)):
                part = self._decoded(data)
                if part is not None:
                    found[name].append(part)
        for name, (told_by, message) in waiting.items():
            self._typed(told_by, message, _said(found.get(name, [])))
        waiting.clear()

    def _typed(self, told_by: object, message: Row, content: object) -> None:
        session = values.text(told_by) or values.text(message.get("sessionID"))
        if session is None:
            self._notes.skipped["session_missing"] += 1
            return
        _note(self._notes, session, self._sessions.get(session, _Session()), message, content, source=0)

    def _decoded(self, data: object) -> Row | None:
        if not isinstance(data, str | bytes):
            self._notes.skipped["not_an_object"] += 1
            return None
        self._size += len(data)
        try:
            found = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._notes.skipped["invalid_json"] += 1
            return None
        return found if isinstance(found, dict) else None


class _MessageFile(Document):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes

    def take(self, document: Any) -> None:
        message = object_of(document)
        if message.get("role") != "user":
            return
        above = os.path.basename(os.path.dirname(self._file.path))
        session = values.text(message.get("sessionID")) or (values.text(above) if above != "message" else None)
        session = session or name_of(self._file)
        known = SessionFiles().get(self._file.path, session)
        about = _Session(known.parent is not None, known.created_us)
        _note(self._notes, session, about, message, _said(_part_files(self._file.path, session)), source=FILE)


def reader(file: SourceFile, notes: Notes) -> PromptReader:
    """A database, or one message's file."""
    return _Tables(notes) if file.shape == "database" else _MessageFile(file, notes)


def beside(file: SourceFile) -> list[str]:
    """Folders whose change is a change of the file's prompts: its parts are written after it."""
    return [] if file.shape == "database" else _part_folders(file.path, os.path.basename(os.path.dirname(file.path)))


def _note(notes: Notes, session: str, about: _Session, message: Row, content: object, *, source: int) -> None:
    if about.is_child:
        notes.skipped["subagent"] += 1
        return
    time = object_of(message.get("time")).get("created")
    told = values.time_us(time)
    # a fork copies the messages before it under new ids: what is older than its own session is such a copy
    copied = told is not None and about.created_us is not None and told < about.created_us
    notes.typed(session, content, time=time, source=source, copied=copied)


def _said(parts: list[Row]) -> list[Row]:
    """The parts that a person typed: programs mark those that they added."""
    return [part for part in parts if part.get("synthetic") is not True and part.get("ignored") is not True]


def _sessions(connection: sqlite3.Connection, table: str, columns: list[str]) -> dict[str, _Session]:
    if "id" not in columns:
        return {}
    names = [name if name in columns else "NULL" for name in ("parent_id", "time_created")]
    rows = connection.execute(f"SELECT id, {', '.join(names)} FROM {table}")
    return {str(name): _Session(parent is not None, values.time_us(created)) for name, parent, created in rows}


def _part_folders(path: str, session: str) -> list[str]:
    storage, _, _ = path.rpartition("/message/")
    name = os.path.basename(path).split(".json", 1)[0]
    if not storage or "/" in session or "\0" in session:
        return []
    return [f"{storage}/part/{name}", f"{storage}/part/{session}/{name}"]


def _part_files(path: str, session: str) -> list[Row]:
    return [part for folder in _part_folders(path, session) for part in _parts_in(folder)]


def _parts_in(folder: str) -> Iterator[Row]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = f"{folder}/{name}"
        try:
            if not os.path.isfile(path):  # a pipe would wait for its writer
                continue
            with open(path, "rb") as handle:
                part = msgspec.json.decode(handle.read(_PART_BYTES))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(part, dict):
            yield part
