"""Kilo Code: its CLI keeps opencode's tables, its VS Code extension (up to 5.x) the task files of Roo.

Here: which of its sources is read how.  Not here: either layout (``clients.opencode_messages``, ``clients.tasks``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tokenledger_dagster.clients import tasks
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.opencode import OpenCode


class Kilo(OpenCode):
    """The Kilo adapter: requests of the CLI by message id, those of the extension by task and time."""

    name = "kilo"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of the database, of one message's file, or of a task."""
        if os.path.basename(file.path).startswith("ui_messages.json"):
            return tasks.TaskFile(file, carry, sink, tasks.KILO)
        return super().reader(file, carry, sink, context)
