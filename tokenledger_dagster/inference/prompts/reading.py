"""Files as lines, documents and databases, in bounded memory, of which a reader takes what may be a prompt.

Here: the three shapes a reader has, and walking a file of each; lines without any of a reader's words are passed over
without being looked at.  Not here: what a row means (the clients' readers), which files there are (`discovery`), or
what a file is packed in (`clients.packed`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, BinaryIO

import msgspec

from tokenledger_dagster.clients import databases, documents, lines, packed
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.inference.policy import PromptPolicy

__all__ = ["Database", "Document", "LineRows", "PromptReader", "read"]

BLOCK_BYTES = 1 << 20
LINE_TOO_LONG = "line_too_long"
DOCUMENT_TOO_LARGE = "document_too_large"
_CR = 13
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class LineRows:
    """Reads a file of JSON lines."""

    words: tuple[bytes, ...] = (b'"user"',)
    """A line without any of these is no prompt and tells nothing of one."""
    wants_first = False
    """Whether the first line is taken whatever it holds."""

    def irrelevant(self, buffer: bytearray, start: int, end: int) -> bool:
        """True only where a line with one of the words provably is no prompt: it is then not decoded."""
        return False

    def take(self, row: dict[str, Any], line: bytes) -> None:
        """Takes one row; whatever type its parts have, nothing is raised."""
        raise NotImplementedError


class Document:
    """Reads a JSON document."""

    def take(self, document: Any) -> None:
        """Takes the whole of it; whatever type its parts have, nothing is raised."""
        raise NotImplementedError


class Database:
    """Reads an SQLite database that its program may be writing."""

    def take(self, connection: sqlite3.Connection) -> int:
        """Takes what is there and returns the bytes looked at; lets `sqlite3.Error` pass."""
        raise NotImplementedError


PromptReader = LineRows | Document | Database


def read(file: SourceFile, reader: PromptReader, policy: PromptPolicy, skipped: Counter[str]) -> int:
    """Give `reader` all that the file holds; returns the bytes read.

    What is no JSON, or too large, is counted in `skipped`.

    Raises:
        OSError, EOFError, ValueError: the file cannot be opened or unpacked.
        sqlite3.Error: the database cannot be read, or is locked.
    """
    if isinstance(reader, Database):
        with databases.opened(file.path) as connection:
            return reader.take(connection)
    with packed.opened_as_told(file.path) as (handle, encoding):
        if encoding == "utf16" and file.size > policy.max_document_bytes:
            skipped[DOCUMENT_TOO_LARGE] += 1  # recoded as a whole
            return 0
        if isinstance(reader, Document):
            return _document(handle, reader, policy.max_document_bytes, skipped)
        return _lines(handle, reader, policy.max_line_bytes, skipped)


def _document(handle: BinaryIO, reader: Document, limit: int, skipped: Counter[str]) -> int:
    data = bytearray()
    while part := handle.read(BLOCK_BYTES):
        data += part
        if len(data) > limit:
            skipped[DOCUMENT_TOO_LARGE] += 1
            return len(data)
    content = bytes(data)
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        sink = Sink(0)
        loaded = documents.load(content, sink)
        skipped.update(sink.skipped)
        if loaded is None:
            return len(content)
        document = loaded[0].value
    reader.take(document)
    return len(content)


def _lines(handle: BinaryIO, reader: LineRows, limit: int, skipped: Counter[str]) -> int:
    """Walk the lines block by block; one buffer, which grows for a longer line up to `limit`."""
    walk = _Walk(reader, skipped)
    buffer, filled, total, cut = bytearray(BLOCK_BYTES), 0, 0, False
    while True:
        with memoryview(buffer) as view:
            count = handle.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        total += count
        filled += count
        used = walk.whole_lines(buffer, filled, skip_first=cut)
        if used:
            cut = False
            filled -= used
            buffer[:filled] = buffer[used : used + filled]
        elif cut:
            filled = 0
        elif filled >= limit:
            skipped[LINE_TOO_LONG] += 1
            cut, filled = True, 0
            del buffer[BLOCK_BYTES:]
        elif filled == len(buffer):
            buffer += bytes(min(len(buffer), limit - len(buffer)))
    if filled and not cut:
        walk.last_line(bytes(buffer[:filled]))
    return total


class _Walk:
    """Finds the lines that hold one of a reader's words; between them no line is looked at."""

    def __init__(self, reader: LineRows, skipped: Counter[str]) -> None:
        self._reader = reader
        self._skipped = skipped
        self._is_first = reader.wants_first

    def whole_lines(self, buffer: bytearray, filled: int, *, skip_first: bool) -> int:
        """Take the lines that end within the first `filled` bytes; returns the bytes up to the last one's end."""
        stop = buffer.rfind(b"\n", 0, filled) + 1
        start = 0
        if skip_first and stop:  # the end of a line that was too long
            start = buffer.find(b"\n", 0, stop) + 1
        if self._is_first and stop:
            self._is_first = False
            end = buffer.find(b"\n", start, stop)
            self._feed(bytes(buffer[start:end]))
            start = end + 1
        words = self._reader.words
        hits = [buffer.find(word, start, stop) for word in words]
        while True:
            at = min((hit for hit in hits if hit >= 0), default=-1)
            if at < 0:
                return stop
            first = buffer.rfind(b"\n", start, at) + 1 or start
            end = buffer.find(b"\n", at, stop)
            if not self._reader.irrelevant(buffer, first, end):
                self._feed(bytes(buffer[first : end - 1 if buffer[end - 1] == _CR else end]))
            start = end + 1
            pairs = zip(hits, words, strict=True)
            hits = [buffer.find(word, start, stop) if 0 <= hit < start else hit for hit, word in pairs]

    def last_line(self, line: bytes) -> None:
        """Take a line without an end, if it is whole; its writer may be about to write the rest."""
        if not (self._is_first or any(word in line for word in self._reader.words)):
            return
        if line.rstrip(b"\x00 \t\r").endswith(b"}"):
            self._feed(line)
        else:
            self._skipped["unfinished_last_line"] += 1

    def _feed(self, line: bytes) -> None:
        try:
            row = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            sink = Sink(0)
            for found, piece, _, _ in lines.objects(line, 0, sink):
                self._reader.take(found, piece)
            self._skipped.update(sink.skipped)
            return
        self._reader.take(row, line)
