"""Cursor: an export of its dashboard, else the token counts of its chats, else loose JSON.

Here: which file is read by what, and that the better source stands.  Not here: the dashboard's CSV (``cursor_export``),
the chats in ``state.vscdb`` (``cursor_state``), or loose JSON records (``cursor_loose``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import (
    BookingFacts,
    Claim,
    Copy,
    DatabaseReader,
    DocumentReader,
    Reader,
    Shape,
    Sink,
    SourceFile,
)
from tokenledger_dagster.clients.cursor_export import ExportReader
from tokenledger_dagster.clients.cursor_loose import LooseDocument, LooseLines, Nothing
from tokenledger_dagster.clients.cursor_state import StateReader
from tokenledger_dagster.clients.logs import Root

WITHOUT_COST = "cursor.without_cost"


class Cursor(Adapter):
    """The Cursor adapter."""

    name = "cursor"
    latest_wins = True

    def shape(self, path: str) -> Shape:
        """An export is read whole: programs write it anew, newest rows first."""
        return "document" if _is_export(path) else super().shape(path)

    def context(self, root: Root) -> Mapping[str, str]:
        """Loose JSON is read where Cursor keeps its files, or as a file named by a person; not in any folder."""
        return {} if root.origin == "--source" and root.path.is_dir() else {"loose": "yes"}

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of what the file is, told by its name."""
        if file.shape == "database":
            return StateReader(file, carry, sink)
        if _is_export(file.path):
            return ExportReader(file, carry, sink)
        if "loose" not in context:
            return Nothing()
        return LooseDocument(file, carry, sink) if file.shape == "document" else LooseLines(file, sink)

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """One request an id; a row of an export without costs does not stand for one that tells the cost."""
        found = super().claims(copies, facts)
        for claim in found:
            told = [copy for copy in claim.copies if copy.reported_cost_nano is not None]
            if told and len(told) < len(claim.copies):
                without = [copy for copy in claim.copies if copy.reported_cost_nano is None]
                claim.copies, claim.losers = told, [*claim.losers, *((copy, WITHOUT_COST) for copy in without)]
        return found


def _is_export(path: str) -> bool:
    return path.lower().removesuffix(".gz").removesuffix(".zst").endswith(".csv")
