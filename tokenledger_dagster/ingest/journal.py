"""Journal segments: the small append-only files in which new records are first made durable.

Here: writing, naming, hashing and reading them.  Not here: Parquet segments (``ingest.compaction``) or the manifest
rows that make a segment part of the ledger.  The format is JSON lines: a header with the streams, then one array
``[rid, stream, record]`` a line, and further headers where segments were folded: it is written without heavy imports
and read with any tool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.record import RECORD_SCHEMA_VERSION, UsageRecord
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_atomic


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


class Header(msgspec.Struct, frozen=True):
    """First line of a segment."""

    schema_version: int
    host: str
    streams: dict[int, StreamHead]


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


def write_segment(lake: Path, host: str, streams: dict[int, StreamHead], rows: list[Line]) -> Segment:
    """Writes ``rows`` (ascending rid, not empty) as a new segment below ``lake``, flushed to the disk."""
    encoder = msgspec.json.Encoder()
    header = Header(RECORD_SCHEMA_VERSION, host, streams)
    data = b"\n".join([encoder.encode(header), encoder.encode_lines(rows)])
    return _written(lake, data, len(rows), rows[0].rid, rows[-1].rid)


def fold(lake: Path, names: Sequence[str]) -> Segment:
    """Writes one segment that holds the lines of several, in order.

    Headers may stand anywhere in a segment and hold for the lines below them, so folding is joining the files.
    """
    data = b"".join((lake / name).read_bytes() for name in names)
    rids = [line.rid for _, line in _lines(data)]
    return _written(lake, data, len(rids), min(rids), max(rids))


def _written(lake: Path, data: bytes, row_count: int, first: int, last: int) -> Segment:
    digest = hashlib.sha256(data).hexdigest()
    name = f"journal/{first:012d}-{last:012d}-{digest[:12]}.jsonl"
    write_atomic(lake / name, data)
    return Segment(name, digest, len(data), row_count, first, last)


def read_segment(path: Path) -> Iterator[tuple[Header, Line]]:
    """Records of a segment, each with the header it stands under.

    Raises SegmentDamagedError where the file is missing or damaged.
    """
    try:
        yield from _lines(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegmentDamagedError(f"{path}: cannot be read ({error}); restore the file from a backup") from error


def _lines(data: bytes) -> Iterator[tuple[Header, Line]]:
    header = None
    decode = msgspec.json.Decoder(Line).decode
    for line in data.splitlines():
        if line.startswith(b"{"):
            header = msgspec.json.decode(line, type=Header)
        elif header is None:
            raise msgspec.DecodeError("a journal segment begins with its header")
        else:
            yield header, decode(line)


def sha256_of(path: Path) -> str:
    """Hash of a segment file as it lies on the disk."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
