"""Claude Code: transcripts under ``projects/``, one JSON row per content block of a streamed message.

Here: how a row becomes a usage record, and which rows are one request.  Not here: where transcripts lie
(``clients.claude_code_logs``), reading bytes, choosing among the copies (``ingest.booking``), prices.  Facts and
sources: ``docs/clients/claude-code.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tokenledger_dagster.clients import lines, link_names, row_values, values
from tokenledger_dagster.clients.base import BookingFacts, Claim, Copy, Sink, SourceFile
from tokenledger_dagster.clients.claude_code_logs import ClaudeCodeLogs
from tokenledger_dagster.clients.copies import content_claims, rank
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.pack import PackFormat
from tokenledger_dagster.contracts.record import Counters, UsageRecord

RESUME_COPY = "claude.resume_copy"
PROGRESS_COPY = "claude.progress_copy"
STREAM_COPY = "claude.stream_copy"
_MESSAGE = b'"message":{'
_ROLE_USER = b'"role":"user"'
TAIL = 1024
"""Bytes at the end of a row in which its usage, or that of a row glued behind it, stands."""
HEAD = 1536
"""Bytes at the start of a row in which its own ``message`` key stands, before any content."""

_ABSENT = msgspec.Raw()


class _Split(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Any = None
    ephemeral_1h_input_tokens: Any = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation: _Split | None = None
    service_tier: Any = None
    speed: Any = None
    server_tool_use: Any = None
    iterations: Any = None


class _Message(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = _ABSENT


class _Nested(msgspec.Struct, gc=False):
    timestamp: Any = None
    requestId: Any = None  # noqa: N815 - the log's own spelling
    message: _Message | None = None


class _Progress(msgspec.Struct, gc=False):
    agentId: Any = None  # noqa: N815
    message: _Nested | None = None


class _Row(msgspec.Struct, gc=False):
    type: Any = None
    timestamp: Any = None
    sessionId: Any = None  # noqa: N815
    requestId: Any = None  # noqa: N815
    isSidechain: Any = None  # noqa: N815
    agentId: Any = None  # noqa: N815
    cwd: Any = None
    gitBranch: Any = None  # noqa: N815
    version: Any = None
    costUSD: Any = None  # noqa: N815
    message: _Message | None = None
    data: _Progress | None = None
    inputTokens: Any = None  # noqa: N815 - the flat shape of 2024
    outputTokens: Any = None  # noqa: N815
    cacheCreationInputTokens: Any = None  # noqa: N815
    cacheReadInputTokens: Any = None  # noqa: N815


_row = msgspec.json.Decoder(_Row)
_usage = msgspec.json.Decoder(_Usage)


class ClaudeReader:
    """Reads the rows of one transcript; it needs no memory between appends."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self._file = file
        self._sink = sink

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """User rows (prompts, tool results) carry no usage of their own and are most of the bytes.

        Proof: the first brace after the row's own opens its ``message``, and that is a user's; and no usage object
        stands at the end, as it would if another row were glued behind.
        """
        brace = buffer.find(b"{", start + 1, min(end, start + HEAD))
        return (
            brace != -1
            and buffer.startswith(_ROLE_USER, brace + 1)
            and buffer.startswith(_MESSAGE, brace + 1 - len(_MESSAGE))
            and buffer.find(b'"usage"', max(start, end - TAIL), end) == -1
        )

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Adds the usage records of one line to the sink."""
        try:
            row = _row.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            for found, piece, at, flags in lines.objects(line, offset, self._sink):
                self._take(_lenient(found), piece, at, flags)
            return
        if row.message is None and row.data is None and row.inputTokens is None and row.outputTokens is None:
            return
        self._take(row, line, offset, [])

    def carry(self) -> bytes:
        """Nothing to remember."""
        return b""

    def lineage(self) -> None:
        """Rows name their session themselves, and copies are told by their ids."""
        return

    def _take(self, row: _Row, line: bytes, offset: int, flags: list[str]) -> None:
        if row.message is not None and row.message.usage:
            self._book(row, row.message, row.timestamp, row.requestId, False, line, offset, flags)
        elif row.data is not None:
            nested = row.data.message
            if nested is not None and nested.message is not None and nested.message.usage:
                time = nested.timestamp if nested.timestamp is not None else row.timestamp
                self._book(row, nested.message, time, nested.requestId, True, line, offset, flags)
        elif row.inputTokens is not None or row.outputTokens is not None:
            message = row.message or _Message()
            flat = _Usage(row.inputTokens, row.outputTokens, row.cacheCreationInputTokens, row.cacheReadInputTokens)
            message.usage = msgspec.Raw(msgspec.json.encode(flat))
            self._book(row, message, row.timestamp, row.requestId, False, line, offset, [*flags, "flat_usage"])

    def _book(
        self,
        row: _Row,
        message: _Message,
        timestamp: Any,
        request: Any,
        is_progress: bool,
        line: bytes,
        offset: int,
        flags: list[str],
    ) -> None:
        raw = bytes(message.usage)
        usage = _read_usage(raw, flags.append)
        empty = not raw.strip(b"{} \t\r\n")
        if usage is None or empty:
            self._sink.skipped["usage_null" if empty or raw == b"null" else "usage_not_an_object"] += 1
            return
        counters = counters_of(usage, flags.append)
        time = row_values.dated(self._file, self._sink, flags, timestamp, row.timestamp if is_progress else None)
        message_id = values.text(message.id)
        model = values.text(message.model)
        if model is None:
            flags.append("model_missing")
        session = values.text(row.sessionId)
        if session is None:
            session = self._file.stem
            flags.append("session_from_file")
        agent = values.text(row.agentId) or (values.text(row.data.agentId) if is_progress and row.data else None)
        record = UsageRecord(
            ordinal=self._sink.ordinal,
            byte_offset=offset,
            byte_length=len(line),
            record_sha256=hashlib.sha256(line).hexdigest(),
            timestamp_us=time,
            session_id=session,
            model_raw=model,
            counters=counters,
            message_id=message_id,
            request_id=values.text(request),
            by_content=message_id is None,
            # a progress row repeats a subagent's message inside its parent's transcript
            is_sidechain=row.isSidechain is True or is_progress,
            is_progress=is_progress,
            agent_id=agent,
            cwd=values.text(row.cwd),
            git_branch=values.text(row.gitBranch),
            client_version=values.text(row.version),
            service_tier=values.word(usage.service_tier),
            speed=values.word(usage.speed),
            reported_cost_nano=values.cost_nano(row.costUSD),
            flags=tuple(dict.fromkeys(flags)),
            raw_usage=values.safe_usage(raw),
        )
        if counters.total:
            self._sink.records.append(record)
        else:
            # a request that moved no token bills nothing: it is a message, not an event (log-format rule 5)
            self._sink.skipped["zero_usage"] += 1
        if usage.iterations:
            self._advisors(record, usage.iterations)

    def _advisors(self, record: UsageRecord, iterations: Any) -> None:
        """Advisor iterations ran on another model and are not in the row's own counters: records of their own."""
        if not isinstance(iterations, list):
            return
        advisors = [one for one in iterations if isinstance(one, dict) and one.get("type") == "advisor_message"]
        for number, item in enumerate(advisors):
            flags = ["advisor_iteration"]
            usage = _lenient_usage(item)
            counters = counters_of(usage, flags.append)
            if counters.total == 0:
                continue
            advisor = msgspec.structs.replace(
                record,
                ordinal=self._sink.ordinal,
                model_raw=values.text(item.get("model")),
                counters=counters,
                message_id=None if record.message_id is None else f"{record.message_id}#advisor-{number}",
                speed=values.word(usage.speed),
                reported_cost_nano=None,
                flags=tuple(dict.fromkeys(flags)),
                record_sha256=record.record_sha256,
                raw_usage=None,
            )
            self._sink.records.append(advisor)


def _read_usage(raw: bytes, flag: Callable[[str], None]) -> _Usage | None:
    try:
        return _usage.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            found = json.loads(raw.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        flag("usage_odd_types")
        return _lenient_usage(found)


def _lenient_usage(found: dict[str, Any]) -> _Usage:
    split = found.get("cache_creation")
    kept = {name: found.get(name) for name in _Usage.__struct_fields__ if name != "cache_creation"}
    if not isinstance(split, dict):
        return _Usage(cache_creation=None, **kept)
    names = _Split.__struct_fields__
    return _Usage(cache_creation=_Split(**{name: split.get(name) for name in names}), **kept)


def _lenient(found: dict[str, Any]) -> _Row:
    """The row of an object whose nested parts may have any type."""
    row = _Row(**{name: found.get(name) for name in _Row.__struct_fields__ if name not in ("message", "data")})
    row.message = _lenient_message(found.get("message"))
    data = found.get("data")
    if isinstance(data, dict) and isinstance(nested := data.get("message"), dict):
        inner = _lenient_message(nested.get("message"))
        row.data = _Progress(data.get("agentId"), _Nested(nested.get("timestamp"), nested.get("requestId"), inner))
    return row


def _lenient_message(found: Any) -> _Message | None:
    if not isinstance(found, dict):
        return None
    usage = msgspec.Raw(json.dumps(found["usage"]).encode("utf-8")) if "usage" in found else _ABSENT
    return _Message(found.get("id"), found.get("model"), usage)


def counters_of(usage: _Usage, flag: Callable[[str], None]) -> Counters:
    """Disjoint counters of a usage object."""
    write = values.count(usage.cache_creation_input_tokens, flag)
    hour = 0
    if usage.cache_creation is not None:
        five = values.count(usage.cache_creation.ephemeral_5m_input_tokens, flag)
        hour = values.count(usage.cache_creation.ephemeral_1h_input_tokens, flag)
        if five + hour != write and (five or hour):
            # the split is what is billed; a flat total that disagrees is kept in raw_usage and flagged
            write = five + hour
            flag("cache_split_disagrees")
    searches = 0
    if isinstance(usage.server_tool_use, dict):
        searches = values.count(usage.server_tool_use.get("web_search_requests"), flag)
    return Counters(
        input_tokens=values.count(usage.input_tokens, flag),
        output_tokens=values.count(usage.output_tokens, flag),
        cache_write_tokens=write,
        cache_read_tokens=values.count(usage.cache_read_input_tokens, flag),
        cache_write_1h_tokens=hour,
        web_search_requests=searches,
    )


class ClaudeCode(ClaudeCodeLogs):
    """The Claude Code adapter."""

    def files(self, root: Root) -> Iterator[SourceFile]:
        """Every transcript below the root; a subagent's own is told by its place or name."""
        for found in self.entries(root):
            below = found[1]
            subagent = "/subagents/" in f"/{below}" or below.rsplit("/", 1)[-1].startswith("agent-")
            yield SourceFile.of(self.name, found, subagent=subagent)

    def context(self, root: Root) -> Mapping[str, str]:
        """Rows carry everything themselves."""
        return {}

    def reader(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> ClaudeReader:
        """A reader for one transcript."""
        return ClaudeReader(file, sink)

    def pack_format(self) -> PackFormat:
        """Transcripts are read in bulk."""
        from tokenledger_dagster.clients.claude_pack import ClaudePackFormat

        return ClaudePackFormat()

    def group(self, record: UsageRecord) -> bytes:
        """Message id, whatever the request id: a sidechain replays a message under a new one."""
        return (record.message_id or f"\x00{record.record_sha256}").encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(message id, request id or null) is a request; a sidechain's copy under another request id is none.

        Rows without message id are told apart by content and by their place among equal rows of their file.
        """
        by_message: dict[str | None, list[Copy]] = defaultdict(list)
        for copy in copies:
            by_message[copy.message_id].append(copy)
        claims = content_claims(self.name, by_message.pop(None, []))
        for message_id, rows in by_message.items():
            by_request: dict[str | None, list[Copy]] = defaultdict(list)
            for copy in rows:
                by_request[copy.request_id].append(copy)
            direct = [key for key, found in by_request.items() if not all(copy.is_sidechain for copy in found)]
            if len(direct) == len(by_request):
                kept = by_request
            elif direct:
                kept = {key: by_request[key] for key in direct}
            else:  # only replays are left of this message: their best copy stands for it
                best = min(rows, key=rank)
                kept = {best.request_id: by_request[best.request_id]}
            made = {key: Claim((self.name, message_id, key), found, []) for key, found in kept.items()}
            replayed = [copy for key, found in by_request.items() if key not in kept for copy in found]
            if replayed:
                owner = min(made.values(), key=lambda claim: min(rank(copy) for copy in claim.copies))
                owner.losers = [(copy, "claude.sidechain_replay") for copy in replayed]
            claims += made.values()
        return claims

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """Names why two rows of one request are the same."""
        if loser.is_progress:
            return PROGRESS_COPY
        if loser.stream == winner.stream:
            return STREAM_COPY
        if loser.session != winner.session:
            return RESUME_COPY
        if subagent(loser.stream) != subagent(winner.stream):
            return "claude.subagent_copy"
        return "claude.file_copy"

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """A telemetry event names the request by its id, or by what was sent where either side has no id."""
        yield link_names.claude_prompt(session, copy.counters)
        if copy.request_id:
            yield link_names.claude_request(copy.request_id)
        else:
            yield link_names.claude_prompt(session, copy.counters, without_id=True)
