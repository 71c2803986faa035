"""JSON lines as plain objects, for clients whose logs are small enough to decode every row.

Here: the walk from a line to its objects, fast where the line decodes at once.  Not here: what a row means.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenledger_dagster.clients import lines
from tokenledger_dagster.clients.base import Lineage, Sink

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RowReader:
    """Reads lines; a subclass says what a row is (``take``) and what is kept between appends (``carry``)."""

    skippable: tuple[bytes, ...] = ()
    """How lines begin that carry no usage unless one of ``telling`` stands in them."""
    telling: tuple[bytes, ...] = ()

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Whole rows of kinds that tell nothing; a row glued behind one shows by a word of ``telling``."""
        return (
            buffer.startswith(self.skippable, start)
            and end > start
            and buffer[end - 1] == 0x7D  # a row that is cut short is told as such
            and all(buffer.find(word, start, end) < 0 for word in self.telling)
        )

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Takes every object on the line; what is none goes to the sink."""
        try:
            row = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            for found, piece, at, flags in lines.objects(line, offset, self._sink):
                self.take(found, piece, at, flags)
            return
        self.take(row, line, offset, [])

    def take(self, row: dict[str, Any], line: bytes, offset: int, flags: list[str]) -> None:
        """Adds what one row tells to the sink."""
        raise NotImplementedError

    def carry(self) -> bytes:
        """What the reader must remember to go on from here."""
        raise NotImplementedError

    def lineage(self) -> Lineage | None:
        """A file may hold rows of several sessions."""
        return None


def member(value: Any, *path: str) -> Any:
    """The member at the end of ``path``, or None where the way there is no object."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
