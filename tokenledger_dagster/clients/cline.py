"""Cline and its fork Roo Code: a row for every request in the task files of their VS Code extensions.

Here: which of their sources is read how.  Not here: the rows (``clients.tasks``, ``clients.cline_sessions``).
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenledger_dagster.clients import tasks
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.cline_sessions import SessionFile


class Cline(Adapter):
    """The Cline adapter: requests by task and time (extension up to 4.0), or by session and message id (CLI, 4.1)."""

    name = "cline"
    latest_wins = True

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of a task, or of a session's messages."""
        if file.path.removesuffix(".gz").removesuffix(".zst").endswith(".messages.json"):
            return SessionFile(file, carry, sink)
        return tasks.TaskFile(file, carry, sink, tasks.CLINE)


class Roo(Adapter):
    """The Roo Code adapter: requests by task and time."""

    name = "roo"
    latest_wins = True

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of a task."""
        return tasks.TaskFile(file, carry, sink, tasks.ROO)
