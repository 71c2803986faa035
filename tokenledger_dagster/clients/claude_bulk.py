"""Claude Code transcripts read by the compiled reader.

Here: what the C code (``clients/bulk/claude.c``) asks of Python: contexts by the texts of a row, and rows it does not
vouch for.  Not here: what a row means (``clients.claude_pack``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenledger_dagster.clients import _bulk
from tokenledger_dagster.clients.bulk_pack import BulkPacker
from tokenledger_dagster.clients.claude_pack import ClaudePacker, is_plain
from tokenledger_dagster.clients.pack import Context

_text = msgspec.json.Decoder(str).decode


class ClaudeBulkPacker(BulkPacker, ClaudePacker):
    """The packer of transcripts whose rows C takes; the Python packer gets every line that C does not vouch for."""

    def begin(self) -> None:
        """Starts a pack."""
        super().begin()
        self._outputs: Any = _bulk.Column("q")
        self._raw_contexts: dict[bytes, int] = {}
        """Numbers of contexts by their bytes in the log; the C code's own."""

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines of a block (``clients.pack.Packer``)."""
        return _bulk.take_claude(self, data, filled, base)

    def place_of(self, texts: tuple[bytes | None, ...], is_sidechain: int, is_progress: int, is_empty: int) -> int:
        """Number of a context; -1 where a text is not kept as it stands.

        ``texts``: agent, folder and so on in the order of a context, each with its quotes as the log has it.
        """
        try:
            session, *others = [None if text is None else _text(text) for text in texts]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return -1
        context: Context = (session, bool(is_sidechain), *others, bool(is_progress), bool(is_empty))
        known = self._contexts.get(context)
        if known is None:
            if not is_plain(context):
                return -1
            known = self._contexts[context] = len(self._contexts)
        return known
