"""Journal segments: the small append-only files in which new records are first made durable.

Here: writing, naming, hashing and reading them.  Not here: Parquet segments (``ingest.compaction``) or the manifest
rows that make a segment part of the ledger.  The format is JSON lines: a header with the streams, then one array
``[rid, stream, record]`` a line, or one array with the columns of many records below a header that says so, and further
headers where segments were folded: it is written without heavy imports and read with any tool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tokenledger_dagster.clients.pack import decode_columns
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import staged

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


class PackLine(msgspec.Struct, frozen=True):
    """A pack to be written."""

    head: PackHead
    body: bytes


def write_segment(
    lake: Path, host: str, streams: dict[int, StreamHead], rows: Sequence[Line], packs: Sequence[PackLine] = ()
) -> tuple[Segment, list[int]]:
    """Writes ``rows`` and ``packs`` (not both empty) as a new segment below ``lake``, flushed to the disk.

    Returns the segment and where in it each pack's body begins.
    """
    encoder = msgspec.json.Encoder()
    parts: list[bytes] = []
    rids: list[int] = []
    if rows:
        loose = {row.stream for row in rows}
        heads = {number: head for number, head in streams.items() if number in loose}
        parts += [encoder.encode(Header(JOURNAL_VERSION, host, heads)), b"\n", encoder.encode_lines(rows)]
        rids += [rows[0].rid, rows[-1].rid]
    at = sum(map(len, parts))
    places: list[int] = []
    for pack in packs:
        number = pack.head.stream
        head = encoder.encode(Header(JOURNAL_VERSION, host, {number: streams[number]}, pack.head))
        places.append(at + len(head) + 1)
        at += len(head) + len(pack.body) + 2
        parts += [head, b"\n", pack.body, b"\n"]
        rids += [pack.head.first_rid, pack.head.first_rid + pack.head.rows - 1]
    count = len(rows) + sum(pack.head.rows for pack in packs)
    return _written(lake, parts, count, min(rids), max(rids)), places


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
    form = clients()[header.streams[head.stream].client].pack_format()
    if form is None:
        raise msgspec.DecodeError("a pack of a client that has none")
    for row, record in form.records(decode_columns(body)):
        yield header, Line(head.first_rid + row, head.stream, record)


def sha256_of(path: Path) -> str:
    """Hash of a segment file as it lies on the disk."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
