"""opencode: one assistant message a request, in SQLite databases and in the JSON files that came before them.

Here: which of its sources is read how.  Not here: what a message holds (``clients.opencode_messages``).
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.opencode_messages import MessageFile, SessionFiles
from tokenledger_dagster.clients.opencode_tables import MessageTables


class OpenCode(Adapter):
    """The opencode adapter: a message's id is the request, its last state counts, the database before the file."""

    name = "opencode"
    latest_wins = True

    def __init__(self) -> None:
        super().__init__()
        self._sessions = SessionFiles()

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of the database, or of one message's file."""
        if file.shape == "database":
            return MessageTables(file, carry, sink)
        return MessageFile(file, carry, sink, self._sessions)
