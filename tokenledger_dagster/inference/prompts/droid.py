"""Factory Droid: user messages of a session's transcript, or of the output of `droid exec`.

Here: which rows are a person's, and whose session a file is.  Not here: usage, of which a transcript holds none.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

RUN = 1
"""Source of prompts in a saved run, which gives way to the session's own transcript."""


class _Transcript(LineRows):
    words = (b'"user"', b'"system"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes
        self._run: str | None = None

    def take(self, row: dict[str, Any], line: bytes) -> None:
        told = values.text(row.get("session_id")) or values.text(row.get("sessionId"))
        self._run = told or self._run
        if row.get("type") != "message":
            return
        message = object_of(row.get("message")) or row
        if message.get("role") != "user":
            return
        content = message.get("content") if message.get("content") is not None else message.get("text")
        # a run names its session in its rows; a transcript is called after it
        session = self._run or self._file.stem
        self._notes.typed(
            session, content, time=row.get("timestamp"), name=row.get("id"), source=RUN if self._run else 0
        )


def reader(file: SourceFile, notes: Notes) -> LineRows | None:
    """A transcript or a run's output; a settings file holds no words."""
    return _Transcript(file, notes) if file.shape == "lines" else None
