"""Codex: what a person typed stands in `user_message` events; rollouts without any tell it among the model's input.

Here: which rows of a rollout are a person's.  Not here: whose session a rollout is and what it was forked from
(`clients.codex_reader`), or which of its first prompts are its parent's (`owners`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.codex_reader import AFTER_TIME, TIMED, CodexReader
from tokenledger_dagster.clients.rows import member, object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

INPUT = 1
"""Source of prompts among the model's input: they stand in where the session has no events that tell them."""
_OTHERS = (
    b'","type":"compacted","payload":{',
    b'","type":"response_item","payload":{"type":"function_call',
    b'","type":"response_item","payload":{"type":"custom_tool_call',
    b'","type":"response_item","payload":{"type":"reasoning"',
    b'","type":"response_item","payload":{"type":"message","role":"assistant"',
    b'","type":"response_item","payload":{"type":"message","role":"developer"',
    b'","type":"event_msg","payload":{"type":"agent_',
    b'","type":"event_msg","payload":{"type":"token_count"',
)
_GLUED = b'}{"'


class _Rollout(LineRows):
    words = (b'"user"', b'"user_message"', b'"session_meta"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        self._about = CodexReader(file, None, Sink(0), {})
        self._is_helper = False
        self._has_events = False

    def irrelevant(self, buffer: bytearray, start: int, end: int) -> bool:
        """Rows of other kinds in the writer's own layout that only quote one of the words."""
        return (
            buffer.startswith(_OTHERS, start + AFTER_TIME)
            and buffer.startswith(TIMED, start)
            and buffer.find(_GLUED, start, end) == -1
        )

    def take(self, row: dict[str, Any], line: bytes) -> None:
        kind = row.get("type")
        payload = object_of(row.get("payload"))
        if kind == "session_meta":
            self._session(payload, line)
            return
        if kind == "event_msg":
            # builds of 2025 told by `kind` which of these events are instructions
            if payload.get("type") != "user_message" or payload.get("kind") not in (None, "plain"):
                return
            self._has_events = True
            content, source = payload.get("message"), 0
        elif self._has_events:
            return  # the same words among the model's input
        else:
            item = payload if kind == "response_item" else row  # rollouts of the first builds had no envelope
            if item.get("type") not in (None, "message") or item.get("role") != "user":
                return
            content, source = item.get("content"), INPUT
        if self._is_helper:
            self._notes.skipped["subagent"] += 1
            return
        time, name = row.get("timestamp"), self._about.lineage().session
        self._notes.typed(name, content, time=time, source=source)

    def _session(self, payload: dict[str, Any], line: bytes) -> None:
        is_own = self._about.state.session_id is None
        self._about.feed(line, 0, len(line))
        if is_own:
            # a thread that an agent spawned, a review or a compaction: an agent wrote to it
            self._is_helper = member(payload, "source", "subagent") is not None
        if not self._is_helper:
            self._notes.lineage = self._about.lineage()


def reader(file: SourceFile, notes: Notes) -> LineRows:
    """A rollout; saved output of `codex exec` holds no prompt and yields none."""
    return _Rollout(file, notes)
