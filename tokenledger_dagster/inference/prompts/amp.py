"""Amp: user messages of a thread's document.

Here: which messages are a person's.  Not here: usage, ledgers.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.row_values import name_of
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Document

__all__ = ["reader"]


class _Thread(Document):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes

    def take(self, document: Any) -> None:
        thread = object_of(document)
        session = values.text(thread.get("id")) or values.text(name_of(self._file)) or "unknown"
        self._notes.at(thread.get("created"))
        messages = thread.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, dict):
                continue
            self._notes.at(member(message, "usage", "timestamp"))
            if message.get("role") != "user":
                continue
            if message.get("parentToolUseId") is not None or thread.get("mainThreadID") is not None:
                self._notes.skipped["subagent"] += 1
                continue
            content = message.get("content") if message.get("content") is not None else message.get("text")
            sent = member(message, "meta", "sentAt")
            number = message.get("messageId")
            self._notes.typed(
                session,
                content,
                time=sent if sent is not None else message.get("createdAt"),
                name=str(number) if isinstance(number, int) else number,
            )


def reader(file: SourceFile, notes: Notes) -> Document:
    """A thread."""
    return _Thread(file, notes)
