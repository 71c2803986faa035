"""Goose: user messages in the table beside its sessions, or below the first line of an older session file.

Here: which messages are a person's.  Not here: sums of sessions.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.databases import tables
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Database, LineRows, PromptReader

__all__ = ["reader"]

_NOBODYS = frozenset({"sub_agent", "scheduled", "hidden"})
"""Kinds of sessions that no person wrote to."""
_FILE = 1
"""Source of prompts in an older file, which the database took over."""


class _Messages(Database):
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._size = 0

    def take(self, connection: sqlite3.Connection) -> int:
        there = tables(connection)
        columns = there.get("messages", [])
        if not {"session_id", "role", "content_json"} <= set(columns):
            self._notes.skipped["no_messages" if "sessions" in there else "schema_drift"] += 1
            return 0
        kinds: dict[object, object] = {}
        if {"id", "session_type"} <= set(there.get("sessions", ())):
            kinds = dict(connection.execute("SELECT id, session_type FROM sessions"))
        chosen = [name if name in columns else "NULL" for name in ("created_timestamp", "message_id", "metadata_json")]
        query = f"SELECT session_id, content_json, {', '.join(chosen)} FROM messages WHERE role = 'user' ORDER BY rowid"
        for session_id, content, created, name, metadata in connection.execute(query):
            session = values.text(session_id, 256)
            if session is None:
                self._notes.skipped["session_missing"] += 1
            elif kinds.get(session_id) in _NOBODYS or object_of(self._decoded(metadata)).get("userVisible") is False:
                self._notes.skipped["not_a_person"] += 1
            else:
                self._notes.typed(session, self._decoded(content), time=created, name=name)
        return self._size

    def _decoded(self, value: object) -> Any:
        if not isinstance(value, str | bytes):
            return None
        self._size += len(value)
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._notes.skipped["invalid_json"] += 1
            return None


class _SessionFile(LineRows):
    wants_first = True

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        self._session = file.stem

    def take(self, row: dict[str, Any], line: bytes) -> None:
        if row.get("role") == "user":
            self._notes.typed(self._session, row.get("content"), time=row.get("created"), source=_FILE)
        elif "role" not in row:
            self._session = values.text(row.get("id"), 256) or self._session


def reader(file: SourceFile, notes: Notes) -> PromptReader:
    """The database, or an older session file."""
    return _Messages(notes) if file.shape == "database" else _SessionFile(file, notes)
