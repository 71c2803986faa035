"""Reading Codex rows: rollouts with cumulative ``token_count`` rows, and saved ``codex exec --json`` output.

Here: how a row becomes a usage record.  Not here: where rollouts lie and which rows are one request
(``clients.codex``), what a row bills given the rows before it (``clients.codex_reducer``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from tokenledger_dagster.clients import lines, values
from tokenledger_dagster.clients.base import Lineage, Sink, SourceFile
from tokenledger_dagster.clients.codex_reducer import LOWER_LINEAGE, ReducerState, reduce_row
from tokenledger_dagster.clients.row_values import stamped, why_none
from tokenledger_dagster.clients.rows import member
from tokenledger_dagster.contracts.record import Counters, UsageRecord, Vector

T = TypeVar("T", bound=msgspec.Struct)

TIMED = b'{"timestamp":"'
AFTER_TIME = len(TIMED) + len("2026-01-01T00:00:00.000Z")
SKIPPED = (
    b'","type":"response_item","payload":{',
    b'","type":"compacted","payload":{',
    b'","type":"event_msg","payload":{"type":"agent_',
    b'","type":"event_msg","payload":{"type":"user_message"',
)
TAIL = 2048
"""Bytes at the end of a line in which a usage row glued behind another names itself."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
SPAWN_REPLAY = "codex.spawn_replay"
FORK_PREFIX = "codex.fork_prefix"
_ROLLOUT_TYPES = frozenset({"session_meta", "turn_context", "event_msg", "response_item", "compacted", "world_state"})


_ABSENT = msgspec.Raw()


class _Row(msgspec.Struct, gc=False):
    type: Any = None
    timestamp: Any = None
    created_at: Any = None
    createdAt: Any = None  # noqa: N815 - the log's own spelling
    model: Any = None
    model_name: Any = None
    thread_id: Any = None
    payload: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT


class _Payload(msgspec.Struct, gc=False):
    type: Any = None
    info: Any = None
    id: Any = None
    cwd: Any = None
    cli_version: Any = None
    forked_from_id: Any = None
    source: Any = None
    git: Any = None
    model: Any = None
    model_name: Any = None
    metadata: Any = None


_row = msgspec.json.Decoder(_Row)
_payload = msgspec.json.Decoder(_Payload)


class _Carry(msgspec.Struct):
    """What the reader remembers of a file between appends."""

    session_id: str | None = None
    parent_id: str | None = None
    embedded: list[str] = []
    """Sessions named by the history the file begins with, nearest first."""
    spawned: bool = False
    spawn_second: int | None = None
    model: str | None = None
    cwd: str | None = None
    git_branch: str | None = None
    client_version: str | None = None
    interleaved: bool = False
    """A second, lower counter was seen in the file: what it counted is not billed, so its session is flagged."""
    reducer: ReducerState = msgspec.field(default_factory=ReducerState)


class CodexReader:
    """Reads the rows of one rollout or one saved exec output, in order."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> None:
        self._file = file
        self._sink = sink
        self._context = context
        self.state = msgspec.msgpack.decode(carry, type=_Carry) if carry else _Carry()

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Conversation items in the writer's own layout; any other spacing or key order is decoded.

        A usage row glued behind one shows at the line's end, and the line is decoded then.
        """
        return (
            buffer.startswith(SKIPPED, start + AFTER_TIME, end)
            and buffer.startswith(TIMED, start)
            and buffer.find(b'"token_count"', max(start, end - TAIL), end) == -1
        )

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Adds the usage record of one line, if it is one, to the sink."""
        try:
            row = _row.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            for found, piece, at, flags in lines.objects(line, offset, self._sink):
                self._take(_lenient(found), piece, at, flags)
            return
        self._take(row, line, offset, [])

    def carry(self) -> bytes:
        """The state after the last line fed."""
        return msgspec.msgpack.encode(self.state)

    def lineage(self) -> Lineage:
        """The file's own session, and the one it was forked from or spawned by."""
        state = self.state
        rule = SPAWN_REPLAY if state.spawned else FORK_PREFIX
        session = state.session_id or self.stem_id()
        # without a parent of its own a file copies nothing, whatever it embeds
        parent = state.parent_id
        ancestors = [parent, *state.embedded] if parent is not None and parent != session else []
        return Lineage(session, ancestors, rule)

    def _take(self, row: _Row, line: bytes, offset: int, flags: list[str]) -> None:
        if row.payload and row.type in _ROLLOUT_TYPES:
            payload = _read(_payload, row.payload, _Payload, _lenient_payload)
            if row.type == "event_msg":
                if payload.type == "token_count":
                    self._token_count(row, payload, line, offset, flags)
            elif row.type == "turn_context":
                self.state.model = _model_of(payload) or self.state.model
                self.state.cwd = self.state.cwd or values.text(payload.cwd)
            elif row.type == "session_meta":
                if self.state.session_id is None:
                    self._session_meta(row, payload)
                else:
                    self._embedded_meta(payload)
            return
        if row.type == "thread.started":
            self.state.session_id = self.state.session_id or values.text(row.thread_id)
        self._exec_usage(row, line, offset, flags)

    def _session_meta(self, row: _Row, payload: _Payload) -> None:
        """Only a file's first one is its own; later ones belong to embedded ancestors."""
        state = self.state
        state.session_id = values.text(payload.id) or self.stem_id()
        state.cwd = values.text(payload.cwd)
        state.client_version = values.text(payload.cli_version)
        if isinstance(payload.git, dict):
            state.git_branch = values.text(payload.git.get("branch"))
        parent = values.text(payload.forked_from_id)
        spawn = member(payload.source, "subagent", "thread_spawn", "parent_thread_id")
        state.spawned = isinstance(member(payload.source, "subagent", "thread_spawn"), dict)
        state.parent_id = values.text(spawn) or parent
        if state.spawned and (time := values.time_us(row.timestamp)) is not None:
            state.spawn_second = time // values.MICROS

    def _embedded_meta(self, payload: _Payload) -> None:
        """A session_meta of copied history names an ancestor, and what that one was forked from."""
        state = self.state
        for name in (values.text(payload.id), values.text(payload.forked_from_id)):
            if name is not None and name not in (state.session_id, state.parent_id, *state.embedded):
                state.embedded.append(name)

    def _token_count(self, row: _Row, payload: _Payload, line: bytes, offset: int, flags: list[str]) -> None:
        info = payload.info
        if not isinstance(info, dict):
            self._sink.skipped[why_none(info)] += 1  # null in a heartbeat: rate limits only
            return
        told = info.get("total_token_usage"), info.get("last_token_usage")
        total, last = (_vector(one, flags.append) for one in told)
        if total is None and last is None:
            self._sink.skipped[why_none(*told)] += 1
            return
        model = values.text(info.get("model")) or _model_of(payload) or self.state.model
        time, known = self._time(row, flags)
        if not any(total or ()) and not any(last or ()):
            self._sink.skipped["zero_usage"] += 1
            return
        billed, rule = reduce_row(self.state.reducer, total, last)
        if rule == LOWER_LINEAGE:
            self.state.interleaved = True
        if self.state.interleaved:
            flags.append("interleaved_counters")
        if rule is None and known and self.state.spawn_second == time // values.MICROS:
            # a spawned thread's file opens with its parent's history, re-stamped in one burst
            flags.append("replay_burst")
            rule = SPAWN_REPLAY
        raw = _raw_usage(info)
        self._emit(
            time, model, billed, line, offset, flags, rule, total, last, raw, by_content=total is None and not known
        )

    def _exec_usage(self, row: _Row, line: bytes, offset: int, flags: list[str]) -> None:
        holder, usage = row, row.usage
        for nested in (row.data, row.result, row.response):
            if not usage and nested:
                holder = _read(_row, nested, _Row, _lenient)
                usage = holder.usage
        if not usage:
            return
        try:
            found = json.loads(bytes(usage))
        except (ValueError, RecursionError):
            found = None
        vector = _vector(found, flags.append)
        if vector is None or not any(vector):
            self._sink.skipped[why_none(found) if vector is None else "zero_usage"] += 1
            return
        model = next((name for part in (holder, row) if (name := _model_of(part))), None) or self.state.model
        time, _ = self._time(holder if holder is not row and _has_time(holder) else row, flags)
        raw = values.safe_usage(bytes(usage))
        self._emit(time, model, vector, line, offset, flags, None, None, vector, raw, by_content=True)

    def _time(self, row: _Row, flags: list[str]) -> tuple[int, bool]:
        """The row's time, under whichever name, and whether the row itself told it."""
        told = map(values.time_us, (row.timestamp, row.created_at, row.createdAt))
        time = next((time for time in told if time is not None), None)
        return stamped(self._file, self._sink, flags, time), time is not None

    def _emit(
        self,
        time: int,
        model: str | None,
        billed: Vector,
        line: bytes,
        offset: int,
        flags: list[str],
        rule: str | None,
        total: Vector | None,
        last: Vector | None,
        raw: str | None,
        by_content: bool,
    ) -> None:
        state = self.state
        model, assumed = self.model_or_configured(model)
        flags += assumed
        tier = self.configured_tier() if time >= int(self._context.get("config_mtime_us", "0")) else None
        if tier:
            flags.append("service_tier_from_config")
        record = UsageRecord(
            ordinal=self._sink.ordinal,
            byte_offset=offset,
            byte_length=len(line),
            record_sha256=hashlib.sha256(line).hexdigest(),
            timestamp_us=time,
            session_id=state.session_id or self.stem_id(),
            model_raw=model,
            counters=disjoint(billed, flags.append),
            cumulative=total,
            last=last,
            by_content=by_content,
            file_rule=rule,
            parent_session_id=state.parent_id,
            cwd=state.cwd,
            git_branch=state.git_branch,
            client_version=state.client_version,
            service_tier=tier,
            flags=tuple(dict.fromkeys(flags)),
            raw_usage=raw,
        )
        self._sink.records.append(record)

    def model_or_configured(self, model: str | None) -> tuple[str | None, list[str]]:
        """The model of a row, with a flag where it is an assumption."""
        if model is not None:
            return model, []
        configured = self._context.get("model")
        flags = ["model_fallback" if configured is None else "model_from_config"]
        return configured, flags

    def configured_tier(self) -> str | None:
        """The service tier the user has set."""
        return self._context.get("service_tier")

    def tiered_from(self) -> datetime:
        """Since when the set tier is known to hold: the last write of the settings; older requests stay standard."""
        return values.EPOCH + timedelta(microseconds=int(self._context.get("config_mtime_us", "0")))

    def stem_id(self) -> str:
        """The session a file's name tells."""
        found = _UUID.search(self._file.stem)
        return found.group() if found else self._file.stem


def disjoint(billed: Vector, flag: Callable[[str], None]) -> Counters:
    """Disjoint counters of an inclusive vector: cached and cache writes taken out of input, reasoning inside output."""
    inclusive, cached, write, output, reasoning = billed
    if cached + write > inclusive:
        flag("cache_above_input")
        cached = min(cached, inclusive)
        write = min(write, inclusive - cached)
    if reasoning > output:
        flag("reasoning_above_output")
        reasoning = output
    return Counters(
        input_tokens=inclusive - cached - write,
        output_tokens=output,
        cache_write_tokens=write,
        cache_read_tokens=cached,
        reasoning_tokens=reasoning,
    )


def _vector(found: Any, flag: Callable[[str], None]) -> Vector | None:
    """Counters of a usage object under any of their names; None where there is no usage object."""
    if not isinstance(found, dict) or not found:
        return None

    def pick(*names: str) -> int:
        for name in names:
            if found.get(name) is not None:
                return values.count(found[name], flag)
        return 0

    return (
        pick("input_tokens", "prompt_tokens"),
        pick("cached_input_tokens", "cached_tokens", "cache_read_input_tokens"),
        pick("cache_write_input_tokens", "cache_creation_input_tokens"),
        pick("output_tokens", "completion_tokens"),
        pick("reasoning_output_tokens", "reasoning_tokens"),
    )


def _raw_usage(info: dict[str, Any]) -> str | None:
    """The log's own two usage objects, numbers only."""
    kept = {key: info[key] for key in ("total_token_usage", "last_token_usage") if isinstance(info.get(key), dict)}
    try:
        encoded = msgspec.json.encode(kept)
    except (OverflowError, ValueError, msgspec.EncodeError):
        encoded = json.dumps(kept).encode("utf-8")
    return values.safe_usage(encoded)


def _model_of(part: _Payload | _Row) -> str | None:
    found = values.text(part.model) or values.text(part.model_name)
    metadata = getattr(part, "metadata", None)
    return found or (values.text(metadata.get("model")) if isinstance(metadata, dict) else None)


def _has_time(row: _Row) -> bool:
    return row.timestamp is not None or row.created_at is not None or row.createdAt is not None


def _read(decoder: Any, raw: msgspec.Raw, kind: type[T], lenient: Callable[[dict[str, Any]], T]) -> T:
    """The object in ``raw``, or an empty one where it is no object."""
    try:
        found: T = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # numbers beyond 64 bits and the like: the standard library reads them, ``values.count`` judges them
        try:
            plain = json.loads(bytes(raw))
        except (ValueError, RecursionError):
            return kind()
        return lenient(plain) if isinstance(plain, dict) else kind()
    return found


def _lenient_payload(found: dict[str, Any]) -> _Payload:
    return _Payload(**{name: found.get(name) for name in _Payload.__struct_fields__})


def _lenient(found: dict[str, Any]) -> _Row:
    raws = ("payload", "usage", "data", "result", "response")
    row = _Row()
    for name in _Row.__struct_fields__:
        if name not in raws:
            setattr(row, name, found.get(name))
    for name in raws:
        if isinstance(found.get(name), dict):
            setattr(row, name, msgspec.Raw(json.dumps(found[name]).encode("utf-8")))
    return row
