"""pi and its kin: entries with a user's message in a session's tree, left branches among them.

Here: which entries are a person's, and whose session one is.  Not here: which session owns an entry that a fork copied
(`owners`).
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.pi import session_of
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import LineRows

__all__ = ["reader"]


class _Tree(LineRows):
    words = (b'"user"', b'"session"')

    def __init__(self, file: SourceFile, notes: Notes) -> None:
        self._notes = notes
        name = row_values.name_of(file)
        self._fallback = session_of(file.shown) if "_" in name else name
        self._header: str | None = None
        self._parent: str | None = None
        self._began_us: int | None = None

    def take(self, row: dict[str, Any], line: bytes) -> None:
        if row.get("type") == "session":
            self._begin(row)
            return
        message = object_of(row.get("message"))
        if message.get("role") != "user":
            return
        time = next((one for one in (row.get("timestamp"), message.get("timestamp")) if one is not None), None)
        told = values.time_us(time)
        # a fork begins with its parent's entries as they were
        copied = told is not None and self._began_us is not None and told < self._began_us
        session = (self._parent if copied else None) or self._header or self._fallback
        self._notes.typed(session, message.get("content"), time=time, name=row.get("id"))

    def _begin(self, row: dict[str, Any]) -> None:
        self._header = values.text(row.get("id")) or self._header
        parent = values.text(row.get("parentSession")) or values.text(row.get("branchedFrom"))
        self._parent = session_of(parent) if parent else self._parent
        self._began_us = values.time_us(row.get("timestamp")) or self._began_us
        self._notes.at(row.get("timestamp"))


def reader(file: SourceFile, notes: Notes) -> LineRows:
    """A session's tree."""
    return _Tree(file, notes)
