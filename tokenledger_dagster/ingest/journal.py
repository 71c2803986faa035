"""Journal segments: the small append-only files in which new records are first made durable.

Here: writing, naming, hashing and reading them.  Not here: Parquet segments (``ingest.compaction``) or the manifest
rows that make a segment part of the ledger.  The format is JSON lines: a header with the streams, then one array
``[rid, stream, record]`` a line, or one array with the columns of many records below a header that says so, and further
headers where segments were folded: it is written without heavy imports and read with any tool.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from tokenledger_dagster.clients.pack import decode_columns
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import publish, staged

JOURNAL_VERSION = 2
"""1 had no packs and is read as well."""


class SegmentDamagedError(TokenLedgerError):
    """A segment is not what was written; the message names the file and the remedy."""


class StreamHead(msgspec.Struct, frozen=True):
    """What all records of a stream share."""

    client: str
    source_id: str
    source_path: str
    generation: int
    parser_version: int
    encoding: str


class PackHead(msgspec.Struct, frozen=True):
    """Says that the line below a header is a pack: the columns of many records (``clients.pack``)."""

    stream: int
    first_rid: int
    rows: int


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """First line of a segment, or of a part of one."""

    schema_version: int
    host: str
    streams: dict[int, StreamHead]
    pack: PackHead | None = None


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record of a segment."""

    rid: int
    stream: int
    record: UsageRecord


class Segment(msgspec.Struct, frozen=True):
    """A segment as the manifest lists it."""

    name: str
    sha256: str
    bytes: int
    row_count: int
    first_rid: int
    last_rid: int


class SegmentWriter:
    """A new segment below a lake: a hidden file until it is finished."""

    def __init__(self, lake: Path, host: str) -> None:
        self._folder = lake / "journal"
        self._path = self._folder / f".{os.urandom(16).hex()}.tmp"
        self._host = host
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = self._rows = self._first = self._last = 0

    def add_lines(self, stream: int, head: StreamHead, rows: Sequence[Line]) -> None:
        """Writes records of one stream, in ascending order of their numbers."""
        header = Header(JOURNAL_VERSION, self._host, {stream: head})
        self._write(_encoder.encode(header) + b"\n" + _encoder.encode_lines(rows))
        self._count(rows[0].rid, len(rows))

    def add_pack(self, pack: PackHead, head: StreamHead, body: bytes) -> int:
        """Writes the columns of many records; returns where they begin."""
        self._write(_encoder.encode(Header(JOURNAL_VERSION, self._host, {pack.stream: head}, pack)) + b"\n")
        place = self._size
        self._write(body)
        self._write(b"\n")
        self._count(pack.first_rid, pack.rows)
        return place

    def finish(self) -> Segment | None:
        """Flushes the file and gives it its name; None where nothing was written."""
        if self._file is None:
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        digest = self._hash.hexdigest()
        name = f"journal/{self._first:012d}-{self._last:012d}-{digest[:12]}.jsonl"
        publish(self._path, self._folder.parent / name)
        return Segment(name, digest, self._size, self._rows, self._first, self._last)

    def abandon(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb", buffering=1 << 18)
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def _count(self, first: int, rows: int) -> None:
        self._first = self._first or first
        self._last = max(self._last, first + rows - 1)
        self._rows += rows


_encoder = msgspec.json.Encoder()


def fold(lake: Path, old: Sequence[Segment]) -> tuple[Segment, list[int]]:
    """Writes one segment that holds the lines of several, in order; returns it with where each of them begins in it.

    Headers may stand anywhere in a segment and hold for the lines below them, so folding is joining the files.
    """
    parts = [(lake / one.name).read_bytes() for one in old]
    starts = [sum(map(len, parts[:place])) for place in range(len(parts))]
    rows = sum(one.row_count for one in old)
    first, last = min(one.first_rid for one in old), max(one.last_rid for one in old)
    return _written(lake, parts, rows, first, last), starts


def _written(lake: Path, parts: Sequence[bytes], row_count: int, first: int, last: int) -> Segment:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    digest = hashed.hexdigest()
    name = f"journal/{first:012d}-{last:012d}-{digest[:12]}.jsonl"
    with staged(lake / name) as temporary, temporary.open("wb") as handle:
        handle.writelines(parts)
    return Segment(name, digest, sum(map(len, parts)), row_count, first, last)


def read_segment(path: Path) -> Iterator[tuple[Header, Line]]:
    """Records of a segment, each with the header it stands under.

    Raises SegmentDamagedError where the file is missing or damaged.
    """
    try:
        yield from _lines(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegmentDamagedError(f"{path}: cannot be read ({error}); restore the file from a backup") from error


def _lines(data: bytes) -> Iterator[tuple[Header, Line]]:
    header, in_pack = None, False
    decode = msgspec.json.Decoder(Line).decode
    for line in data.splitlines():
        if line.startswith(b"{"):
            header = msgspec.json.decode(line, type=Header)
            in_pack = header.pack is not None
        elif header is None:
            raise msgspec.DecodeError("a journal segment begins with its header")
        elif in_pack and header.pack is not None:
            yield from _unpacked(header, header.pack, line)
        else:
            yield header, decode(line)


def _unpacked(header: Header, head: PackHead, body: bytes) -> Iterator[tuple[Header, Line]]:
    client = clients().get(header.streams[head.stream].client)
    form = client.pack_format() if client is not None else None
    columns = decode_columns(body)
    if form is None or form.layout != columns.layout:
        raise msgspec.DecodeError(f"a pack of the layout {columns.layout}, which this program does not know")
    for row, record in form.records(columns):
        yield header, Line(head.first_rid + row, head.stream, record)


def sha256_of(path: Path) -> str:
    """Hash of a segment file as it lies on the disk."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
