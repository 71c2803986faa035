"""Cursor: a person's messages in `state.vscdb`, else in the transcripts of its agents.

Here: which messages are a person's, and whose chat they are.  Not here: opening the database beside Cursor
(`clients.databases`).  Keys are read by ranges, never `cursorAuth/*`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.cursor_state import TABLE
from tokenledger_dagster.clients.databases import tables
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Database, LineRows, PromptReader

__all__ = ["reader"]

TRANSCRIPT = 1
"""Source of prompts in an agent's transcript, which tells no times; the chat itself is the better one."""
_CHATS = ("composerData:", "composerData;")
_BUBBLES = ("bubbleId:", "bubbleId;")
_PERSON = 1


class _Bubble(msgspec.Struct):
    """What is read of one message."""

    type: Any = None
    text: Any = None
    bubbleId: Any = None  # noqa: N815 - Cursor's own names
    createdAt: Any = None  # noqa: N815
    timestamp: Any = None
    timingInfo: Any = None  # noqa: N815


class _Chat(msgspec.Struct):
    """What is read of one chat."""

    createdAt: Any = None  # noqa: N815
    subComposerIds: Any = None  # noqa: N815


class _Inline(msgspec.Struct):
    """The messages inside a chat, where builds before 2025 kept them."""

    conversation: Any = None
    conversationMap: Any = None  # noqa: N815


_Kind = TypeVar("_Kind", _Bubble, _Chat, _Inline)


class _State(Database):
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._helpers: set[str] = set()
        """Chats that an agent wrote to."""
        self._began: dict[str, Any] = {}
        self._size = 0

    def take(self, connection: sqlite3.Connection) -> int:
        if not {"key", "value"} <= set(tables(connection).get(TABLE, ())):
            self._notes.skipped["schema_drift"] += 1
            return 0
        for key, chat in self._rows(connection, _CHATS, _Chat):
            children = chat.subComposerIds if isinstance(chat.subComposerIds, list) else []
            self._helpers.update(one for one in children if isinstance(one, str))
            self._began[key] = chat.createdAt
        for key, inline in self._rows(connection, _CHATS, _Inline):
            listed = inline.conversation if isinstance(inline.conversation, list) else []
            for message in (*listed, *object_of(inline.conversationMap).values()):
                if isinstance(message, dict):
                    self._message(key, msgspec.convert(message, _Bubble))
        for key, bubble in self._rows(connection, _BUBBLES, _Bubble):
            self._message(key.rpartition(":")[0], bubble)
        return self._size

    def _rows(
        self, connection: sqlite3.Connection, keys: tuple[str, str], kind: type[_Kind]
    ) -> Iterator[tuple[str, _Kind]]:
        """Rows between two keys: what follows the first one in a row's key, and what is read of its value."""
        decoder = msgspec.json.Decoder(kind)
        query = f"SELECT key, value FROM {TABLE} WHERE key >= ? AND key < ? ORDER BY key"
        for key, value in connection.execute(query, keys):
            if value is None:
                reason = "null_value"
            else:
                content = value if isinstance(value, str | bytes) else str(value)
                self._size += len(content)
                try:
                    yield key.removeprefix(keys[0]), decoder.decode(content)
                    continue
                except msgspec.ValidationError:
                    reason = "not_an_object"
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    reason = "invalid_json"
            if kind is not _Inline:  # chats are looked at twice
                self._notes.skipped[reason] += 1

    def _message(self, chat: str, message: _Bubble) -> None:
        if message.type != _PERSON:
            return
        if "\n" in chat or chat in self._helpers:
            self._notes.skipped["subagent"] += 1
            return
        clock = member(message.timingInfo, "clientStartTime")
        told = next((one for one in (message.createdAt, message.timestamp, clock) if one is not None), None)
        self._notes.at(self._began.get(chat))
        session = values.text(chat)
        if session is not None:
            self._notes.typed(session, message.text, time=told, name=message.bubbleId)


class _Transcript(LineRows):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._session = row_values.name_of(file)
        self._notes = notes

    def take(self, row: dict[str, Any], line: bytes) -> None:
        if row.get("role") == "user":
            self._notes.typed(
                self._session, member(row, "message", "content"), time=row.get("timestamp"), source=TRANSCRIPT
            )


def reader(file: SourceFile, notes: Notes) -> PromptReader | None:
    """The chats' database, or an agent's transcript; an export and loose JSON hold no words."""
    if file.shape == "database":
        return _State(notes)
    if file.shape != "lines" or "/agent-transcripts/" not in file.path:
        return None
    if "/subagents/" in file.path:
        notes.skipped["subagent_file"] += 1
        return None
    return _Transcript(file, notes)
