"""Codex: rollouts, which hold no counts before September 2025; since then, answers with the counts that follow them.

Here: what was said, and which count belongs to it. Not here: usage (`clients.codex_reader`).
"""

from __future__ import annotations

import re
from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.estimates.features import NOTHING, added
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, counted, key_of, text_of
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.IGNORECASE)
_CALLS = ("function_call", "custom_tool_call", "local_shell_call")


class _Rollout(LineRows):
    """Holds what was said until a count or the end of the file says whether it was counted."""

    words = (b'"message"', b'_call"', b'"token_count"', b'"session_meta"', b'"turn_context"')
    wants_first = True

    def __init__(self, file: SourceFile, emit: Emit) -> None:
        self._emit = emit
        named = _UUID.search(file.stem)
        self._session = named[0] if named else file.stem
        self._is_named = False
        self._model: str | None = None
        self._any_count = False
        self._answer = NOTHING
        self._last_total: object = None
        self._uncounted: list[Piece] = []

    def take(self, row: dict[str, Any], line: bytes) -> None:
        """Takes one row, with or without the envelope that rollouts have since mid 2025."""
        kind, payload = row.get("type"), object_of(row.get("payload"))
        if kind == "session_meta" or (kind is None and "instructions" in row):
            self._name(payload or row)
        elif kind == "turn_context":
            self._model = values.text(payload.get("model")) or self._model
        elif kind == "event_msg":
            if payload.get("type") == "token_count":
                self._count(object_of(payload.get("info")), row)
        else:
            self._said(payload if kind == "response_item" else row, row.get("timestamp"))

    def _name(self, told: dict[str, Any]) -> None:
        name = values.text(told.get("id"))
        if name and not self._is_named:
            self._session, self._is_named = name, True

    def _said(self, item: dict[str, Any], time: object) -> None:
        kind = item.get("type")
        if kind == "message":
            features = text_of(item.get("content"))
            is_answer = item.get("role") == "assistant"
        elif kind in _CALLS:
            features = text_of([item.get("name"), item.get("arguments"), item.get("input"), item.get("action")])
            is_answer = True
        else:
            return
        if features == NOTHING:
            return
        if is_answer:
            self._answer = added(self._answer, features)
        if not self._any_count:
            number = len(self._uncounted)
            key = key_of("codex", self._session, number, features)
            moment = values.time_us(time)
            self._uncounted.append(Piece(self._session, is_answer, key, features, None, False, self._model, moment))

    def _count(self, info: dict[str, Any], row: dict[str, Any]) -> None:
        """The count of what was said since the last one; a total that is told again counts nothing."""
        last, total = object_of(info.get("last_token_usage")), info.get("total_token_usage")
        if not info:
            return
        self._any_count = True
        self._uncounted.clear()
        answer, self._answer = self._answer, NOTHING
        is_repeated, self._last_total = total is not None and total == self._last_total, total
        output = counted(last.get("output_tokens")) - counted(last.get("reasoning_output_tokens"))
        if answer == NOTHING or output <= 0 or is_repeated:
            return
        key = key_of("codex", row.get("timestamp"), answer, output)
        model = values.text(member(info, "model")) or self._model
        moment = values.time_us(row.get("timestamp"))
        self._emit(Piece(self._session, True, key, answer, output, True, model, moment))

    def close(self) -> None:
        """At the end of a file without any count."""
        for one in self._uncounted:
            self._emit(one._replace(session_id=self._session, model_raw=one.model_raw or self._model))


def reader(file: SourceFile, emit: Emit) -> LineRows:
    """A rollout; saved output of `codex exec` holds counts and yields nothing."""
    return _Rollout(file, emit)
