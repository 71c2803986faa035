"""GitHub Copilot CLI: `user.message` events of a session's log, and the history of the earliest builds.

Here: which events are a person's, and whose session a log is.  Not here: the session store, which holds the same words
without a name that both could be told by.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Document, LineRows, PromptReader

__all__ = ["reader"]

_LISTS = ("chatMessages", "history")
_PERSON = ("user", "human")


class _Events(LineRows):
    words = (b'"user.message"', b'"session.start"', b'"session.resume"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        self._told: str | None = None
        parts = file.relative.split("/")
        self._fallback = parts[-2] if file.stem == "events" and len(parts) > 1 else file.stem

    def take(self, row: dict[str, Any], line: bytes) -> None:
        kind, data = row.get("type"), object_of(row.get("data"))
        if kind in ("session.start", "session.resume"):
            self._told = self._told or values.text(data.get("sessionId"), 256)
        elif kind == "user.message":
            if data.get("parentAgentTaskId") is not None or row.get("agentId") is not None:
                self._notes.skipped["subagent"] += 1
            elif data.get("source") not in (None, "user"):
                self._notes.skipped["not_a_person"] += 1
            else:
                session = self._told or self._fallback
                self._notes.typed(session, data.get("content"), time=row.get("timestamp"), name=row.get("id"))


class _History(Document):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes

    def take(self, document: Any) -> None:
        told = object_of(document)
        session = values.text(told.get("sessionId"), 256) or row_values.name_of(self._file)
        self._notes.at(told.get("startTime"))
        found: list[Any] = next((told[name] for name in _LISTS if isinstance(told.get(name), list)), [])
        for message in found:
            if member(message, "role") in _PERSON:
                time = next((one for name in ("timestamp", "time") if (one := message.get(name)) is not None), None)
                self._notes.typed(session, message.get("content"), time=time, name=message.get("id"))


def reader(file: SourceFile, notes: Notes) -> PromptReader | None:
    """An event log or an early session's document; the store is not read for words."""
    if file.shape == "database":
        return None
    return _History(file, notes) if file.shape == "document" else _Events(file, notes)
