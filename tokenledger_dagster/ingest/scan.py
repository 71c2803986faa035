"""One file from a known place to its end: records, what was passed over, and where to go on.

Here: a pure function over one file, fit to run in another process.  Not here: which files to read
(``ingest.plan``) or where results go (``ingest.commit``).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import msgspec

from tokenledger_dagster.clients.base import Lineage, Sink, SourceFile
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import Bad, UsageRecord
from tokenledger_dagster.ingest import reading

_CHAIN = struct.Struct("<qq")


class Start(msgspec.Struct, frozen=True):
    """Where to begin: the beginning of the file, or after what an earlier scan consumed."""

    offset: int = 0
    ordinal: int = 0
    chain: str = ""
    carry: bytes | None = None


class Scanned(msgspec.Struct):
    """What one scan found."""

    records: list[UsageRecord]
    skipped: dict[str, int]
    bad: list[Bad]
    position: reading.Position
    encoding: str
    carry: bytes
    chains: list[str]
    """Digest over (offset, length, hash) of the stream's records, after each record of this scan."""
    lineage: Lineage | None
    bytes_read: int
    error: str | None = None


def scan(file: SourceFile, start: Start, context: Mapping[str, str], now_us: int) -> Scanned:
    """Reads ``file`` from ``start``.  What cannot be read ends in ``error``; whatever was read before it is kept."""
    client = clients()[file.client]
    sink = Sink(now_us, start.ordinal)
    reader = client.reader(file, start.carry, sink, context)
    offset, rest, error, encoding = start.offset, b"", None, "plain"
    position = reading.Position(start.offset, "", 0, "", 0, 0)
    try:
        encoding = reading.encoding_of(file.path)
        with reading.opened(file.path, encoding) as handle:
            if offset:
                handle.seek(offset)
            try:
                offset, rest = reading.walk_lines(handle, reader, offset)
            except (OSError, EOFError, ValueError) as problem:
                error = f"{type(problem).__name__}: {problem}"[:200]
                sink.skipped["unreadable_rest"] += 1
            else:
                position = reading.position_of(handle, offset, len(rest))
    except (OSError, EOFError, ValueError) as problem:
        error = f"{type(problem).__name__}: {problem}"[:200]
        sink.skipped["unreadable_file"] += 1
    return Scanned(
        records=sink.records,
        skipped=dict(sink.skipped),
        bad=sink.bad,
        position=position,
        encoding=encoding,
        carry=reader.carry(),
        chains=chains(start.chain, sink.records),
        lineage=reader.lineage(),
        bytes_read=max(0, offset - start.offset) + len(rest),
        error=error,
    )


def chains(chain: str, records: list[UsageRecord]) -> list[str]:
    """Digest over (offset, length, hash) of all records up to each of ``records``, going on from ``chain``."""
    digests: list[str] = []
    state = bytes.fromhex(chain)
    for record in records:
        evidence = _CHAIN.pack(record.byte_offset, record.byte_length) + bytes.fromhex(record.record_sha256)
        state = hashlib.blake2b(state + evidence, digest_size=16).digest()
        digests.append(state.hex())
    return digests
