"""JSON lines as plain objects: the base of all readers that decode every row, and what is common to rows.

Here: the walk from a line to its objects, fast where the line decodes at once.  Not here: what a row means, or lines
that need care (``clients.lines``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenledger_dagster.clients import lines
from tokenledger_dagster.clients.base import Lineage, Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence

Row = dict[str, Any]
_decode = msgspec.json.Decoder(Row).decode


class RowReader:
    """Reads lines; a subclass says what a row is (``take``), and what is kept between appends, if anything."""

    skippable: tuple[bytes, ...] = ()
    """How lines begin that carry no usage unless one of ``telling`` stands in them."""
    telling: tuple[bytes, ...] = ()

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self.file = file
        self.sink = sink

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Whole rows of kinds that tell nothing; a row glued behind one shows by a word of ``telling``."""
        return (
            buffer.startswith(self.skippable, start)
            and end > start
            and buffer[end - 1] == 0x7D  # a row that is cut short is told as such
            and all(buffer.find(word, start, end) < 0 for word in self.telling)
        )

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Takes every object on the line; what is none is counted and quarantined."""
        try:
            row = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            for found, piece, at, flags in lines.objects(line, offset, self.sink):
                self.take(found, Evidence.of(piece, at), flags)
            return
        self.take(row, Evidence.of(line, offset), [])

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Adds what one row tells to the sink: the row, where it stands, and what had to be mended."""
        raise NotImplementedError

    def carry(self) -> bytes:
        """Nothing to remember."""
        return b""

    def lineage(self) -> Lineage | None:
        """Rows name their session themselves."""
        return None


def member(value: Any, *path: str) -> Any:
    """The member at the end of ``path``, or None where the way there is no object."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def object_of(value: object) -> Row:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
