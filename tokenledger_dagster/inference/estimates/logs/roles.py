"""Transcripts that tell who said something and nothing of what it cost: Factory Droid's, and those of Cursor's agents.

Here: rows with a role and a content. Not here: their counts, which stand elsewhere or nowhere.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.estimates.features import NOTHING
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, key_of, text_of
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["RoleRows", "reader"]

_IS_ANSWER = {"user": False, "human": False, "assistant": True, "model": True}


class RoleRows(LineRows):
    """Reads one transcript, of one session."""

    words = (b'"user"', b'"assistant"', b'"human"', b'"model"')

    def __init__(self, session: str, emit: Emit) -> None:
        self._session, self._emit = session, emit
        self._number = 0

    def take(self, row: dict[str, Any], line: bytes) -> None:
        """Takes a message; rows of other kinds are none."""
        message = object_of(row.get("message")) or row
        role = message.get("role") or row.get("role")
        is_answer = _IS_ANSWER.get(role) if isinstance(role, str) else None
        features = text_of(message.get("content"))
        if is_answer is None or features == NOTHING:
            return
        self._number += 1
        model = values.text(message.get("model")) or values.text(member(row, "model"))
        key = key_of("roles", self._session, self._number, features)
        time = values.time_us(row.get("timestamp"))
        self._emit(Piece(self._session, is_answer, key, features, None, False, model, time))


def reader(file: SourceFile, emit: Emit) -> LineRows | None:
    """Droid's transcript of a session; a settings file holds no text, and a saved run tells its counts itself."""
    is_transcript = file.shape == "lines" and not file.path.endswith(".settings.json")
    return RoleRows(row_values.name_of(file), emit) if is_transcript else None
