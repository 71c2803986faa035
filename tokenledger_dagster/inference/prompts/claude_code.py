"""Claude Code: what a person typed stands in user rows, and in attachments where it was typed while an answer ran.

Here: which rows of a transcript are a person's.  Not here: what inside them was typed (`typed`), or which session owns
a row that a resume copied (`owners`).
"""

from __future__ import annotations

import re
from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import member
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]

_HEAD = 1536
_RESULTS = (b'"content":[{"tool_use_id":', b'"content":[{"type":"tool_result"')
_USER = b'"message":{"role":"user",'
_PROGRESS = b'"type":"progress"'
_GLUED = b'}{"'
_NAME = re.compile(r"<command-name>\s*(/?[^<\s]{1,100})")
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_META = ("isMeta", "isCompactSummary", "isVisibleInTranscriptOnly")


class _Transcript(LineRows):
    words = (b'"user"', b'"queued_command"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._file, self._notes = file, notes

    def irrelevant(self, buffer: bytearray, start: int, end: int) -> bool:
        """Tool results, most of the bytes, and progress: told by how they begin, unless another row is glued behind."""
        head = min(end, start + _HEAD)
        message = buffer.find(_USER, start, head)
        if message == -1:
            return buffer.find(_PROGRESS, start, head) != -1 and buffer.find(_GLUED, start, end) == -1
        return buffer.startswith(_RESULTS, message + len(_USER)) and buffer.find(_GLUED, start, end) == -1

    def take(self, row: dict[str, Any], line: bytes) -> None:
        kind = row.get("type")
        if kind == "user":
            content = member(row, "message", "content")
            if row.get("toolUseResult") is not None or "sourceToolUseID" in row:
                self._notes.skipped["tool_result"] += 1
                return
        elif kind == "attachment" and member(row, "attachment", "type") == "queued_command":
            attachment = row["attachment"]
            if attachment.get("commandMode") not in (None, "prompt") or not _is_human(attachment):
                self._notes.skipped["not_a_person"] += 1
                return
            content = attachment.get("prompt")
        else:
            return
        if row.get("isSidechain") is True:
            self._notes.skipped["subagent"] += 1
        elif any(row.get(name) is True for name in _META) or not _is_human(row):
            self._notes.skipped["not_a_person"] += 1
        else:
            session = values.text(row.get("sessionId")) or self._file.stem
            self._notes.typed(session, _command(content), time=row.get("timestamp"), name=row.get("uuid"))


def reader(file: SourceFile, notes: Notes) -> LineRows | None:
    """A transcript; none for a subagent's, to which an agent wrote."""
    if file.subagent:
        notes.skipped["subagent_file"] += 1
        return None
    return _Transcript(file, notes)


def _is_human(row: dict[str, Any]) -> bool:
    """Newer builds say who wrote: a person, a background task, another agent."""
    kind = member(row, "origin", "kind")
    # a plan that was accepted is given to a fresh context as if it had been typed
    is_plan = isinstance(row.get("planContent"), str)
    return kind in (None, "human") and row.get("promptSource") != "system" and not is_plan


def _command(content: object) -> object:
    """A slash command with what was typed behind it; one without words stays as it is and is no prompt."""
    text = content
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
    if not isinstance(text, str) or "<command-name>" not in text:
        return content
    name, arguments = _NAME.search(text), _ARGUMENTS.search(text)
    said = arguments[1].strip() if arguments else ""
    return f"/{name[1].lstrip('/')} {said}" if name and said else "<command-name>"
