"""Cursor: messages of `state.vscdb`, most of which have no counts since late 2025, and transcripts of its agents.

Here: whether a message has counts, and what is counted of its text. Not here: usage (`clients.cursor_state`). Keys are
read by ranges, never `cursorAuth/*`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.cursor_state import TABLE
from tokenledger_dagster.clients.databases import tables
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.estimates.features import NOTHING, Features, added
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, counted, key_of, text_of
from tokenledger_dagster.inference.estimates.logs.roles import RoleRows
from tokenledger_dagster.inference.prompts.reading import Database, PromptReader

__all__ = ["reader"]

_CHATS = ("composerData:", "composerData;")
_BUBBLES = ("bubbleId:", "bubbleId;")
_PERSON, _MODEL = 1, 2


class _Message(NamedTuple):
    """One message before its request is known to be counted or not."""

    is_answer: bool
    key: bytes
    features: Features
    total: int
    output: int
    request: str | None
    model: str | None
    time_us: int | None


class _State(Database):
    """Reads one `state.vscdb`."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._models: dict[str, str | None] = {}
        self._parents: dict[str, str] = {}

    def take(self, connection: sqlite3.Connection) -> int:
        """Takes all chats."""
        if not {"key", "value"} <= set(tables(connection).get(TABLE, ())):
            return 0
        size = 0
        inline: dict[str, list[_Message]] = {}
        for key, value in _rows(connection, _CHATS):
            size += len(value) if isinstance(value, str | bytes) else 0
            self._chat(key.removeprefix(_CHATS[0]), _object(value), inline)
        chat, messages = None, list[_Message]()
        for key, value in _rows(connection, _BUBBLES):
            size += len(value) if isinstance(value, str | bytes) else 0
            owner, _, bubble = key.removeprefix(_BUBBLES[0]).rpartition(":")
            if owner != chat:
                self._told(chat, messages)
                chat, messages = owner, inline.pop(owner, [])
            messages += _messages([_object(value)], bubble)
        self._told(chat, messages)
        for owner, found in inline.items():
            self._told(owner, found)
        return size

    def _chat(self, chat: str, told: dict[str, Any], inline: dict[str, list[_Message]]) -> None:
        """Learns of a chat, and takes the messages inside it, as builds before 2025 kept them."""
        self._models[chat] = values.text(member(told, "modelConfig", "modelName"))
        children = told.get("subComposerIds")
        for child in children if isinstance(children, list) else ():
            if isinstance(child, str):
                self._parents[child] = chat
        listed = told.get("conversation")
        messages = [*(listed if isinstance(listed, list) else ()), *object_of(told.get("conversationMap")).values()]
        found = list(_messages(messages, ""))
        if found:
            inline[chat] = found

    def _told(self, chat: str | None, messages: list[_Message]) -> None:
        """Passes the messages of one chat on: a prompt is counted if an answer to it is."""
        if chat is None:
            return
        session = values.text((self._parents.get(chat) or chat) if "\n" in chat else chat)
        if session is None:
            return
        session = session.replace("\n", " ")
        answers = Counter(one.request for one in messages if one.is_answer)
        answered = {one.request for one in messages if one.is_answer and one.total and one.request}
        any_counted = any(one.is_answer and one.total for one in messages)
        models = {one.request: one.model for one in messages if one.request and one.model}
        for one in messages:
            is_counted = one.request in answered if one.request else bool(one.total) if one.is_answer else any_counted
            # a count of several messages together is none of either one's text
            tokens = (
                one.output if one.is_answer and one.output and (not one.request or answers[one.request] == 1) else None
            )
            model = one.model or models.get(one.request or "") or self._models.get(chat)
            self._emit(Piece(session, one.is_answer, one.key, one.features, tokens, is_counted, model, one.time_us))


def _messages(found: Iterable[object], bubble: str) -> Iterator[_Message]:
    for told in found:
        if not isinstance(told, dict) or told.get("type") not in (_PERSON, _MODEL):
            continue
        is_answer = told.get("type") == _MODEL
        features = text_of(told.get("text"))
        if is_answer:
            call = object_of(told.get("toolFormerData"))
            features = added(features, text_of([call.get("name"), call.get("rawArgs")]))
            features = added(features, text_of(member(told, "thinking", "text")))
        if features == NOTHING:
            continue
        name = values.text(told.get("bubbleId")) or bubble
        count = object_of(told.get("tokenCount"))
        times = (told.get("createdAt"), told.get("timestamp"), member(told, "timingInfo", "clientStartTime"))
        output = counted(count.get("outputTokens"))
        yield _Message(
            is_answer=is_answer,
            key=key_of("cursor", name or json.dumps(features)),
            features=features,
            total=output + counted(count.get("inputTokens")),
            output=output,
            request=values.text(told.get("requestId")),
            model=values.text(member(told, "modelInfo", "modelName")) or values.text(told.get("modelType")),
            time_us=next((time for time in map(values.time_us, times) if time is not None), None),
        )


def _rows(connection: sqlite3.Connection, keys: tuple[str, str]) -> Iterator[tuple[str, Any]]:
    yield from connection.execute(f"SELECT key, value FROM {TABLE} WHERE key >= ? AND key < ? ORDER BY key", keys)


def _object(value: object) -> dict[str, Any]:
    """A row's value where it is an object; what else it is the ledger's own reading has told."""
    try:
        return object_of(msgspec.json.decode(value if isinstance(value, str | bytes) else str(value)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def reader(file: SourceFile, emit: Emit) -> PromptReader | None:
    """The chats' database, or an agent's transcript; an export and loose JSON hold no texts."""
    if file.shape == "database":
        return _State(emit)
    if file.shape != "lines" or "/agent-transcripts/" not in file.path:
        return None
    return RoleRows(row_values.name_of(file), emit)
