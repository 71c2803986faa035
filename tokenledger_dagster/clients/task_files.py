"""What the files beside a task's rows tell of its requests: model, provider, folder and parent task.

Here: ``task_metadata.json`` (Cline), ``history_item.json`` (Roo, Kilo) and the prompts' environment details in
``api_conversation_history.json``.  Not here: the usage rows (``clients.tasks``).  Of prompts nothing is kept but
a model name and the working folder.
"""

from __future__ import annotations

import bisect
import os
import re
from functools import cached_property
from typing import Any

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.rows import object_of

FILE_BYTES = 256 << 20
"""A larger file beside a task is not looked into."""
_NAME = re.compile(r"[A-Za-z0-9_.\-:/@\[\]]{1,128}")
_MODEL = re.compile(r"<model>([A-Za-z0-9_.\-:/@\[\]]{1,128})</model>")
_FOLDER = re.compile(rb"# Current Work(?:ing|space) Directory \((/[^)\\\"\x00-\x1f]{0,1023})\) Files")
_Told = tuple[str, str | None]


def model_name(value: object) -> str | None:
    """A model's name; anything that does not look like one is not kept."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


class TaskFiles:
    """The files beside one task's rows, each read when it is first asked for."""

    def __init__(self, folder: str, requests: list[int]) -> None:
        self._folder = folder
        self._requests = sorted(requests)

    def model_at(self, time_us: int | None) -> tuple[str | None, str | None]:
        """Model and provider of the request of that time: the last that was noted before the next request began."""
        noted = self._metadata or self._prompts
        if not noted:
            return None, None
        if time_us is None:
            return noted[-1][1]
        following = bisect.bisect_right(self._requests, time_us)
        before = self._requests[following] if following < len(self._requests) else None
        known = [told for at, told in noted if before is None or at < before]
        return known[-1] if known else noted[0][1]

    @cached_property
    def folder(self) -> str | None:
        """The folder the task worked in."""
        told = values.text(self._history_item.get("workspace"))
        if told is not None:
            return told
        found = _FOLDER.search(self._read("api_conversation_history.json")[: 1 << 20])
        return values.text(found[1].decode("utf-8", "replace")) if found else None

    @cached_property
    def parent(self) -> str | None:
        """The task this one is a part of (Roo, Kilo)."""
        return values.text(self._history_item.get("parentTaskId"))

    @cached_property
    def _history_item(self) -> dict[str, Any]:
        return object_of(_decoded(self._read("history_item.json")))

    @cached_property
    def _metadata(self) -> list[tuple[int, _Told]]:
        """Cline notes each change of the model."""
        entries = object_of(_decoded(self._read("task_metadata.json"))).get("model_usage")
        noted = []
        for entry in entries if isinstance(entries, list) else []:
            model = model_name(object_of(entry).get("model_id"))
            if model is not None:
                noted.append(
                    (values.time_us(entry.get("ts")) or 0, (model, values.upstream(entry.get("model_provider_id"))))
                )
        return sorted(noted, key=lambda one: one[0])

    @cached_property
    def _prompts(self) -> list[tuple[int, _Told]]:
        """Roo and Kilo tell the model it runs on in each prompt."""
        data = self._read("api_conversation_history.json")
        if b"<model>" not in data:
            return []
        messages = _decoded(data)
        noted: list[tuple[int, _Told]] = []
        for message in messages if isinstance(messages, list) else []:
            if object_of(message).get("role") != "user":
                continue
            for text in _texts(message.get("content")):
                details = text.rfind("<environment_details>")
                found = _MODEL.search(text, details) if details >= 0 else None
                if found:
                    noted.append((values.time_us(message.get("ts")) or 0, (found[1], None)))
        return sorted(noted, key=lambda one: one[0])

    def _read(self, name: str) -> bytes:
        if name not in self._kept:
            self._kept[name] = _content(f"{self._folder}/{name}")
        return self._kept[name]

    @cached_property
    def _kept(self) -> dict[str, bytes]:
        return {}


def _content(path: str) -> bytes:
    try:
        if not os.path.isfile(path):  # a pipe would wait for its writer
            return b""
        with open(path, "rb") as handle:
            return handle.read() if os.fstat(handle.fileno()).st_size <= FILE_BYTES else b""
    except OSError:
        return b""


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data) if data else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    blocks = content if isinstance(content, list) else []
    return [block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]
