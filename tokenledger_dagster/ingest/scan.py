"""One file from a known place to its end: records, what was passed over, and where to go on.

Here: a pure function over one file, fit to run in another process.  Not here: which files to read
(``ingest.plan``) or where results go (``ingest.commit``).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from tokenledger_dagster.clients import compiled, packed
from tokenledger_dagster.clients.base import Lineage, Reader, Sink, SourceFile
from tokenledger_dagster.clients.pack import (
    Cut,
    Packed,
    Packer,
    PackFormat,
    SessionNote,
    evidence,
    is_listed,
    note_session,
    session_notes,
    summarise,
)
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import Bad, UsageRecord
from tokenledger_dagster.ingest import reading
from tokenledger_dagster.ingest.trouble import is_lasting, told

NO_USAGE = "no_usage"
"""Skip reason of a whole file that holds no usage (yet)."""
FOREIGN = "is no file that {client} writes; remove it, or name the client whose log it is"
PACK_ROWS = 50_000
"""Rows above which a pack is closed."""


class Chain(msgspec.Struct, frozen=True):
    """What all records of a stream come to: (offset, hash) of each, in order, however many readings they took.

    A hash that could not be extended would have to be taken in the same pieces again.  So the records are the digits of
    one large number, of which the remainder by a prime is kept: more records shift it.
    """

    digest: str = ""
    length: int = 0
    """Records in all."""


class Start(msgspec.Struct, frozen=True):
    """Where to begin: the beginning of the file, or after what an earlier scan consumed."""

    offset: int = 0
    chain: Chain = Chain()
    carry: bytes | None = None
    kept: Chain | None = None
    """What is stored of a file that is read again from its beginning."""


class Scanned(msgspec.Struct):
    """What one scan found."""

    records: list[UsageRecord]
    """Records that need general booking, in order."""
    packs: list[Packed]
    """All others."""
    sessions: list[SessionNote]
    skipped: dict[str, int]
    bad: list[Bad]
    position: reading.Position
    encoding: str
    carry: bytes
    chain: Chain
    continues: bool
    """For a file read again: whether it still begins with all that was stored of it, which is then left out here."""
    lineage: Lineage | None
    bytes_read: int
    error: str | None = None
    is_lasting: bool = False
    """Whether the same bytes would end in the same error."""
    problems: list[str] = []
    """What a person should be told of the file."""
    whole: bool = False
    """For an observed file: whether all of it was looked at, so that what is passed over is counted anew."""

    @property
    def count(self) -> int:
        """Records of both kinds."""
        return len(self.records) + sum(packed.rows for packed in self.packs)


def scan(file: SourceFile, start: Start, context: Mapping[str, str], now_us: int) -> Scanned:
    """Reads ``file`` from ``start``.  What cannot be read ends in ``error``; whatever was read before it is kept."""
    try:
        return _told_if_empty(_read(file, start, context, now_us), start)
    except Exception as problem:  # a fault of an adapter: the other files are read
        failed = _nothing(start, {"unreadable_file": 1})
        failed.error, failed.is_lasting = told(problem), is_lasting(problem)
        return failed


def _read(file: SourceFile, start: Start, context: Mapping[str, str], now_us: int) -> Scanned:
    if file.shape != "lines":
        from tokenledger_dagster.ingest.observing import observe  # most logs are lines

        return observe(file, start, context, now_us)
    scanned, rows = _scan_fast(file, start, context, now_us)
    if start.kept is not None and start.kept.length and _begins_with(start.kept, *rows):
        scanned.continues = True
        scanned.chain = extended(start.kept, *_cut(start.kept.length, *rows))
        if len(rows[0]) == start.kept.length:
            scanned.records, scanned.packs, scanned.sessions = [], [], []
        else:  # only the careful reader's records can be cut where the stored ones end
            careful, _ = _scan(file, start, context, now_us, fast=False)
            scanned.records, scanned.packs = careful.records[start.kept.length :], []
            scanned.sessions = notes_of(scanned.records)
    return scanned


def _scan_fast(
    file: SourceFile, start: Start, context: Mapping[str, str], now_us: int
) -> tuple[Scanned, tuple[Sequence[int], Sequence[int], bytes]]:
    """Scans with the compiled readers, and once more without them where they fail: no usage is lost by a bad build."""
    try:
        found = _scan(file, start, context, now_us, fast=True)
        if found[0].error is None or not found[0].is_lasting or compiled.bulk() is None:
            return found
    except Exception:
        if compiled.bulk() is None:
            raise
    with compiled.left_out():
        return _scan(file, start, context, now_us, fast=True)


def _told_if_empty(scanned: Scanned, start: Start) -> Scanned:
    """Counts a file that was read from its beginning and holds neither usage nor anything that was passed over."""
    is_first = not start.offset and not start.chain.length and not (start.kept and start.kept.length)
    if is_first and not scanned.count and not scanned.skipped and not scanned.position.held_back and not scanned.error:
        scanned.skipped = {NO_USAGE: 1}
    return scanned


def _scan(
    file: SourceFile, start: Start, context: Mapping[str, str], now_us: int, *, fast: bool
) -> tuple[Scanned, tuple[Sequence[int], Sequence[int], bytes]]:
    client = clients()[file.client]
    sink = Sink(now_us, start.chain.length)
    trouble: Exception | None = None
    reader = cast(Reader, client.reader(file, start.carry, sink, context))
    if not hasattr(reader, "feed"):  # a file that somebody added, which the client never writes
        found = _nothing(start, {"no_log_of_the_client": 1})
        found.problems = [FOREIGN.format(client=file.client)]
        return found, ([], [], b"")
    form = client.pack_format() if fast else None
    packer = form.packer(file, sink, reader) if form is not None else None
    cut: list[Cut] = []
    take = reading.each_line(reader) if packer is None else _taking(packer, cut)
    offset, rest, encoding = start.offset, b"", "plain"
    position = reading.Position(start.offset, "", 0, "", 0, 0)
    try:
        with packed.opened_as_told(file.path) as (handle, encoding):
            if offset:
                handle.seek(offset)
            try:
                walked = reading.walk_blocks(handle, take, offset, file.size if encoding == "plain" else None)
                offset, rest = walked.offset, walked.rest
            except Exception as problem:  # whatever it is, the other files are read
                trouble = problem
                sink.skipped["unreadable_rest"] += 1
            else:
                if not start.offset:
                    position = reading.position_read(walked)
                elif encoding == "zstd":
                    position = reading.position_in(file.path, offset, len(rest))
                else:
                    position = reading.position_of(handle, offset, len(rest))
    except Exception as problem:
        trouble = problem
        sink.skipped["unreadable_file"] += 1
    if packer is not None and packer.rows:
        cut.append(packer.cut())
    rows = evidence([one.columns for one in cut], sink.records)
    scanned = Scanned(
        records=sink.records,
        packs=[_booked(form, one) for one in cut] if form is not None else [],
        sessions=notes_of(sink.records),
        skipped=dict(sink.skipped),
        bad=sink.bad,
        position=position,
        encoding=encoding,
        carry=reader.carry(),
        chain=extended(start.chain, *rows),
        continues=False,
        lineage=reader.lineage(),
        bytes_read=max(0, offset - start.offset) + len(rest),
        error=told(trouble) if trouble is not None else None,
        is_lasting=trouble is not None and is_lasting(trouble),
        problems=sink.problems,
    )
    if form is not None and cut:
        notes = {note.name: note for note in scanned.sessions}
        for one in cut:
            _note(form, one, notes)
        scanned.sessions = list(notes.values())
    return scanned, rows


def _booked(form: PackFormat, cut: Cut) -> Packed:
    """A pack with the sums of what its own file tells."""
    if is_listed(cut):
        return summarise(form, cut)
    from tokenledger_dagster.clients.bulk_pack import summarise_in_bulk

    return summarise_in_bulk(form, cut)


def _note(form: PackFormat, cut: Cut, notes: dict[str, SessionNote]) -> None:
    """Takes what a pack tells of its sessions into ``notes``."""
    if is_listed(cut):
        session_notes(form, cut, notes)
        return
    from tokenledger_dagster.clients.bulk_pack import session_notes_in_bulk

    session_notes_in_bulk(form, cut, notes)


def _nothing(start: Start, skipped: dict[str, int]) -> Scanned:
    """What a scan of a file finds of which nothing could be read."""
    return Scanned(
        records=[],
        packs=[],
        sessions=[],
        skipped=skipped,
        bad=[],
        position=reading.Position(start.offset, "", 0, "", 0, 0),
        encoding="plain",
        carry=start.carry or b"",
        chain=start.chain,
        continues=False,
        lineage=None,
        bytes_read=0,
    )


def _taking(packer: Packer, cut: list[Cut]) -> reading.Take:
    """Reads with the fast reader, and closes a pack when it is large: memory is bounded whatever a file's size."""

    def take(data: bytes | bytearray, filled: int, base: int) -> int:
        used = packer.take(data, filled, base)
        if packer.rows >= PACK_ROWS:
            cut.append(packer.cut())
            packer.begin()
        return used

    return take


def notes_of(records: Sequence[UsageRecord]) -> list[SessionNote]:
    """What records tell of their sessions."""
    notes: dict[str, SessionNote] = {}
    for record in records:
        note_session(notes, record.session_id, record.timestamp_us, record.cwd)
    return list(notes.values())


_PRIME = 2**150 - 3
_DIGIT_BYTES = 32
_CHAIN_BYTES = 19


def extended(chain: Chain, offsets: Sequence[int], _lengths: Sequence[int], hashes: bytes) -> Chain:
    """The chain with some rows more; a row's length needs no place in it, for its hash tells it."""
    if not offsets:
        return chain
    bulk = compiled.bulk()
    if bulk is not None:
        known = int(chain.digest or "0", 16).to_bytes(_CHAIN_BYTES, "big")
        return Chain(
            bulk.extended(known, offsets if isinstance(offsets, array) else array("q", offsets), hashes).hex(),
            chain.length + len(offsets),
        )
    spread = array("q", bytes(len(hashes)))
    spread[::4] = array("q", offsets)
    digits = int.from_bytes(hashes, "big") + int.from_bytes(spread.tobytes(), "big")
    before = int(chain.digest or "0", 16) * pow(2, 8 * _DIGIT_BYTES * len(offsets), _PRIME)
    return Chain(f"{(before + digits) % _PRIME:038x}", chain.length + len(offsets))


def _begins_with(kept: Chain, offsets: Sequence[int], lengths: Sequence[int], hashes: bytes) -> bool:
    """Whether the rows of a file read again begin with those stored of it."""
    count = kept.length
    if count > len(offsets):
        return False
    return extended(Chain(), offsets[:count], lengths[:count], hashes[: _DIGIT_BYTES * count]) == kept


def _cut(
    at: int, offsets: Sequence[int], lengths: Sequence[int], hashes: bytes
) -> tuple[Sequence[int], Sequence[int], bytes]:
    return offsets[at:], lengths[at:], hashes[32 * at :]


def chain_of(records: Sequence[UsageRecord]) -> Chain:
    """The chain of a stream's records as if they had been read at once."""
    return extended(Chain(), *evidence([], records))
