"""Codex rollouts read in bulk.

Here: which ``token_count`` rows are provably of the writer's known layout, their columns, and the records they stand for.
Not here: any other row: it goes to the careful reader (``clients.codex_reader``), with which this one shares its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.codex_reader import SPAWN_REPLAY, CodexReader, disjoint
from tokenledger_dagster.clients.codex_reducer import LOWER_LINEAGE, reduce_row
from tokenledger_dagster.clients.pack import (
    BARRED,
    CONTACT,
    EPOCH,
    Columns,
    Context,
    Moment,
    PricedContext,
    Tokens,
    Values,
    decoded_lines,
    key_of,
    microseconds,
    ordinals,
)
from tokenledger_dagster.contracts.record import UsageRecord, Vector

_TIMED = b'{"timestamp":"'
_AFTER_TIME = len(_TIMED) + len("2026-01-01T00:00:00.000Z")
_SKIPPED = (
    b'","type":"response_item","payload":{',
    b'","type":"compacted","payload":{',
    b'","type":"event_msg","payload":{"type":"agent_',
    b'","type":"event_msg","payload":{"type":"user_message"',
)
_TEXT_LAST = b'"}}'
"""End of a row whose payload ends with a text: a usage row's ends with an object or a null."""
_TAIL = 2048
"""Bytes at the end of a line in which a usage row glued behind another names itself."""
_OPEN, _CLOSE, _CR = ord("{"), ord("}"), ord("\r")
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)

# places in a context
_SESSION, _PARENT, _CWD, _BRANCH, _VERSION, _MODEL, _TIER, _WRITES, _FLAGS = range(9)


class _Vector(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    input_tokens: Tokens | None = None
    cached_input_tokens: Tokens | None = None
    cache_write_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    reasoning_output_tokens: Tokens | None = None
    total_tokens: Tokens | None = None


class _Info(msgspec.Struct, gc=False):
    total_token_usage: _Vector | None = None
    last_token_usage: _Vector | None = None
    model: Any = None


class _Payload(msgspec.Struct, gc=False):
    type: str | None = None
    info: _Info | None = None
    model: Any = None
    model_name: Any = None
    metadata: Any = None


class _Row(msgspec.Struct, gc=False):
    timestamp: Moment | None = None
    type: str | None = None
    payload: _Payload | None = None


_decoder = msgspec.json.Decoder(_Row)


class CodexPacker:
    """Reads blocks of one rollout into columns; the careful reader gets every line this one cannot vouch for."""

    def __init__(self, sink: Sink, reader: CodexReader) -> None:
        self._sink = sink
        self._reader = reader
        self._tiered_from = reader.tiered_from()
        self._latest = EPOCH + timedelta(microseconds=min(sink.now_us + 86_400_000_000, 200_000_000_000_000_000))
        self._packed = 0
        self._begin()

    def _begin(self) -> None:
        """Starts a pack."""
        self._first = self._sink.first_ordinal + len(self._sink.records) + self._packed
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._hashes: list[bytes] = []
        self._times: list[datetime] = []
        self._contexts: dict[Context, int] = {}
        self._context_of: list[int] = []
        self._numbers: dict[Vector, int] = {}
        self._winners: list[int] = []
        self._event_of: list[int] = []
        self._values: list[Values] = []
        self._extras: dict[int, Any] = {}
        self._gaps: list[tuple[int, int]] = []
        self._places: dict[tuple[bool, bool], int] = {}
        """Numbers of the contexts in force, by (configured tier holds, cache writes are logged); the careful reader may
        change them all."""

    @property
    def rows(self) -> int:
        """Rows taken since the last ``columns``."""
        return len(self._offsets)

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines among the first ``filled`` bytes of ``data``; conversation items in the writer's own layout are passed over.

        A usage row glued behind one shows at the line's end, and the line is decoded then.
        """
        find, startswith = data.find, data.startswith
        lines: list[bytes | bytearray] = []
        starts: list[int] = []
        start, whole = 0, True
        while (end := find(b"\n", start, filled)) != -1:
            if end > start and not (
                startswith(_SKIPPED, start + _AFTER_TIME)
                and startswith(_TIMED, start)
                and (startswith(_TEXT_LAST, end - 3) or find(b'"token_count"', max(start, end - _TAIL), end) == -1)
            ):
                stop = end - 1 if data[end - 1] == _CR else end
                lines.append(data[start:stop])
                starts.append(start)
                whole = whole and data[start] == _OPEN and data[stop - 1] == _CLOSE
            start = end + 1
        if lines:
            rows = decoded_lines(_decoder, lines, whole)
            for row, line, at in zip(rows, lines, starts, strict=True):
                if row is None or not self._row(row, line, base + at):
                    self._carefully(line, base + at)
        return start

    def _carefully(self, line: bytes | bytearray, offset: int) -> None:
        sink = self._sink
        before = len(sink.records)
        sink.packed = self._packed + len(self._offsets)
        self._reader.feed(bytes(line), offset, offset + len(line) + 1)
        if len(sink.records) > before:
            self._gaps.append((len(self._offsets), len(sink.records) - before))
        self._places.clear()

    def _row(self, row: _Row, line: bytes | bytearray, offset: int) -> bool:
        """Takes one row; False where the careful reader must."""
        payload = row.payload
        if payload is None or payload.type != "token_count" or row.type != "event_msg":
            return False
        info = payload.info
        if info is None:
            self._sink.skipped["usage_null"] += 1  # a heartbeat: rate limits only
            return True
        found, latest, moment = info.total_token_usage, info.last_token_usage, row.timestamp
        if found is None or moment is None or not _EARLIEST <= moment <= self._latest:
            return False
        if info.model is not None or payload.model is not None or payload.model_name is not None or payload.metadata:
            return False
        total = _vector(found)
        last = None if latest is None else _vector(latest)
        if not any(total) or (last is not None and not any(last)):
            return False
        if None in (found.cached_input_tokens, found.reasoning_output_tokens, found.input_tokens, found.output_tokens):
            return False
        state = self._reader.state
        billed, rule = reduce_row(state.reducer, total, last)
        at = len(self._offsets)
        if rule is not None or state.spawn_second is not None:
            self._mark(rule, moment, at)
        kind = (moment >= self._tiered_from, found.cache_write_input_tokens is not None)
        place = self._places.get(kind)
        if place is None:
            place = self._context(*kind)
        event = self._numbers.get(total)
        if event is None:
            event = self._numbers[total] = len(self._winners)
            self._winners.append(at)
        elif at not in self._extras:
            self._winners[event] = at
        self._offsets.append(offset)
        self._lengths.append(len(line))
        self._hashes.append(sha256(line).digest())
        self._times.append(moment)
        self._context_of.append(place)
        self._event_of.append(event)
        self._values.append(
            (*billed, found.total_tokens, None if latest is None else latest.total_tokens, *(last or ()))
        )
        return True

    def _mark(self, rule: str | None, moment: datetime, at: int) -> None:
        """Notes what the row's own file says against it."""
        state = self._reader.state
        if rule == LOWER_LINEAGE and not state.interleaved:
            state.interleaved = True
            self._places.clear()
        if rule is None and state.spawn_second == microseconds(moment) // values.MICROS:
            # a spawned thread's file opens with its parent's history, re-stamped in one burst
            self._extras[at] = {"rule": SPAWN_REPLAY, "burst": True}
        elif rule is not None:
            self._extras[at] = {"rule": rule}

    def _context(self, tiered: bool, writes: bool) -> int:
        """Number of the context that the careful reader is in."""
        state = self._reader.state
        model, flags = self._reader.model_or_configured(state.model)
        tier = self._reader.configured_tier() if tiered else None
        context = (
            state.session_id or self._reader.stem_id(),
            state.parent_id,
            state.cwd,
            state.git_branch,
            state.client_version,
            model,
            tier,
            writes,
            *(("interleaved_counters",) if state.interleaved else ()),
            *flags,
            *(("service_tier_from_config",) if tier else ()),
        )
        place = self._places[tiered, writes] = self._contexts.setdefault(context, len(self._contexts))
        return place

    def columns(self) -> Columns:
        """The rows taken since the last time."""
        columns = Columns(
            layout=CodexPackFormat.layout,
            ordinals=ordinals(self._first, len(self._offsets), self._gaps),
            offsets=self._offsets,
            lengths=self._lengths,
            hashes=b"".join(self._hashes),
            times=self._times,
            contexts=list(self._contexts),
            context_of=self._context_of,
            identities=list(self._numbers),
            event_of=self._event_of,
            winners=self._winners,
            values=self._values,
            extras=self._extras,
        )
        self._packed += len(self._offsets)
        self._sink.packed = self._packed
        self._begin()
        return columns


class CodexPackFormat:
    """What packs of rollouts mean."""

    layout = "codex-1"
    repetition = ""

    def packer(self, file: SourceFile, sink: Sink, reader: Any) -> CodexPacker:
        """A fast reader beside the careful one."""
        return CodexPacker(sink, reader)

    def contribution(self, columns: Columns, event: int) -> tuple[list[int], int, str]:
        """Counters of the row that bills."""
        row = columns.winners[event]
        inclusive, cached, write, output, reasoning = columns.values[row][:5]
        if cached + write > inclusive:
            cached = min(cached, inclusive)
            write = min(write, inclusive - cached)
        counters = [inclusive - cached - write, output, write, cached, 0, 0, 0, min(reasoning, output), 0]
        return counters, columns.context_of[row], ""

    def states(self, columns: Columns) -> bytearray:
        """A total that only barred rows show bills nothing; rows before and after a session is named are not one."""
        states = bytearray(len(columns.identities))
        if len({context[_SESSION] for context in columns.contexts}) > 1:
            return bytearray([CONTACT]) * len(states)
        if columns.extras:
            for event, row in enumerate(columns.winners):
                if row in columns.extras:
                    states[event] = BARRED
        return states

    def rules(self, columns: Columns, events: Container[int] | None = None) -> Counter[str]:
        """Rows that bill nothing by their own file's account."""
        kept = (row for row in columns.extras if events is None or columns.event_of[row] in events)
        return Counter(columns.extras[row]["rule"] for row in kept)

    def key(self, identity: Any) -> int:
        """By cumulative total, as the booking group is."""
        return _total_key(identity)

    def record_key(self, record: UsageRecord) -> int:
        """By cumulative total, else time and vector, else content."""
        if record.by_content:
            return key_of(record.record_sha256)
        if record.cumulative is not None:
            return _total_key(record.cumulative)
        return key_of(f"{record.timestamp_us}{record.last}")

    def check(self, columns: Columns, event: int) -> int:
        """The session."""
        return key_of(columns.contexts[columns.context_of[columns.winners[event]]][_SESSION])

    def priced(self, context: Context) -> PricedContext:
        """Session, model and tier."""
        return PricedContext(context[_SESSION], context[_MODEL], None, context[_TIER])

    def project(self, context: Context) -> str | None:
        """The working folder."""
        folder: str | None = context[_CWD]
        return folder

    def records(self, columns: Columns, events: Container[int] | None = None) -> Iterator[tuple[int, UsageRecord]]:
        """The records of the rows, in order."""
        for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
            if events is not None and event not in events:
                continue
            context, found = columns.contexts[place], columns.values[row]
            total: Vector = tuple(columns.identities[event])
            billed, last = found[:5], found[7:] or None
            extra = columns.extras.get(row, {})
            flags = list(context[_FLAGS:])
            if extra.get("burst"):
                flags.append("replay_burst")
            counters = disjoint(billed, flags.append)
            yield (
                row,
                UsageRecord(
                    ordinal=columns.ordinals[row],
                    byte_offset=columns.offsets[row],
                    byte_length=columns.lengths[row],
                    record_sha256=columns.hashes[32 * row : 32 * row + 32].hex(),
                    timestamp_us=microseconds(columns.times[row]),
                    session_id=context[_SESSION],
                    model_raw=context[_MODEL],
                    counters=counters,
                    cumulative=total,
                    last=last,
                    file_rule=extra.get("rule"),
                    parent_session_id=context[_PARENT],
                    cwd=context[_CWD],
                    git_branch=context[_BRANCH],
                    client_version=context[_VERSION],
                    service_tier=context[_TIER],
                    flags=tuple(dict.fromkeys(flags)),
                    raw_usage=_raw_usage(context[_WRITES], total, found[5], last, found[6]),
                ),
            )


def _vector(found: _Vector) -> Vector:
    return (
        found.input_tokens or 0,
        found.cached_input_tokens or 0,
        found.cache_write_input_tokens or 0,
        found.output_tokens or 0,
        found.reasoning_output_tokens or 0,
    )


def _total_key(total: Any) -> int:
    return key_of(repr(tuple(total)))


def _raw_usage(writes: bool, total: Vector, total_tokens: int | None, last: Any, last_tokens: int | None) -> str:
    """The two usage objects as the writer orders them."""
    found = {"total_token_usage": _object(writes, total, total_tokens)}
    if last is not None:
        found["last_token_usage"] = _object(writes, last, last_tokens)
    return msgspec.json.encode(found).decode("ascii")


def _object(writes: bool, vector: Vector, tokens: int | None) -> dict[str, int]:
    found = {"input_tokens": vector[0], "cached_input_tokens": vector[1]}
    if writes:
        found["cache_write_input_tokens"] = vector[2]
    found |= {"output_tokens": vector[3], "reasoning_output_tokens": vector[4]}
    return found if tokens is None else {**found, "total_tokens": tokens}
