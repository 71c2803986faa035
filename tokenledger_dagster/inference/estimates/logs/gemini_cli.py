"""Gemini CLI: answers with their counts, and those that were never given any.

Here: the last state of each message. Not here: usage (`clients.gemini_cli`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.gemini_cli import Session
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.estimates.features import NOTHING, added
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, counted, key_of, text_of
from tokenledger_dagster.inference.prompts.reading import Document, LineRows, PromptReader

__all__ = ["reader"]

_UNIQUE = 32
"""From this length on a message's id is unique by itself."""
_COUNTS = ("input", "output", "cached", "thoughts", "tool", "total")


class _Messages:
    """The messages of a session in order, each as it was last written."""

    def __init__(self, file: SourceFile, emit: Emit) -> None:
        self._file, self._emit = file, emit
        self._session = Session()
        self._found: dict[str, dict[str, Any]] = {}

    def about(self, told: dict[str, Any]) -> None:
        """A header, a patch or a whole document."""
        self._session.update(told)
        messages = told.get("messages")
        for message in messages if isinstance(messages, list) else ():
            self.message(object_of(message))

    def message(self, message: dict[str, Any]) -> None:
        """A message; a later one of its id takes its place."""
        if message.get("type") in ("user", "gemini"):
            name = values.text(message.get("id")) or f"no id {len(self._found)}"
            self._found[name] = {**self._found.get(name, {}), **message}

    def close(self) -> None:
        """Passes all on: a prompt is counted if the next answer is."""
        session = self._session.name or row_values.name_of(self._file)
        is_counted = False
        for name, message in reversed(self._found.items()):
            is_answer = message.get("type") == "gemini"
            features = text_of(message.get("content"))
            tokens = object_of(message.get("tokens"))
            if is_answer:
                is_counted = any(counted(tokens.get(one)) for one in _COUNTS)
                features = added(features, text_of(message.get("toolCalls")))
            if features == NOTHING:
                continue
            key = key_of("gemini-cli", "" if len(name) >= _UNIQUE else session, name)
            output = (counted(tokens.get("output")) or None) if is_answer else None
            model, time = values.text(message.get("model")), values.time_us(message.get("timestamp"))
            self._emit(Piece(session, is_answer, key, features, output, is_counted, model, time))
        self._found.clear()


class _Journal(LineRows):
    words = (b'"user"', b'"gemini"', b'"sessionId"', b'"messages"')

    def __init__(self, messages: _Messages) -> None:
        self._messages = messages
        self.close = messages.close

    def take(self, row: dict[str, Any], line: bytes) -> None:
        patch = row.get("$set")
        if isinstance(patch, dict):
            self._messages.about(patch)
        elif "type" in row:
            self._messages.message(row)
        else:
            self._messages.about(row)


class _Document(Document):
    def __init__(self, messages: _Messages) -> None:
        self._messages = messages
        self.close = messages.close

    def take(self, document: Any) -> None:
        self._messages.about(object_of(document))


def reader(file: SourceFile, emit: Emit) -> PromptReader | None:
    """A session's journal or document."""
    messages = _Messages(file, emit)
    return _Journal(messages) if file.shape == "lines" else _Document(messages)
