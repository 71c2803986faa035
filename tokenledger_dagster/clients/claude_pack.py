"""Claude Code transcripts read in bulk.

Here: which rows are provably of the writer's known layouts, their columns, and the records they stand for.  Not here: any
other row: it goes to the careful reader (``clients.claude_code``), line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.claude_code import (
    PROGRESS_COPY,
    STREAM_COPY,
    ClaudeReader,
    counters_of,
    usage_of,
)
from tokenledger_dagster.clients.pack import (
    CONTACT,
    EPOCH,
    WEAK,
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
from tokenledger_dagster.contracts.record import UsageRecord

_USER = b'"message":{"role":"user"'
_BEFORE_BRACE = len(b'"message":')
_TAIL = 1024
"""Bytes at the end of a row in which the usage of a row glued behind it stands."""
_HEAD = 1536
"""Bytes at the start of a row in which its own ``message`` key stands, before any content."""
_OPEN, _BRACE, _CR = ord("{"), ord("}"), ord("\r")
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_LONGEST = 1024
_NO_ITERATIONS = (b"", b"[]", b"null")

# places in a context
_SESSION, _SIDECHAIN, _AGENT, _CWD, _BRANCH, _VERSION, _MODEL, _TIER, _SPEED, _GEO, _PROGRESS, _EMPTY = range(12)
# places in a row's values
_INPUT, _WRITE, _READ, _FIVE, _HOUR, _OUTPUT, _SEARCHES, _FETCHES = range(8)


class _Split(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    ephemeral_5m_input_tokens: Tokens | None = None
    ephemeral_1h_input_tokens: Tokens | None = None


class _Tools(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    web_search_requests: Tokens | None = None
    web_fetch_requests: Tokens | None = None


_NO_SPLIT = _Split()
_NO_TOOLS = _Tools()


class _Usage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation: _Split | None = None
    output_tokens: Tokens | None = None
    server_tool_use: _Tools | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: _Usage | UnsetType | None = UNSET


class _Nested(msgspec.Struct, gc=False):
    timestamp: Moment | None = None
    requestId: str | None = None  # noqa: N815 - the log's own spelling
    message: _Message | None = None


class _Progress(msgspec.Struct, gc=False):
    agentId: str | None = None  # noqa: N815
    message: _Nested | None = None


class _Row(msgspec.Struct, gc=False):
    timestamp: Moment | None = None
    sessionId: str | None = None  # noqa: N815
    requestId: str | None = None  # noqa: N815
    isSidechain: bool | None = None  # noqa: N815
    agentId: str | None = None  # noqa: N815
    cwd: str | None = None
    gitBranch: str | None = None  # noqa: N815
    version: str | None = None
    costUSD: float | None = None  # noqa: N815
    message: _Message | None = None
    data: _Progress | None = None
    inputTokens: Any = None  # noqa: N815 - the flat shape of 2024
    outputTokens: Any = None  # noqa: N815


_decoder = msgspec.json.Decoder(_Row)


class ClaudePacker:
    """Reads blocks of one transcript into columns; the careful reader gets every line this one cannot vouch for."""

    def __init__(self, sink: Sink, reader: ClaudeReader) -> None:
        self._sink = sink
        self._reader = reader
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
        self._numbers: dict[str, int] = {}
        self._identities: list[tuple[str, str | None]] = []
        self._event_of: list[int] = []
        self._winners: list[int] = []
        self._values: list[Values] = []
        self._extras: dict[int, Any] = {}
        self._gaps: list[tuple[int, int]] = []
        """(rows before, records) of what the careful reader made in between."""

    @property
    def rows(self) -> int:
        """Rows taken since the last ``columns``."""
        return len(self._offsets)

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines among the first ``filled`` bytes of ``data``.

        User rows (prompts, tool results) carry no usage of their own and are most of the bytes.  Proof: the first brace
        after the row's own opens its ``message``, and that is a user's; and no usage object stands at the end, as it
        would if another row were glued behind: an assistant row ends with a text or with three braces.
        """
        find, startswith = data.find, data.startswith
        lines: list[bytes | bytearray] = []
        starts: list[int] = []
        start, whole = 0, True
        while (end := find(b"\n", start, filled)) != -1:
            brace = find(b"{", start + 1, start + _HEAD if start + _HEAD < end else end)
            if (
                brace == -1
                or not startswith(_USER, brace - _BEFORE_BRACE)
                or (
                    (data[end - 2] != _BRACE or data[end - 3] == _BRACE)
                    and find(b'"usage"', max(start, end - _TAIL), end) != -1
                )
            ) and end > start:
                stop = end - 1 if data[end - 1] == _CR else end
                lines.append(data[start:stop])
                starts.append(start)
                whole = whole and data[start] == _OPEN and data[stop - 1] == _BRACE
            start = end + 1
        if lines:
            self._take_lines(lines, starts, base, whole)
        return start

    def _take_lines(self, lines: list[bytes | bytearray], starts: list[int], base: int, whole: bool) -> None:
        rows = decoded_lines(_decoder, lines, whole)
        sink, reader = self._sink, self._reader
        for row, line, start in zip(rows, lines, starts, strict=True):
            if row is None or not self._row(row, line, base + start):
                before = len(sink.records)
                sink.packed = self._packed + len(self._offsets)
                reader.feed(bytes(line), base + start, base + start + len(line) + 1)
                if len(sink.records) > before:
                    self._gaps.append((len(self._offsets), len(sink.records) - before))

    def _row(self, row: _Row, line: bytes | bytearray, offset: int) -> bool:
        """Takes one row; False where the careful reader must."""
        message = row.message
        is_progress = False
        if message is not None and message.usage is not UNSET:
            moment, request, agent = row.timestamp, row.requestId, row.agentId
        elif row.data is not None:
            nested = row.data.message
            if nested is None or nested.message is None or nested.message.usage is UNSET:
                return True
            message, moment, request, is_progress = nested.message, nested.timestamp, nested.requestId, True
            agent = row.agentId or row.data.agentId
        else:
            return row.inputTokens is None and row.outputTokens is None
        usage = message.usage
        if usage is None:
            self._sink.skipped["usage_null"] += 1
            return True
        if isinstance(usage, UnsetType) or moment is None or not _EARLIEST <= moment <= self._latest:
            return False
        write, output = usage.cache_creation_input_tokens, usage.output_tokens
        iterations = bytes(usage.iterations)
        split, tools = usage.cache_creation or _NO_SPLIT, usage.server_tool_use or _NO_TOOLS
        five, hour = split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens
        if (five or hour) and (five or 0) + (hour or 0) != (write or 0):
            return False
        total = (usage.input_tokens or 0) + (output or 0) + (write or 0) + (usage.cache_read_input_tokens or 0)
        if not total:
            if iterations not in _NO_ITERATIONS:
                return False
            self._sink.skipped["zero_usage"] += 1
            return True
        context = (
            row.sessionId,
            row.isSidechain is True or is_progress,
            agent,
            row.cwd,
            row.gitBranch,
            row.version,
            message.model,
            usage.service_tier,
            usage.speed,
            usage.inference_geo,
            is_progress,
            iterations == b"[]",
        )
        place = self._contexts.get(context)
        if place is None:
            if not _is_plain(context):
                return False
            place = self._contexts[context] = len(self._contexts)
        name = message.id
        at = len(self._offsets)
        if iterations not in _NO_ITERATIONS or row.costUSD is not None:
            extra = _extra(iterations, row.costUSD)
            if extra is None:
                return False
            self._extras[at] = extra
        event = self._numbers.get(name) if name is not None else None
        if event is None:
            if not name or not _usable(name) or request == "" or (request is not None and not _usable(request)):
                self._extras.pop(at, None)
                return False
            event = self._numbers[name] = len(self._identities)
            self._identities.append((name, request))
            self._winners.append(at)
        elif request != self._identities[event][1]:
            self._extras.pop(at, None)
            return False
        digest = sha256(line).digest()
        row_values = (
            usage.input_tokens,
            write,
            usage.cache_read_input_tokens,
            five,
            hour,
            output,
            tools.web_search_requests,
            tools.web_fetch_requests,
        )
        best = self._winners[event]
        if best != at and (-(output or 0), -total, moment, digest) < self._standing(best):
            self._winners[event] = at
        self._offsets.append(offset)
        self._lengths.append(len(line))
        self._hashes.append(digest)
        self._times.append(moment)
        self._context_of.append(place)
        self._event_of.append(event)
        self._values.append(row_values)
        return True

    def _standing(self, row: int) -> tuple[int, int, datetime, bytes]:
        """Order of the rows of one event in one file: the winner comes first (``clients.copies.rank``)."""
        found = self._values[row]
        output = found[_OUTPUT] or 0
        total = output + (found[_INPUT] or 0) + (found[_WRITE] or 0) + (found[_READ] or 0)
        return -output, -total, self._times[row], self._hashes[row]

    def columns(self) -> Columns:
        """The rows taken since the last time."""
        columns = Columns(
            layout=ClaudePackFormat.layout,
            ordinals=ordinals(self._first, len(self._offsets), self._gaps),
            offsets=self._offsets,
            lengths=self._lengths,
            hashes=b"".join(self._hashes),
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
        self._begin()
        return columns


class ClaudePackFormat:
    """What packs of transcripts mean."""

    layout = "claude-1"
    repetition = PROGRESS_COPY

    def packer(self, file: SourceFile, sink: Sink, reader: Any) -> ClaudePacker:
        """A fast reader beside the careful one."""
        return ClaudePacker(sink, reader)

    def contribution(self, columns: Columns, event: int) -> tuple[list[int], int, str]:
        """Counters of the winning row."""
        row = columns.winners[event]
        found = columns.values[row]
        counters = [
            found[_INPUT] or 0,
            found[_OUTPUT] or 0,
            found[_WRITE] or 0,
            found[_READ] or 0,
            0,
            0,
            found[_HOUR] or 0,
            0,
            found[_SEARCHES] or 0,
        ]
        name = columns.identities[event][0]
        return counters, columns.context_of[row], "" if name.startswith("msg_0") else _prefix(name)

    def states(self, columns: Columns) -> bytearray:
        """A request that rows of several sessions or kinds show is not for one file to book."""
        states = bytearray(len(columns.identities))
        if any(context[_PROGRESS] for context in columns.contexts):
            for event, row in enumerate(columns.winners):
                if columns.contexts[columns.context_of[row]][_PROGRESS]:
                    states[event] = WEAK
        if len(columns.contexts) > 1:
            kinds = [(context[_SESSION], context[_SIDECHAIN], context[_PROGRESS]) for context in columns.contexts]
            if len(set(kinds)) > 1:
                for event, context in zip(columns.event_of, columns.context_of, strict=True):
                    if kinds[context] != kinds[columns.context_of[columns.winners[event]]]:
                        states[event] = CONTACT
        return states

    def rules(self, columns: Columns, events: Container[int] | None = None) -> Counter[str]:
        """Copies within the file: blocks of one streamed message, or repeated progress rows."""
        found: Counter[str] = Counter()
        if events is None and not any(context[_PROGRESS] for context in columns.contexts):
            found[STREAM_COPY] = len(columns.offsets) - len(columns.winners)
            return found
        for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
            if columns.winners[event] != row and (events is None or event in events):
                found[PROGRESS_COPY if columns.contexts[place][_PROGRESS] else STREAM_COPY] += 1
        return found

    def key(self, identity: Any) -> int:
        """By message id, as the booking group is."""
        return key_of(identity[0])

    def record_key(self, record: UsageRecord) -> int:
        """By message id, else content."""
        return key_of(record.message_id or f"\x00{record.record_sha256}")

    def check(self, columns: Columns, event: int) -> int:
        """Request id and session."""
        session = columns.contexts[columns.context_of[columns.winners[event]]][_SESSION]
        return key_of(f"{columns.identities[event][1]}\x00{session}")

    def priced(self, context: Context) -> PricedContext:
        """Session, model, speed and tier."""
        return PricedContext(
            context[_SESSION], values.text(context[_MODEL]), values.word(context[_SPEED]), values.word(context[_TIER])
        )

    def project(self, context: Context) -> str | None:
        """The working folder."""
        folder: str | None = context[_CWD]
        return folder

    def records(self, columns: Columns, events: Container[int] | None = None) -> Iterator[tuple[int, UsageRecord]]:
        """The records of the rows, in order."""
        for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
            if events is not None and event not in events:
                continue
            context = columns.contexts[place]
            name, request = columns.identities[event]
            extra = columns.extras.get(row, {})
            raw = _raw_usage(columns.values[row], context, extra)
            flags: list[str] = []
            counters = counters_of(usage_of(raw), flags.append)
            model = values.text(context[_MODEL])
            if model is None:
                flags.append("model_missing")
            yield (
                row,
                UsageRecord(
                    ordinal=columns.ordinals[row],
                    byte_offset=columns.offsets[row],
                    byte_length=columns.lengths[row],
                    record_sha256=columns.hashes[32 * row : 32 * row + 32].hex(),
                    timestamp_us=microseconds(columns.times[row]),
                    session_id=context[_SESSION],
                    model_raw=model,
                    counters=counters,
                    message_id=name,
                    request_id=request,
                    is_sidechain=context[_SIDECHAIN],
                    is_progress=context[_PROGRESS],
                    agent_id=context[_AGENT],
                    cwd=context[_CWD],
                    git_branch=context[_BRANCH],
                    client_version=context[_VERSION],
                    service_tier=values.word(context[_TIER]),
                    speed=values.word(context[_SPEED]),
                    reported_cost_nano=extra.get("cost"),
                    flags=tuple(flags),
                    raw_usage=raw,
                ),
            )


def _usable(text: str) -> bool:
    return text.isprintable() and len(text) <= _LONGEST


def _is_plain(context: Context) -> bool:
    """Whether every text of a context is kept as it stands, and a session is named."""
    for text in context[_AGENT : _MODEL + 1]:
        if text is not None and (text == "" or not _usable(text)):
            return False
    for word in context[_TIER : _GEO + 1]:
        if word is not None and word != "" and values.word(word) is None:
            return False
    session = context[_SESSION]
    return bool(session) and _usable(session)


def _extra(iterations: bytes, cost: float | None) -> dict[str, Any] | None:
    """What only some rows have; None where it needs the careful reader: advisors are requests of their own."""
    extra: dict[str, Any] = {}
    if iterations not in _NO_ITERATIONS:
        kept = values.safe_usage(iterations) if b"advisor" not in iterations else None
        if kept is None:
            return None
        extra["iterations"] = kept
    if cost is not None:
        extra["cost"] = values.cost_nano(cost)
    return extra


def _raw_usage(found: Values, context: Context, extra: dict[str, Any]) -> str:
    """The usage object as the writer orders it."""
    usage: dict[str, Any] = {
        "input_tokens": found[_INPUT],
        "cache_creation_input_tokens": found[_WRITE],
        "cache_read_input_tokens": found[_READ],
        "cache_creation": _object(ephemeral_5m_input_tokens=found[_FIVE], ephemeral_1h_input_tokens=found[_HOUR]),
        "output_tokens": found[_OUTPUT],
        "server_tool_use": _object(web_search_requests=found[_SEARCHES], web_fetch_requests=found[_FETCHES]),
        "service_tier": context[_TIER],
        "inference_geo": context[_GEO],
        "speed": context[_SPEED],
    }
    text = msgspec.json.encode({key: value for key, value in usage.items() if value is not None}).decode("ascii")
    iterations = "[]" if context[_EMPTY] else extra.get("iterations")
    if iterations is not None:
        text = f'{text[:-1]},"iterations":{iterations}}}'
    return text


def _object(**fields: int | None) -> dict[str, int] | None:
    kept = {key: value for key, value in fields.items() if value is not None}
    return kept or None


def _prefix(name: str) -> str:
    from tokenledger_dagster.pricing.context import channels

    return next((prefix for prefix in channels("message_prefix") if name.startswith(prefix)), "")
