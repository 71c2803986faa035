"""Cline, Roo Code and Kilo Code: the task and the answers of a person in `ui_messages.json`, and Cline's sessions.

Here: which rows of either layout are a person's.  Not here: Kilo's CLI, which keeps opencode's tables (`opencode`).
"""

from __future__ import annotations

import os
from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.clients.task_files import TaskFiles
from tokenledger_dagster.inference.prompts import opencode
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import Document, PromptReader

__all__ = ["beside", "reader"]

_MESSAGES = ".messages.json"
_TASK = "ui_messages.json"


class _Task(Document):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        self._folder = os.path.dirname(file.path)
        self._session = values.text(os.path.basename(self._folder)) or "unknown"

    def take(self, document: Any) -> None:
        if not isinstance(document, list):
            self._notes.skipped["unknown_layout"] += 1
            return
        # the first text of a task is what it was begun with; that of a part of another task an agent wrote
        is_opening = True
        is_helper = TaskFiles(self._folder, []).parent is not None
        for row in document:
            if not isinstance(row, dict) or row.get("type", "say") != "say":
                continue
            kind = row.get("say")
            if kind == "user_feedback" or (kind in ("text", "task") and is_opening and not is_helper):
                self._notes.typed(self._session, row.get("text"), time=row.get("ts"))
            elif kind in ("text", "task") and is_opening:
                self._notes.skipped["subagent"] += 1
            is_opening = is_opening and kind not in ("text", "task", "api_req_started")


class _Session(Document):
    def __init__(self, file: SourceFile, notes: Notes) -> None:
        folder, name = os.path.split(file.path)
        self._notes = notes
        self._session = values.text(os.path.basename(folder)) or "unknown"
        self._is_helper = name.split(_MESSAGES, 1)[0] != self._session

    def take(self, document: Any) -> None:
        messages = document if isinstance(document, list) else object_of(document).get("messages")
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, dict) or message.get("role") != "user":
                continue
            if self._is_helper:
                self._notes.skipped["subagent"] += 1
                continue
            self._notes.typed(self._session, message.get("content"), time=message.get("ts"), name=message.get("id"))


def reader(file: SourceFile, notes: Notes) -> PromptReader:
    """A task, a session's messages, or what Kilo's CLI keeps."""
    name = os.path.basename(file.path).removesuffix(".gz").removesuffix(".zst")
    if name.endswith(_MESSAGES):
        return _Session(file, notes)
    return _Task(file, notes) if name == _TASK else opencode.reader(file, notes)


def beside(file: SourceFile) -> list[str]:
    """Of a task the file that names its parent; of a message of Kilo's CLI its parts."""
    folder, name = os.path.split(file.path)
    if name.startswith(_TASK):
        return [f"{folder}/history_item.json"]
    return [] if _MESSAGES in name else opencode.beside(file)
