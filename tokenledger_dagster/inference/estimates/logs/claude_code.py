"""Claude Code: answers with their counts. Every row of usage has them, so none of its sessions is ever estimated.

Here: the texts of one answer, which stand in a row for each block, and its last count. Not here: usage
(`clients.claude_code`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.estimates.features import NOTHING, added
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, counted, key_of, text_of
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

_UNSEEN = ("thinking", "redacted_thinking")
"""Counted as output, but the log shows a summary or nothing of it: such an answer tells nothing of its text."""
_WRITTEN = ("text", "tool_use")


class _Transcript(LineRows):
    words = (b'"assistant"',)

    def __init__(self, file: SourceFile, emit: Emit) -> None:
        self._file, self._emit = file, emit
        self._id: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._features, self._output = NOTHING, 0
        self._is_whole, self._is_seen = False, True
        self._row: dict[str, Any] = {}
        self._blocks: set[bytes] = set()

    def take(self, row: dict[str, Any], line: bytes) -> None:
        """Takes one block of an answer."""
        message = object_of(row.get("message"))
        name = values.text(message.get("id"))
        if row.get("type") != "assistant" or name is None:
            return
        if name != self._id:
            self.close()
            self._id = name
        self._row = row
        output = counted(object_of(message.get("usage")).get("output_tokens"))
        # rows bear the count of the answer's beginning until its end is known: by a reason, or by a count that grew
        has_grown = bool(self._output) and output > self._output
        self._is_whole = self._is_whole or has_grown or isinstance(message.get("stop_reason"), str)
        self._output = max(self._output, output)
        blocks = message.get("content")
        for block in blocks if isinstance(blocks, list) else ():
            self._block(object_of(block))

    def _block(self, block: dict[str, Any]) -> None:
        kind = block.get("type")
        if kind in _UNSEEN:
            self._is_seen = False
        elif kind in _WRITTEN:
            key = key_of(block)
            if key not in self._blocks:  # rows may repeat the blocks before
                self._blocks.add(key)
                self._features = added(self._features, text_of(block))
        else:
            self._is_seen = False

    def close(self) -> None:
        """Passes the answer on that was read last."""
        if self._id and self._is_whole and self._is_seen and self._output and self._features != NOTHING:
            message = object_of(self._row.get("message"))
            session = values.text(self._row.get("sessionId")) or self._file.stem
            key = key_of("claude-code", self._id, self._row.get("requestId"))
            model, time = values.text(message.get("model")), values.time_us(self._row.get("timestamp"))
            self._emit(Piece(session, True, key, self._features, self._output, True, model, time))
        self._id = None
        self._forget()


def reader(file: SourceFile, emit: Emit) -> LineRows:
    """A transcript."""
    return _Transcript(file, emit)
