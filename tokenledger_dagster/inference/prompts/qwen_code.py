"""Qwen Code: rows of type `user` in a session's journal; the first builds kept Gemini CLI's documents.

Here: which rows are a person's.  Not here: those documents (`gemini_cli`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import member
from tokenledger_dagster.inference.prompts.gemini_cli import SessionDocument
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows, PromptReader

__all__ = ["reader"]

_TYPED = (None, "mid_turn_user_message")
"""Kinds of user rows that a person wrote; others are notes of the program, such as notifications."""


class _Journal(LineRows):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes

    def take(self, row: dict[str, Any], line: bytes) -> None:
        if row.get("type") != "user":
            return
        if row.get("isSidechain") is True or row.get("agentId") is not None:
            self._notes.skipped["subagent"] += 1
            return
        if row.get("subtype") not in _TYPED:
            self._notes.skipped["not_a_person"] += 1
            return
        # newer builds repeat what was typed beside the message, which hooks and named files add to
        shown = member(row, "systemPayload", "displayText")
        content = shown if isinstance(shown, str) else member(row, "message", "parts")
        session = values.text(row.get("sessionId")) or row_values.name_of(self._file)
        self._notes.typed(session, content, time=row.get("timestamp"), name=row.get("uuid"))


def reader(file: SourceFile, notes: Notes) -> PromptReader:
    """A journal, or a document of the first builds."""
    return SessionDocument(file, notes) if file.shape == "document" else _Journal(file, notes)
