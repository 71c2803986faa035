"""Packs: the usage rows of one file as columns, read and booked in bulk where a file's own rows tell all about them.

Here: the columns, what a scan tells of them, and the arithmetic both fast readers share.  Not here: any client's own
rows (``clients.claude_pack``, ``clients.codex_pack``), or what happens when files show the same request
(``ingest.packs``).

A pack holds exactly the records that the careful reader would have made of the same rows: ``PackFormat.records`` makes
them.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec

from tokenledger_dagster.clients.base import Reader, Sink, SourceFile
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.quarters import SLOT_US

PROMPT_STEPS = (100_000, 128_000, 200_000, 256_000, 272_000, 512_000, 1_000_000)
"""Prompt sizes at which some price list changes its rate; requests between two of them can be priced as a sum."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

BOOKED, WEAK, CONTACT, BARRED = range(4)
"""States of a pack's events: booked by the pack alone; booked only if no other file shows the request; decided by
general booking together with other records; billing nothing by the file's own account."""

Tokens = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Values = tuple[Any, ...]
Context = tuple[Any, ...]


class Columns(msgspec.Struct, array_like=True, gc=False):
    """The rows of a pack.  Lists run over rows unless said otherwise; a journal holds this as one JSON array."""

    layout: str
    """Which packer wrote it, with a number that is raised when the meaning of a column changes."""
    ordinals: list[int]
    """Positions among the stream's records."""
    offsets: list[int]
    lengths: list[int]
    hashes: bytes
    """SHA-256 digests of the rows, 32 bytes each."""
    times: list[Moment]
    contexts: list[Context]
    """What many rows share; by context number."""
    context_of: list[int]
    identities: list[Any]
    """What makes an event one request; by event number."""
    event_of: list[int]
    winners: list[int]
    """Row that stands for an event; by event number."""
    values: list[Values]
    """The log's counters."""
    extras: dict[int, Any] = {}
    """What only some rows have; by row."""


class Cut(NamedTuple):
    """Rows taken so far, and the earliest time of each event."""

    columns: Columns
    firsts: list[datetime]


class Cell(msgspec.Struct, array_like=True, gc=False):
    """Sums of the booked events of one quarter hour, context and price step."""

    slot: int
    context: int
    prefix: str
    """Prefix of the message ids where one names the channel."""
    step: int
    """Number of ``PROMPT_STEPS`` below the prompt."""
    count: int
    counters: list[int]
    """In the order of ``contracts.record.Counters``."""


Priced = tuple[str, str | None, str | None, str | None]
"""The fields of a ``PricedContext``."""


class PricedContext(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The part of a context that sessions, models and prices are told by."""

    session: str
    model_raw: str | None
    speed: str | None
    service_tier: str | None


class SessionNote(msgspec.Struct, array_like=True):
    """Earliest row of a session, and the working folder of the earliest row that has one."""

    name: str
    first_us: int
    project_us: int | None
    project: str | None


class Packed(msgspec.Struct, array_like=True):
    """A pack with what booking needs of it."""

    body: bytes
    """``Columns`` as JSON."""
    digest: int
    """CRC-32 of the body."""
    rows: int
    keys: bytes
    """32-bit key of each event's booking group: requests that are one have equal keys."""
    checks: bytes
    """32-bit check of the rest of each event's identity."""
    times: bytes
    """Time of each event, 64-bit microseconds."""
    states: bytes
    contexts: list[PricedContext]
    rules: dict[str, int]
    """Rows set aside within the file, by rule."""
    cells: list[Cell]
    weak_cells: dict[int, Cell]
    """Sums of each WEAK event, by event number."""


class Packer(Protocol):
    """A client's fast reader: what it cannot vouch for it gives to the careful one (``clients.base.Reader``)."""

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines of a block: the first ``filled`` bytes of ``data``, at ``base`` in the file.

        Returns the bytes they took.  Nothing of ``data`` is kept: the next block comes in the same place.
        """
        ...

    @property
    def rows(self) -> int:
        """Rows taken since the last ``begin``."""
        ...

    def cut(self) -> Cut:
        """The rows taken since the last ``begin``; not to be asked for where there are none."""
        ...

    def begin(self) -> None:
        """Goes on after a ``cut``."""
        ...


class RowPacker:
    """What both fast readers keep of a file's rows, and how the careful reader gets what they cannot vouch for."""

    layout: str

    def __init__(self, sink: Sink, reader: Reader) -> None:
        self._sink = sink
        self._careful = reader
        self._latest_us = min(sink.now_us + 86_400_000_000, 200_000_000_000_000_000)
        self._latest = EPOCH + timedelta(microseconds=self._latest_us)
        self._packed = 0
        self.begin()

    def begin(self) -> None:
        """Starts a pack."""
        self._first = self._sink.first_ordinal + len(self._sink.records) + self._packed
        self._contexts: dict[Context, int] = {}
        self._identities: list[Any] = []
        self._extras: dict[int, Any] = {}
        self._gaps: list[tuple[int, int]] = []
        """(rows before, records) of what the careful reader made in between."""
        self._begin_columns()

    def _begin_columns(self) -> None:
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._hashes: list[bytes] = []
        self._times: list[datetime] = []
        self._context_of: list[int] = []
        self._event_of: list[int] = []
        self._winners: list[int] = []
        self._values: list[Values] = []
        self._firsts: list[datetime] = []
        """Time of each event: the earliest of its rows that bear on it."""

    @property
    def rows(self) -> int:
        """Rows taken since the last ``begin``."""
        return len(self._offsets)

    def take_line(self, data: bytes | bytearray, start: int, stop: int, base: int) -> None:
        """Reads one line of a block, without its end."""
        with memoryview(data) as view, view[start:stop] as line:
            self._lines([line], [start], base)

    def take_carefully(self, data: bytes | bytearray, start: int, stop: int, base: int) -> None:
        """Has one line of a block read by the careful reader."""
        with memoryview(data) as view, view[start:stop] as line:
            self._carefully(line, base + start)

    def _lines(self, lines: list[memoryview], starts: list[int], base: int) -> None:
        raise NotImplementedError

    def _carefully(self, line: memoryview, offset: int) -> None:
        sink = self._sink
        before = len(sink.records)
        sink.packed = self._packed + len(self._offsets)
        self._careful.feed(bytes(line), offset, offset + len(line) + 1)
        if len(sink.records) > before:
            self._gaps.append((len(self._offsets), len(sink.records) - before))

    def _digests(self) -> bytes:
        return b"".join(self._hashes)

    def cut(self) -> Cut:
        """The rows taken since the last ``begin``."""
        columns = Columns(
            layout=self.layout,
            ordinals=ordinals(self._first, len(self._offsets), self._gaps),
            offsets=self._offsets,
            lengths=self._lengths,
            hashes=self._digests(),
            times=self._times,
            contexts=list(self._contexts),
            context_of=self._context_of,
            identities=self._identities,
            event_of=self._event_of,
            winners=self._winners,
            values=self._values,
            extras=self._extras,
        )
        self._packed += len(self._offsets)
        self._sink.packed = self._packed
        return Cut(columns, self._firsts)


class PackFormat(Protocol):
    """How a client's packs are made and what they mean."""

    layout: str
    repetition: str
    """Rule by which a WEAK event loses to another file's."""
    copy_rule: str
    """Rule by which an event loses to the same one of another session, where lineage names none."""
    compete: bool
    """Whether sessions that show one request compete for it; else only the files' lineage says whose it is."""

    def packer(self, file: SourceFile, sink: Sink, reader: Any) -> Packer:
        """A fast reader of one file that shares ``sink`` and state with the careful ``reader``."""
        ...

    def total(self, rows: Sequence[Values]) -> list[int]:
        """Sums of the counters of some winners, in the order of ``contracts.record.Counters``."""
        ...

    def prompt(self, row: Values) -> int:
        """Prompt tokens of a row, caches included."""
        ...

    def prefix(self, identity: Any) -> str:
        """Prefix of a message id that names the channel; usually empty."""
        ...

    def states(self, columns: Columns) -> bytearray:
        """State of each event as far as the file itself tells."""
        ...

    def rules(self, columns: Columns, events: Container[int] | None = None) -> Counter[str]:
        """Rows of some events (None: all) that the file itself shows to be copies, by rule."""
        ...

    def group(self, identity: Any) -> Any:
        """What of an identity its booking group is told by."""
        ...

    def keys(self, identities: Sequence[Any]) -> array[int]:
        """32-bit key of each identity's booking group."""
        ...

    def record_key(self, record: UsageRecord) -> int:
        """The same of a record."""
        ...

    def checks(self, columns: Columns) -> array[int]:
        """32-bit check of the rest of each event's identity, its session included."""
        ...

    def priced(self, context: Context) -> Priced:
        """What is priced of a context."""
        ...

    def kind(self, context: Context) -> tuple[Any, ...]:
        """What of a context bears on which of two copies wins, but for session and prices."""
        ...

    def project(self, context: Context) -> str | None:
        """Working folder of a context."""
        ...

    def vectors(self, columns: Columns) -> Iterator[tuple[int, bytes]]:
        """(ordinal, fingerprint of the logged counters) of every row, where copied prefixes are told by them."""
        ...

    def records(self, columns: Columns) -> Iterator[tuple[int, UsageRecord]]:
        """(row, record) of every row, as the careful reader would have made them."""
        ...


EXPANDED, DOMINATED, COPIED, SHARED, ORIGINAL = 4, 5, 6, 7, 8
"""States that only the manifest knows: records of the event were handed to general booking; another file's row of the
same request stands for it; the other event of a pair stands for it (``ingest.pairs``); it stands for both, and their
sessions compete for it; it stands for both, and the other was copied from its file."""
PAIRED = (COPIED, SHARED, ORIGINAL)
"""States of the events of pairs: one is never handed over without the other."""

decode_columns = msgspec.json.Decoder(Columns).decode


def decoded_lines(decoder: Any, lines: Sequence[memoryview]) -> list[Any]:
    """Each line's row, or None where it is not what the decoder knows.

    One at a time: joined lines that are decoded at once take longer, and a line that is none would shift the others.
    """
    decode = decoder.decode
    rows: list[Any] = []
    for line in lines:
        try:
            rows.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows.append(None)
    return rows


def ordinals(first: int, rows: int, gaps: Sequence[tuple[int, int]]) -> list[int]:
    """Positions of packed rows among the stream's records.

    ``gaps``: (packed rows before, records) of what the careful reader made in between, in order.
    """
    found: list[int] = []
    at, skipped = first, 0
    for before, records in gaps:
        found += range(at, at + before - len(found))
        at = first + before + skipped + records
        skipped += records
    found += range(at, at + rows - len(found))
    return found


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of a time with zone."""
    return (moment - EPOCH) // _MICROSECOND


def key_of(text: str) -> int:
    """32-bit key of a text."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def price_step(prompt: int) -> int | None:
    """Price step of a prompt's size; None on the step itself, where price lists differ."""
    if prompt < PROMPT_STEPS[0]:
        return 0
    if prompt in PROMPT_STEPS:
        return None
    return bisect_left(PROMPT_STEPS, prompt)


def summarise(form: PackFormat, cut: Cut) -> Packed:
    """Books the events of one pack as far as its own file can."""
    columns = cut.columns
    states = form.states(columns)
    times = array("q", [(moment - EPOCH) // _MICROSECOND for moment in cut.firsts])
    kinds: dict[Priced, int] = {}
    kind_of = [kinds.setdefault(form.priced(context), len(kinds)) for context in columns.contexts]
    found: dict[tuple[int, int, str, int], list[Values]] = {}
    weak: dict[int, Cell] = {}
    values, context_of, prefix, prompt = columns.values, columns.context_of, form.prefix, form.prompt
    least = PROMPT_STEPS[0]
    for event, (state, row, at, identity) in enumerate(
        zip(bytes(states), columns.winners, times, columns.identities, strict=True)
    ):
        if state > WEAK:
            continue
        counted = values[row]
        step, size = 0, prompt(counted)
        if size >= least:
            found_step = price_step(size)
            if found_step is None:
                states[event] = CONTACT
                continue
            step = found_step
        key = (at // SLOT_US, kind_of[context_of[row]], prefix(identity), step)
        if state == WEAK:
            weak[event] = Cell(*key, 1, form.total([counted]))
        elif key in found:
            found[key].append(counted)
        else:
            found[key] = [counted]
    body = msgspec.json.encode(columns)
    return Packed(
        body=body,
        digest=zlib.crc32(body),
        rows=len(columns.offsets),
        keys=form.keys(columns.identities).tobytes(),
        checks=form.checks(columns).tobytes(),
        times=times.tobytes(),
        states=bytes(states),
        contexts=[PricedContext(*kind) for kind in kinds],
        rules=form.rules(columns),
        cells=[Cell(*key, len(rows), form.total(rows)) for key, rows in found.items()],
        weak_cells=weak,
    )


def cell_of(form: PackFormat, columns: Columns, event: int, at_us: int) -> tuple[PricedContext, Cell]:
    """What one event adds to the sums, the cell's own context beside it; ``at_us`` is the event's time."""
    row = columns.winners[event]
    counted = columns.values[row]
    step = price_step(form.prompt(counted)) or 0
    prefix = form.prefix(columns.identities[event])
    priced = PricedContext(*form.priced(columns.contexts[columns.context_of[row]]))
    return priced, Cell(at_us // SLOT_US, 0, prefix, step, 1, form.total([counted]))


def session_notes(form: PackFormat, cut: Cut, notes: dict[str, SessionNote]) -> None:
    """Takes what the rows of a pack tell of their sessions into ``notes``."""
    columns = cut.columns
    first: dict[int, datetime] = {}
    for context, moment in zip(columns.context_of, columns.times, strict=True):
        known = first.get(context)
        if known is None or moment < known:
            first[context] = moment
    note_contexts(form, columns, {context: microseconds(moment) for context, moment in first.items()}, notes)


def note_contexts(form: PackFormat, columns: Columns, first: Mapping[int, int], notes: dict[str, SessionNote]) -> None:
    """Takes the earliest time of each context's rows, microseconds, into what is known of their sessions."""
    for context, at_us in first.items():
        name = form.priced(columns.contexts[context])[0]
        note_session(notes, name, at_us, form.project(columns.contexts[context]))


def note_session(notes: dict[str, SessionNote], name: str, at_us: int, project: str | None) -> None:
    """Takes one row, or the first of several alike, into what is known of its session."""
    found = notes.get(name)
    if found is None:
        found = notes[name] = SessionNote(name, at_us, None, None)
    found.first_us = min(found.first_us, at_us)
    if project is not None and (found.project_us is None or (at_us, project) < (found.project_us, found.project or "")):
        found.project_us, found.project = at_us, project


def evidence(packs: Sequence[Columns], loose: Sequence[UsageRecord]) -> tuple[Sequence[int], Sequence[int], bytes]:
    """Offsets, lengths and digests of all records of a scan, packed or not, in order."""
    if len(packs) == 1 and not loose:
        return listed(packs[0].offsets), listed(packs[0].lengths), packs[0].hashes
    found: list[tuple[int, int, int, bytes]] = []
    for one in packs:
        digests = (one.hashes[at : at + 32] for at in range(0, len(one.hashes), 32))
        found += zip(one.ordinals, one.offsets, one.lengths, digests, strict=True)
    for record in loose:
        digest = bytes.fromhex(record.record_sha256)
        found.append((record.ordinal, record.byte_offset, record.byte_length, digest))
    found.sort()
    return (
        [offset for _, offset, _, _ in found],
        [length for _, _, length, _ in found],
        b"".join(digest for _, _, _, digest in found),
    )


def is_listed(cut: Cut) -> bool:
    """Whether a pack's columns are lists, and not those of C."""
    column: Any = cut.columns.offsets
    return isinstance(column, list)


def listed(column: Any) -> Any:
    """A column of numbers as what can be cut; those of C (``clients.bulk_pack``) are copied."""
    if isinstance(column, list):
        return column
    found = array("q")
    found.frombytes(column)
    return found
