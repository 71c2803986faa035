"""Claude Code transcripts read in bulk.

Here: which rows are provably of the writer's known layouts, their columns, and the records they stand for.  Not here:
any other row: it goes to the careful reader (``clients.claude_code``), line by line.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import zip_longest
from typing import Any
from zlib import adler32, crc32

import msgspec
from msgspec import UNSET, UnsetType

from tokenledger_dagster.clients import compiled, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.claude_code import (
    HEAD,
    PROGRESS_COPY,
    RESUME_COPY,
    STREAM_COPY,
    TAIL,
)
from tokenledger_dagster.clients.pack import (
    CONTACT,
    WEAK,
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
from tokenledger_dagster.contracts.record import Counters, UsageRecord

LAYOUT = "claude-1"
_USER = b'"message":{"role":"user"'
_BEFORE_BRACE = len(b'"message":')
_CR = ord("\r")
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_LONGEST = 1024

# places in a context
_SESSION, _SIDECHAIN, _AGENT, _CWD, _BRANCH, _VERSION, _MODEL, _TIER, _GEO, _SPEED, _PROGRESS, _EMPTY = range(12)
# places in a row's values
_INPUT, _WRITE, _READ, _OUTPUT, _FIVE, _HOUR, _SEARCHES, _FETCHES = range(8)


class _Split(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    five: Tokens | None = msgspec.field(default=None, name="ephemeral_5m_input_tokens")
    hour: Tokens | None = msgspec.field(default=None, name="ephemeral_1h_input_tokens")


class _Tools(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    web_search_requests: Tokens | None = None
    web_fetch_requests: Tokens | None = None


class _Usage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    fresh: Tokens | None = msgspec.field(default=None, name="input_tokens")
    write: Tokens | None = msgspec.field(default=None, name="cache_creation_input_tokens")
    read: Tokens | None = msgspec.field(default=None, name="cache_read_input_tokens")
    cache_creation: _Split | None = None
    output: Tokens | None = msgspec.field(default=None, name="output_tokens")
    server_tool_use: _Tools | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: list[Any] | None = None


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


class ClaudePacker(RowPacker):
    """Reads blocks of one transcript into columns; the careful reader gets every line this one cannot vouch for."""

    layout = LAYOUT

    def begin(self) -> None:
        """Starts a pack."""
        super().begin()
        self._numbers: dict[str, int] = {}
        self._outputs: list[int] = []
        """Output of each event's winner."""

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines of a block (``clients.pack.Packer``).

        User rows (prompts, tool results) carry no usage of their own and are most of the bytes.  Proof: the first brace
        after the row's own opens its ``message``, and that is a user's; and no usage object stands at the end, as it
        would if another row were glued behind.
        """
        find, rfind, startswith = data.find, data.rfind, data.startswith
        lines: list[memoryview] = []
        starts: list[int] = []
        start = 0
        with memoryview(data) as view:
            while (end := find(b"\n", start, filled)) != -1:
                brace = find(b"{", start + 1, start + HEAD if start + HEAD < end else end)
                if (
                    brace == -1
                    or not startswith(_USER, brace - _BEFORE_BRACE)
                    or rfind(b'"usage"', max(start, end - TAIL), end) != -1
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
        contexts, context_of, numbers, identities = self._contexts, self._context_of, self._numbers, self._identities
        event_of, winners, all_values, firsts = self._event_of, self._winners, self._values, self._firsts
        outputs, latest, skipped = self._outputs, self._latest, self._sink.skipped
        usage: _Usage | UnsetType | None
        place, last_context = -1, ()  # type: tuple[int, Context]
        for row, line, start in zip(rows, lines, starts, strict=True):
            if row is None:
                self._carefully(line, base + start)
                continue
            message = row.message
            is_progress = False
            if message is not None and message.usage is not UNSET:
                usage, moment, request, agent = message.usage, row.timestamp, row.requestId, row.agentId
            elif row.data is not None:
                nested = row.data.message
                if nested is None or nested.message is None or nested.message.usage is UNSET:
                    continue
                message, moment, request, is_progress = nested.message, nested.timestamp, nested.requestId, True
                usage, agent = message.usage, row.agentId or row.data.agentId
            else:
                if row.inputTokens is not None or row.outputTokens is not None:
                    self._carefully(line, base + start)
                continue
            if usage is None or usage is UNSET:
                skipped["usage_null"] += 1
                continue
            fresh, write, read, output = usage.fresh, usage.write, usage.read, usage.output
            try:
                total = fresh + write + read + output  # type: ignore[operator]
            except TypeError:  # a counter that the writer always logs is missing
                total = -1
            split, iterations = usage.cache_creation, usage.iterations
            if split is not None:
                five, hour = split.five or 0, split.hour or 0
                if five + hour != write and (five or hour):
                    total = -1
            if total <= 0 or iterations or moment is None or not _EARLIEST <= moment <= latest:
                if total == 0 and not iterations and moment is not None:
                    skipped["zero_usage"] += 1
                    continue
                if total < 0 or moment is None or not _EARLIEST <= moment <= latest or "advisor" in repr(iterations):
                    self._carefully(line, base + start)
                    continue
            context = (
                row.sessionId,
                row.isSidechain is True or is_progress,
                agent,
                row.cwd,
                row.gitBranch,
                row.version,
                message.model,
                usage.service_tier,
                usage.inference_geo,
                usage.speed,
                is_progress,
                iterations is not None and not iterations,
            )
            if context != last_context:
                known = contexts.get(context)
                if known is None:
                    if not is_plain(context):
                        self._carefully(line, base + start)
                        continue
                    known = contexts[context] = len(contexts)
                place, last_context = known, context
            name = message.id
            at = len(offsets)
            event = numbers.get(name) if name is not None else None
            if event is None:
                if not _are_ids(name, request):
                    self._carefully(line, base + start)
                    continue
            elif request != identities[event][1]:
                self._carefully(line, base + start)
                continue
            if (iterations or row.costUSD is not None) and not self._extra(at, iterations, row.costUSD):
                self._carefully(line, base + start)
                continue
            if moment.tzinfo is not UTC:
                moment = moment.astimezone(UTC)
            digest = sha256(line).digest()
            if event is None:
                event = numbers[str(name)] = len(winners)
                identities.append((str(name), request))
                winners.append(at)
                outputs.append(output or 0)
                firsts.append(moment)
            else:
                if (output or 0) > outputs[event] or (
                    output == outputs[event] and (-total, moment, digest) < self._standing(winners[event])
                ):
                    winners[event] = at
                    outputs[event] = output or 0
                if moment < firsts[event]:
                    firsts[event] = moment
            offsets.append(base + start)
            lengths.append(len(line))
            hashes.append(digest)
            times.append(moment)
            context_of.append(place)
            event_of.append(event)
            tools = usage.server_tool_use
            if tools is not None:
                searches, fetches = tools.web_search_requests, tools.web_fetch_requests
                parts = (None, None) if split is None else (split.five, split.hour)
                all_values.append((fresh, write, read, output, *parts, searches, fetches))
            elif split is not None:
                all_values.append((fresh, write, read, output, split.five, split.hour))
            else:
                all_values.append((fresh, write, read, output))

    def _extra(self, at: int, iterations: Any, cost: float | None) -> bool:
        """Notes what only some rows have; False where it is more than numbers."""
        extra: dict[str, Any] = {}
        if iterations:
            told = msgspec.json.encode(iterations)
            extra["iterations"] = values.safe_usage(told)
            if extra["iterations"] != told.decode():
                return False
        if cost is not None:
            extra["cost"] = values.cost_nano(cost)
        self._extras[at] = extra
        return True

    def _standing(self, row: int) -> tuple[int, datetime, bytes]:
        """Order of the rows of one event with the same output: the winner comes first (``clients.copies.rank``)."""
        found = self._values[row]
        return -sum(found[: _OUTPUT + 1]), self._times[row], self._hashes[row]


class ClaudePackFormat:
    """What packs of transcripts mean."""

    layout = LAYOUT
    repetition = PROGRESS_COPY
    copy_rule = RESUME_COPY
    compete = True

    def packer(self, file: SourceFile, sink: Sink, reader: Any) -> ClaudePacker:
        """A fast reader beside the careful one: the compiled one where it was built."""
        if compiled.bulk() is None:
            return ClaudePacker(sink, reader)
        from tokenledger_dagster.clients.claude_bulk import ClaudeBulkPacker

        return ClaudeBulkPacker(sink, reader)

    def total(self, rows: Sequence[Values]) -> list[int]:
        """Counters of some rows."""
        if len(rows) == 1:
            fresh, write, read, output, *rest = rows[0]
            hour = rest[1] if rest else None
            searches = rest[2] if len(rest) > 2 else None
            return [fresh, output, write, read, 0, 0, hour or 0, 0, searches or 0]
        columns = [sum(filter(None, column)) for column in zip_longest(*rows)]
        fresh, write, read, output, _, hour, searches, *_ = (*columns, 0, 0, 0, 0)
        return [fresh, output, write, read, 0, 0, hour, 0, searches]

    def prompt(self, row: Values) -> int:
        """Prompt tokens of a row."""
        prompt: int = row[_INPUT] + row[_WRITE] + row[_READ]
        return prompt

    def prefix(self, identity: Any) -> str:
        """Prefix of the message id where it names a channel."""
        name: str = identity[0]
        # Anthropic's own ids go on with digits
        return "" if name[4:5].isdigit() else _prefix(name)

    def states(self, columns: Columns) -> bytearray:
        """A request that rows of several sessions or kinds show is not for one file to book."""
        states = bytearray(len(columns.identities))
        for row, extra in columns.extras.items():
            if extra.get("cost") is not None:  # sums do not tell stated costs apart
                states[columns.event_of[row]] = CONTACT
        if any(context[_PROGRESS] for context in columns.contexts):
            for event, row in enumerate(columns.winners):
                if columns.contexts[columns.context_of[row]][_PROGRESS] and not states[event]:
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

    def group(self, identity: Any) -> Any:
        """The message id."""
        return identity[0]

    def keys(self, identities: Sequence[Any]) -> array[int]:
        """By message id, as the booking group is."""
        return array("I", [crc32(name.encode()) for name, _ in identities])

    def record_key(self, record: UsageRecord) -> int:
        """By message id, else content."""
        return key_of(record.message_id or f"\x00{record.record_sha256}")

    def checks(self, columns: Columns) -> array[int]:
        """Message id, request id and session."""
        sessions = [key_of(context[_SESSION]) for context in columns.contexts]
        rows = zip(columns.identities, columns.winners, strict=True)
        # the message id once more, by another sum than its key: what dominates must be the same request
        return array(
            "I",
            [
                crc32((request or "").encode(), sessions[columns.context_of[row]] ^ adler32(name.encode()))
                for (name, request), row in rows
            ],
        )

    def priced(self, context: Context) -> Priced:
        """Session, model, speed and tier."""
        return context[_SESSION], context[_MODEL], values.word(context[_SPEED]), values.word(context[_TIER])

    def kind(self, context: Context) -> tuple[Any, ...]:
        """Whether it is a sidechain's."""
        return (context[_SIDECHAIN],)

    def project(self, context: Context) -> str | None:
        """The working folder."""
        folder: str | None = context[_CWD]
        return folder

    def vectors(self, columns: Columns) -> Iterator[tuple[int, bytes]]:
        """None: copies are told by their ids."""
        return iter(())

    def records(self, columns: Columns) -> Iterator[tuple[int, UsageRecord]]:
        """The records of the rows, in order."""
        for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
            context = columns.contexts[place]
            name, request = columns.identities[event]
            found = columns.values[row]
            extra = columns.extras.get(row, {})
            padded = (*found, None, None, None, None)
            fresh, write, read, output, _, hour, searches, *_ = padded
            model = values.text(context[_MODEL])
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
                    # what a packed row counts is what it says: a split that disagrees with its sum is not packed
                    counters=Counters(
                        input_tokens=fresh,
                        output_tokens=output,
                        cache_write_tokens=write,
                        cache_read_tokens=read,
                        cache_write_1h_tokens=hour or 0,
                        web_search_requests=searches or 0,
                    ),
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
                    flags=() if model is not None else ("model_missing",),
                    raw_usage=_raw_usage(padded, context, extra),
                ),
            )


def _are_ids(name: str | None, request: str | None) -> bool:
    """Whether a row's ids are kept as they stand."""
    if not name or not _usable(name):
        return False
    return request is None or (request != "" and _usable(request))


def _usable(text: str) -> bool:
    return text.isprintable() and len(text) <= _LONGEST


def is_plain(context: Context) -> bool:
    """Whether every text of a context is kept as it stands, and a session is named."""
    for text in context[_AGENT : _MODEL + 1]:
        if text is not None and (text == "" or not _usable(text)):
            return False
    for word in context[_TIER : _SPEED + 1]:
        if word is not None and word != "" and values.word(word) is None:
            return False
    session = context[_SESSION]
    return bool(session) and _usable(session)


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
