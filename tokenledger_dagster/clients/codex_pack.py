"""Codex rollouts read in bulk.

Here: which ``token_count`` rows are provably of the writer's known layout, their columns, and the records they stand
for.  Not here: any other row: it goes to the careful reader (``clients.codex_reader``), with which this one shares its
state.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, islice
from typing import Any
from zlib import crc32

import msgspec

from tokenledger_dagster.clients import compiled, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.codex_reader import (
    AFTER_TIME,
    SKIPPED,
    SPAWN_REPLAY,
    TAIL,
    TIMED,
    CodexReader,
    disjoint,
)
from tokenledger_dagster.clients.codex_reducer import LOWER_LINEAGE, ZERO, fingerprint, reduce_row
from tokenledger_dagster.clients.pack import (
    BARRED,
    CONTACT,
    Columns,
    Context,
    Moment,
    Priced,
    RowPacker,
    Tokens,
    Values,
    decoded_lines,
    key_of,
    microseconds,
)
from tokenledger_dagster.contracts.record import UsageRecord, Vector

LAYOUT = "codex-1"
SAME_ROW = "codex.same_row"
_CR = ord("\r")
REPLAYED = {"rule": SPAWN_REPLAY, "burst": True}
"""A spawned thread's file opens with its parent's history, re-stamped in one burst."""
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)

_WIDTH = 40
"""Bytes of a packed total."""

# places in a context
_SESSION, _PARENT, _CWD, _BRANCH, _VERSION, _MODEL, _TIER, _WRITES, _FLAGS = range(9)


class _Vector(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    inclusive: Tokens | None = msgspec.field(default=None, name="input_tokens")
    cached: Tokens | None = msgspec.field(default=None, name="cached_input_tokens")
    write: Tokens | None = msgspec.field(default=None, name="cache_write_input_tokens")
    output: Tokens | None = msgspec.field(default=None, name="output_tokens")
    reasoning: Tokens | None = msgspec.field(default=None, name="reasoning_output_tokens")
    tokens: Tokens | None = msgspec.field(default=None, name="total_tokens")


class _Info(msgspec.Struct, gc=False):
    total: _Vector | None = msgspec.field(default=None, name="total_token_usage")
    last: _Vector | None = msgspec.field(default=None, name="last_token_usage")
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


class CodexPacker(RowPacker):
    """Reads blocks of one rollout into columns; the careful reader gets every line this one cannot vouch for."""

    layout = LAYOUT

    def __init__(self, sink: Sink, reader: CodexReader) -> None:
        super().__init__(sink, reader)
        self._reader = reader
        self._tiered_from = reader.tiered_from()

    def begin(self) -> None:
        """Starts a pack."""
        super().begin()
        self._numbers: dict[Vector, int] = {}
        self._places: dict[tuple[bool, bool], int] = {}
        """Numbers of the contexts in force, by (configured tier holds, cache writes are logged); the careful reader may
        change them all."""

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines of a block (``clients.pack.Packer``).

        Conversation items in the writer's own layout are passed over.  A usage row glued behind one shows at the line's
        end, and the line is decoded then.
        """
        find, rfind, startswith = data.find, data.rfind, data.startswith
        lines: list[memoryview] = []
        starts: list[int] = []
        start = 0
        with memoryview(data) as view:
            while (end := find(b"\n", start, filled)) != -1:
                if (
                    not startswith(SKIPPED, start + AFTER_TIME, end)
                    or not startswith(TIMED, start)
                    or rfind(b'"token_count"', max(start, end - TAIL), end) != -1
                ) and end > start:
                    stop = end - 1 if data[end - 1] == _CR else end
                    lines.append(view[start:stop])
                    starts.append(start)
                start = end + 1
            if lines:
                self._lines(lines, starts, base)
                for line in lines:
                    line.release()
        return start

    def _lines(self, lines: list[memoryview], starts: list[int], base: int) -> None:
        self._take_lines(decoded_lines(_decoder, lines), lines, starts, base)

    def _take_lines(self, rows: list[_Row | None], lines: list[memoryview], starts: list[int], base: int) -> None:
        """Takes each row as columns, or gives its line to the careful reader.

        One long loop on purpose: a call a row costs as much as all that is done with it.
        """
        offsets, lengths, hashes, times = self._offsets, self._lengths, self._hashes, self._times
        context_of, numbers, event_of, winners = self._context_of, self._numbers, self._event_of, self._winners
        all_values, firsts, places, extras = self._values, self._firsts, self._places, self._extras
        identities = self._identities
        state, latest, tiered_from = self._reader.state, self._latest, self._tiered_from
        reducer = state.reducer
        for row, line, start in zip(rows, lines, starts, strict=True):
            payload = None if row is None else row.payload
            if row is None or payload is None or payload.type != "token_count" or row.type != "event_msg":
                self._carefully(line, base + start)
                continue
            info = payload.info
            if info is None:
                self._sink.skipped["usage_null"] += 1  # a heartbeat: rate limits only
                continue
            found, newest, moment = info.total, info.last, row.timestamp
            if found is None or moment is None or not _EARLIEST <= moment <= latest or info.model is not None:
                self._carefully(line, base + start)
                continue
            inclusive, cached, output, reasoning = found.inclusive, found.cached, found.output, found.reasoning
            if inclusive is None or cached is None or output is None or reasoning is None or not (inclusive or output):
                self._carefully(line, base + start)
                continue
            if payload.model is not None or payload.model_name is not None or payload.metadata is not None:
                self._carefully(line, base + start)
                continue
            total = (inclusive, cached, found.write or 0, output, reasoning)
            last: Vector | None = None
            tokens = None
            if newest is not None:
                tokens = newest.tokens
                last = (
                    newest.inclusive or 0,
                    newest.cached or 0,
                    newest.write or 0,
                    newest.output or 0,
                    newest.reasoning or 0,
                )
                if last == ZERO:
                    self._carefully(line, base + start)
                    continue
            if moment.tzinfo is not UTC:
                moment = moment.astimezone(UTC)
            billed, rule = reduce_row(reducer, total, last)
            at = len(offsets)
            if rule is not None or state.spawn_second is not None:
                self._mark(rule, moment, at)
            if (billed[1] + billed[2] > billed[0] or billed[4] > billed[3]) and at not in extras:
                extras[at] = {"odd": True}
            kind = (moment >= tiered_from, found.write is not None)
            place = places.get(kind)
            if place is None:
                place = self._context(*kind)
            event = numbers.get(total)
            if event is None:
                event = numbers[total] = len(winners)
                identities.append(total)
                winners.append(at)
                firsts.append(moment)
            elif "rule" not in extras.get(at, ()):
                # a total bills once; what its own file bars neither wins nor lends its time
                winners[event], firsts[event] = at, moment
            offsets.append(base + start)
            lengths.append(len(line))
            hashes.append(sha256(line).digest())
            times.append(moment)
            context_of.append(place)
            event_of.append(event)
            # most rows bill what they say of the latest request
            all_values.append(
                (*billed, found.tokens, tokens, *last) if last is not None else (*billed, found.tokens, None)
            )

    def _carefully(self, line: memoryview, offset: int) -> None:
        super()._carefully(line, offset)
        self._places.clear()

    def _mark(self, rule: str | None, moment: datetime, at: int) -> None:
        """Notes what the row's own file says against it."""
        state = self._reader.state
        if rule == LOWER_LINEAGE and not state.interleaved:
            state.interleaved = True
            self._places.clear()
        if rule is None and state.spawn_second == microseconds(moment) // values.MICROS:
            self._extras[at] = REPLAYED
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


class CodexPackFormat:
    """What packs of rollouts mean."""

    layout = LAYOUT
    repetition = ""
    copy_rule = SAME_ROW
    compete = False

    def packer(self, file: SourceFile, sink: Sink, reader: Any) -> CodexPacker:
        """A fast reader beside the careful one: the compiled one where it was built."""
        if compiled.bulk() is None:
            return CodexPacker(sink, reader)
        from tokenledger_dagster.clients.codex_bulk import CodexBulkPacker

        return CodexBulkPacker(sink, reader)

    def total(self, rows: Sequence[Values]) -> list[int]:
        """Counters of some rows that are not odd."""
        if len(rows) == 1:
            inclusive, cached, write, output, reasoning = rows[0][:5]
        else:
            inclusive, cached, write, output, reasoning = map(sum, islice(zip(*rows, strict=False), 5))
        return [inclusive - cached - write, output, write, cached, 0, 0, 0, reasoning, 0]

    def prompt(self, row: Values) -> int:
        """Prompt tokens of a row: all that went in."""
        prompt: int = row[0]
        return prompt

    def prefix(self, identity: Any) -> str:
        """Totals name no channel."""
        return ""

    def states(self, columns: Columns) -> bytearray:
        """A total that only barred rows show bills nothing; rows before and after a session is named are not one."""
        states = bytearray(len(columns.identities))
        if len({context[_SESSION] for context in columns.contexts}) > 1:
            return bytearray([CONTACT]) * len(states)
        if columns.extras:
            for event, row in enumerate(columns.winners):
                if row in columns.extras:
                    states[event] = BARRED if "rule" in columns.extras[row] else CONTACT
        return states

    def rules(self, columns: Columns, events: Container[int] | None = None) -> Counter[str]:
        """Rows that bill nothing by their own file's account."""
        kept = (row for row in columns.extras if events is None or columns.event_of[row] in events)
        return Counter(columns.extras[row]["rule"] for row in kept if "rule" in columns.extras[row])

    def group(self, identity: Any) -> Any:
        """The cumulative total."""
        return identity

    def keys(self, identities: Sequence[Any]) -> array[int]:
        """By cumulative total, as the booking group is."""
        packed = array("q", chain.from_iterable(identities)).tobytes()
        return array("I", [crc32(packed[at : at + _WIDTH]) for at in range(0, len(packed), _WIDTH)])

    def record_key(self, record: UsageRecord) -> int:
        """By cumulative total, else time and vector, else content."""
        if record.by_content:
            return key_of(record.record_sha256)
        if record.cumulative is not None:
            return self.keys([record.cumulative])[0]
        return key_of(f"{record.timestamp_us}{record.last}")

    def checks(self, columns: Columns) -> array[int]:
        """Nothing: equal totals are always for general booking to judge."""
        return array("I", bytes(4 * len(columns.winners)))

    def priced(self, context: Context) -> Priced:
        """Session, model and tier."""
        return context[_SESSION], context[_MODEL], None, context[_TIER]

    def kind(self, context: Context) -> tuple[Any, ...]:
        """Nothing."""
        return ()

    def project(self, context: Context) -> str | None:
        """The working folder."""
        folder: str | None = context[_CWD]
        return folder

    def vectors(self, columns: Columns) -> Iterator[tuple[int, bytes]]:
        """Of total and latest request."""
        identities = columns.identities
        for ordinal, event, found in zip(columns.ordinals, columns.event_of, columns.values, strict=True):
            yield ordinal, fingerprint(identities[event], found[7:] or None)

    def records(self, columns: Columns) -> Iterator[tuple[int, UsageRecord]]:
        """The records of the rows, in order."""
        for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
            context, found = columns.contexts[place], columns.values[row]
            total: Vector = tuple(columns.identities[event])
            billed, last = found[:5], found[7:] or None
            extra = columns.extras.get(row, {})
            flags = list(context[_FLAGS:])
            if extra.get("burst"):  # in the careful reader's order
                flags.insert(flags[:1] == ["interleaved_counters"], "replay_burst")
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


def _raw_usage(writes: bool, total: Vector, total_tokens: int | None, last: Any, last_tokens: int | None) -> str:
    """The two usage objects as the writer orders them."""
    found = {"total_token_usage": _object(writes, total, total_tokens)}
    if last is not None:
        found["last_token_usage"] = _object(writes, last, last_tokens)
    return msgspec.json.encode(found).decode("ascii")


def _object(writes: bool, vector: Vector, tokens: int | None) -> dict[str, int]:
    found = {"input_tokens": vector[0], "cached_input_tokens": vector[1]}
    if writes or vector[2]:
        found["cache_write_input_tokens"] = vector[2]
    found |= {"output_tokens": vector[3], "reasoning_output_tokens": vector[4]}
    return found if tokens is None else {**found, "total_tokens": tokens}
