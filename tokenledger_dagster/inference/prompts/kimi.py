"""Kimi: the beginnings of turns in the wire of a session's main agent.

Here: which rows are a person's, in the wires of kimi-cli and of Kimi Code.  Not here: whose wire a file is
(`clients.kimi`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.kimi import place_of
from tokenledger_dagster.clients.rows import member
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

_OLD = ("TurnBegin", "SteerInput")
_NEW = ("turn.prompt", "turn.steer")


class _Wire(LineRows):
    words = tuple(f'"{name}"'.encode() for name in (*_OLD, *_NEW))

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        self._session = place_of(file).session

    def take(self, row: dict[str, Any], line: bytes) -> None:
        if row.get("type") in _NEW:
            if member(row, "origin", "kind") not in (None, "user"):
                self._notes.skipped["not_a_person"] += 1
                return
            self._notes.typed(self._session, row.get("input"), time=row.get("time"))
        elif member(row, "message", "type") in _OLD:
            said = member(row, "message", "payload", "user_input")
            self._notes.typed(self._session, said, time=row.get("timestamp"))


def reader(file: SourceFile, notes: Notes) -> LineRows | None:
    """A main agent's wire; a helper's holds what an agent wrote to it."""
    if place_of(file).agent is not None:
        notes.skipped["subagent_file"] += 1
        return None
    return _Wire(file, notes)
