"""Gemini CLI, and the first builds of Qwen Code: messages of type `user` in a session's document or journal.

Here: which messages are a person's, in either layout.  Not here: Qwen Code's own journal (`qwen_code`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.gemini_cli import Session
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Document, LineRows, PromptReader

__all__ = ["SessionDocument", "reader"]


class _Messages:
    """Takes messages of one session, wherever they stand."""

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes
        self._session = Session()

    def about(self, told: dict[str, Any]) -> None:
        """What a header, a patch or a document says of its session, and the messages it holds."""
        self._session.update(told)
        self._notes.at(self._session.time)
        messages = told.get("messages")
        for message in messages if isinstance(messages, list) else ():
            self.message(object_of(message))

    def message(self, message: dict[str, Any]) -> None:
        if message.get("type") != "user":
            return
        if self._session.subagent:
            self._notes.skipped["subagent"] += 1
            return
        # what was shown to the person is what they typed; the content has the files they named in it
        shown = message.get("displayContent")
        content = shown if shown is not None else message.get("content")
        session = self._session.name or row_values.name_of(self._file)
        self._notes.typed(session, content, time=message.get("timestamp"), name=message.get("id"))


class _Journal(LineRows):
    words = (b'"user"', b'"sessionId"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._messages = _Messages(file, notes)

    def take(self, row: dict[str, Any], line: bytes) -> None:
        patch = row.get("$set")
        if isinstance(patch, dict):
            self._messages.about(patch)
        elif "id" in row:
            self._messages.message(row)
        elif "sessionId" in row:
            self._messages.about(row)


class SessionDocument(Document):
    """A session's document."""

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._messages = _Messages(file, notes)

    def take(self, document: Any) -> None:
        """Its messages; a saved headless answer holds none."""
        self._messages.about(object_of(document))


def reader(file: SourceFile, notes: Notes) -> PromptReader:
    """A journal, or a document."""
    return SessionDocument(file, notes) if file.shape == "document" else _Journal(file, notes)
