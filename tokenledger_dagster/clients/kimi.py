"""Kimi: the wire logs of kimi-cli and of Kimi Code, one file an agent.

Here: how a status update or a usage record becomes a usage record of ours, and what a model's alias stands for.  Not
here: which of several copies counts (``clients.adapter``), reading bytes, prices.  Facts and sources:
``docs/clients/kimi.md``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import md5
from typing import Any

import msgspec

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import Shape, Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.row_values import unheard
from tokenledger_dagster.clients.rows import Row, RowReader, member
from tokenledger_dagster.contracts.record import Counters, UsageRecord

_OLD = ("input_other", "output", "input_cache_creation", "input_cache_read")
_NEW = ("inputOther", "output", "inputCacheCreation", "inputCacheRead")
_WIRE = "wire.jsonl"


class Place(msgspec.Struct, frozen=True):
    """What a wire log's path tells."""

    session: str
    agent: str | None
    """Null for the session's main agent."""
    home: str
    """The session's folder."""


class _State(msgspec.Struct):
    """What earlier rows of a wire tell of later ones."""

    models: dict[str, tuple[str, str | None]] = {}
    """(model, upstream) last requested under each alias."""
    alias: str | None = None
    cwd: str | None = None
    step: str | None = None
    """Message id of the step that just ended."""
    counted: list[int] = []
    """What that step used."""


class KimiReader(RowReader):
    """Reads one agent's wire; the layout is told by each row's own fields."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> None:
        super().__init__(file, sink)
        self._context = context
        self._place = place_of(file)
        self._state = msgspec.msgpack.decode(carry, type=_State) if carry else _State()
        if self._state.cwd is None:
            self._state.cwd = self._known_cwd()

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Prompts, answers and tool results: such a row names no usage anywhere."""
        if not buffer.endswith(b"}", start, end):
            return False
        if buffer.startswith(b'{"type":"context.', start):
            return buffer.find(b'"usage', start, end) == -1 and buffer.find(b'"StatusUpdate"', start, end) == -1
        return (
            buffer.startswith(b'{"timestamp":', start)
            and buffer.find(b'"StatusUpdate"', start, end) == -1
            and buffer.find(b'"usage', start, end) == -1
        )

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Learns from a row, and adds the usage it tells."""
        kind = row.get("type")
        if kind == "usage.record":
            self._take_record(row, evidence, flags)
        elif kind == "context.append_loop_event":
            self._end_step(row.get("event"))
        elif kind == "llm.request":
            self._request(row)
        elif kind == "config.update":
            self._state.alias = values.text(row.get("modelAlias")) or self._state.alias
            self._state.cwd = values.text(row.get("cwd")) or self._state.cwd
        elif isinstance(row.get("message"), dict):
            self._take_message(row, row["message"], evidence, flags)

    def carry(self) -> bytes:
        """Models, folder, and the step that just ended."""
        return msgspec.msgpack.encode(self._state)

    # ------------------------------------------------------------------ kimi-cli

    def _take_message(self, row: Row, message: Row, evidence: Evidence, flags: list[str]) -> None:
        nested = False
        while message.get("type") == "SubagentEvent":  # a subagent's row, repeated in the wire of its parent
            inside = member(message, "payload", "event")
            if not isinstance(inside, dict):
                return
            message, nested = inside, True
        payload = message.get("payload")
        if message.get("type") != "StatusUpdate" or not isinstance(payload, dict):
            return
        found = values.text(payload.get("message_id"))
        if nested and found is None:
            self.sink.skipped["subagent_copy"] += 1  # nothing would show it to be the row in the subagent's own wire
            return
        model = self._context.get("model")
        flags.append("model_missing" if model is None else "model_from_config")
        counters = self._counters(payload.get("token_usage"), _OLD, flags)
        if counters is not None:
            # context sizes alone are no usage, and such updates come between those that tell of it
            upstream = self._context.get("upstream")
            time = row.get("timestamp")
            self._add(payload["token_usage"], counters, time, model, upstream, found, evidence, flags, repeated=nested)

    # ------------------------------------------------------------------ Kimi Code

    def _request(self, row: Row) -> None:
        alias, model = values.text(row.get("modelAlias")), values.text(row.get("model"))
        self._state.alias = alias or self._state.alias
        if model is not None:
            self._state.models[alias or ""] = (model, values.upstream(row.get("provider")))

    def _end_step(self, event: object) -> None:
        if member(event, "type") == "step.end":
            usage = member(event, "usage")
            self._state.step = values.text(member(event, "messageId"))
            self._state.counted = [values.count(member(usage, name), unheard) for name in _NEW]

    def _take_record(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        counters = self._counters(row.get("usage"), _NEW, flags)
        if counters is None:
            return
        alias = values.text(row.get("model")) or self._state.alias
        model, upstream = self._state.models.get(alias or "", (None, None))
        if model is None and alias is not None:
            model = self._context.get(f"alias:{alias}")
            flags.append("model_alias" if model is None else "model_from_config")
            model = model or alias
        if model is None:
            flags.append("model_missing")
        told = [counters.input_tokens, counters.output_tokens, counters.cache_write_tokens, counters.cache_read_tokens]
        step = self._state.step if told == self._state.counted else None
        self._state.step, self._state.counted = None, []
        self._add(row["usage"], counters, row.get("time"), model, upstream, step, evidence, flags)

    # ------------------------------------------------------------------ both

    def _counters(self, told: object, names: tuple[str, str, str, str], flags: list[str]) -> Counters | None:
        """Disjoint as they stand; None, and counted, where nothing was used."""
        usage = row_values.usage_of(told, self.sink)
        if usage is None:
            return None
        fresh, output, write, read = (values.count(usage.get(name), flags.append) for name in names)
        counters = Counters(input_tokens=fresh, output_tokens=output, cache_write_tokens=write, cache_read_tokens=read)
        if not counters.total:
            self.sink.skipped["zero_usage"] += 1
            return None
        return counters

    def _add(
        self,
        usage: Row,
        counters: Counters,
        time: object,
        model: str | None,
        upstream: str | None,
        found: str | None,
        evidence: Evidence,
        flags: list[str],
        *,
        repeated: bool = False,
    ) -> None:
        self.sink.records.append(
            UsageRecord(
                **evidence.placed(self.sink),
                timestamp_us=row_values.dated(self.file, self.sink, flags, time),
                session_id=self._place.session,
                model_raw=model,
                counters=counters,
                message_id=found,
                by_content=found is None,
                is_sidechain=repeated or self._place.agent is not None,
                is_progress=repeated,
                agent_id=self._place.agent,
                cwd=self._state.cwd,
                upstream=upstream,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=row_values.kept_usage(usage),
            )
        )

    def _known_cwd(self) -> str | None:
        """Kimi Code's ``state.json`` beside the agents; else what ``kimi.json`` knows of the folder's hash."""
        try:
            with open(f"{self._place.home}/state.json", "rb") as handle:
                told = msgspec.json.decode(handle.read(1 << 20))
        except (OSError, ValueError, RecursionError):
            told = None
        folder = os.path.basename(os.path.dirname(self._place.home))
        return values.text(member(told, "workDir")) or self._context.get(f"folder:{folder}")


class Kimi(Adapter):
    """The Kimi adapter."""

    name = "kimi"

    def shape(self, path: str) -> Shape:
        """Line by line, also where a file of another name is added by hand."""
        return "lines"

    def reader(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> KimiReader:
        """A reader for one wire."""
        return KimiReader(file, carry, sink, context)

    def context(self, root: Root) -> Mapping[str, str]:
        """Models by alias, the default one, and folders by hash, of the configuration beside the sessions."""
        home = os.path.dirname(root.where) if os.path.basename(root.where) == "sessions" else root.where
        found = _models(_config(home))
        known = member(_json(f"{home}/kimi.json"), "work_dirs")
        for one in known if isinstance(known, list) else ():
            path = values.text(member(one, "path"))
            if path is not None:
                found[f"folder:{md5(path.encode('utf-8', 'replace'), usedforsecurity=False).hexdigest()}"] = path
        return found


def place_of(file: SourceFile) -> Place:
    """Session and agent of a wire: ``<session>/wire.jsonl``, or below ``agents/<agent>`` or ``subagents/<id>``."""
    parts = file.shown.split("/")
    if row_values.name_of(file) != _WIRE.removesuffix(".jsonl") or len(parts) < 2:
        return Place(row_values.name_of(file), None, os.path.dirname(file.path))
    if len(parts) > 3 and parts[-3] in ("agents", "subagents"):
        agent = None if (parts[-3], parts[-2]) == ("agents", "main") else parts[-2]
        return Place(parts[-4], agent, file.path.rsplit("/", 3)[0])
    return Place(parts[-2], None, os.path.dirname(file.path))


def _config(home: str) -> Any:
    told = _json(f"{home}/config.json")
    if told is not None:
        return told
    try:
        with open(f"{home}/config.toml", encoding="utf-8", errors="replace") as handle:
            text = handle.read(1 << 20)
    except OSError:
        return None
    import tomllib  # few have such a file

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _json(path: str) -> Any:
    try:
        with open(path, "rb") as handle:
            return msgspec.json.decode(handle.read(16 << 20))
    except (OSError, ValueError, RecursionError):
        return None


def _models(config: Any) -> dict[str, str]:
    """What a configuration tells of models; keys and tokens in it are not looked at."""
    found: dict[str, str] = {}
    models = member(config, "models")
    for alias, about in models.items() if isinstance(models, dict) else ():
        model = values.text(member(about, "model"))
        if model is not None:
            found[f"alias:{alias}"] = model
    alias = values.text(member(config, "default_model"))
    model = values.text(member(config, "model")) or found.get(f"alias:{alias}") or alias
    if model is not None:
        found["model"] = model
        provider = values.text(member(models, alias or "", "provider")) or ""
        if member(config, "providers", provider, "type") == "kimi":
            found["upstream"] = "kimi"  # the other kinds name a protocol, not who serves it
    return found
