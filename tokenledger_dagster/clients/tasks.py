"""Task files of Cline, Roo Code and Kilo Code: ``tasks/<task>/ui_messages.json``, an array written anew at each change.

Here: how its rows become usage records, and what a program of this family means by input tokens.  Not here: what the
files beside it tell (``clients.task_files``), or where the tasks lie (``places.csv``).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import kept_usage, stamped, usage_of
from tokenledger_dagster.clients.rows import Row
from tokenledger_dagster.clients.task_files import TaskFiles, model_name
from tokenledger_dagster.contracts.record import Counters, UsageRecord

_USAGE_ROWS = ("api_req_started", "subagent_usage")
_MARKERS = (b"api_req_started", b"subagent_usage", b"deleted_api_reqs")
_COUNTS = ("tokensIn", "tokensOut", "cacheWrites", "cacheReads", "cost")


class Dialect(msgspec.Struct, frozen=True):
    """What a program means by ``tokensIn``: the uncached part of the prompt, or all of it."""

    whole_prompt_since_us: int | None = None
    """Since when it writes the whole prompt for every provider."""
    whole_prompt_providers: frozenset[str] = frozenset()
    """Providers whose own count, the whole prompt, it passes on."""


def _us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * values.MICROS


CLINE = Dialect(
    whole_prompt_providers=frozenset(
        ("openai", "litellm", "doubao", "fireworks", "hicap", "lmstudio", "qwen", "xai", "zai")
    )
)
ROO = Dialect(whole_prompt_since_us=_us("2025-11-01"))
"""Release 3.29.5."""
KILO = Dialect(whole_prompt_since_us=_us("2025-11-12"))
"""Release 4.119.0."""


class TaskFile:
    """Reads one task; its requests are known by the task and their time, which a rewriting keeps."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink, dialect: Dialect) -> None:
        self._file, self._sink, self._dialect = file, sink, dialect
        self._memory = Memory.of(carry)
        self._folder = os.path.dirname(file.path)
        self._task = values.text(os.path.basename(self._folder)) or "unknown"

    def carry(self) -> bytes:
        """The rows seen so far."""
        return self._memory.encode()

    def read(self, data: bytes) -> None:
        """Adds the requests that are new or were rewritten."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        whole, flags = loaded
        if not whole.raw.startswith(b"["):
            self._sink.skipped["unknown_layout"] += 1
            return
        found: list[tuple[documents.Part, Row, Row]] = []
        for part in whole.elements():
            if any(marker in part.raw for marker in _MARKERS):
                found += self._usage_of(part)
            elif b'"type"' not in part.raw:
                self._sink.skipped["unknown_layout"] += 1
        times = [values.time_us(row.get("ts")) for _, row, _ in found]
        beside = TaskFiles(self._folder, [one for one in times if one is not None])
        seen: set[str] = set()
        for (part, row, usage), time in zip(found, times, strict=True):
            key = self._key(part, row, time, seen)
            self._add(part, row, usage, time, key, beside, list(flags))

    def _usage_of(self, part: documents.Part) -> list[tuple[documents.Part, Row, Row]]:
        """The row and the usage in its text, which is JSON in a string; nothing where it tells of no usage."""
        row = part.value
        if not isinstance(row, dict) or row.get("type", "say") != "say":
            return []
        kind = row.get("say")
        if kind == "deleted_api_reqs":
            # sums of requests taken back by a checkpoint: those that were read before are booked one by one
            self._sink.skipped["deleted_requests"] += 1
            return []
        if kind not in _USAGE_ROWS:
            return []
        text = row.get("text")
        try:
            told = msgspec.json.decode(text) if isinstance(text, str) and text else None
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            told = documents.Part(text.encode("utf-8", "replace")).value if isinstance(text, str) else None
            if told is None:
                self._sink.quarantine(part.raw, 0, "invalid_json")
                return []
        usage = usage_of(told, self._sink)
        if usage is None:
            return []
        if all(usage.get(name) is None for name in _COUNTS[:4]):
            self._sink.skipped["usage_null"] += 1  # still running, or it failed before anything was counted
            return []
        return [(part, row, usage)]

    def _key(self, part: documents.Part, row: Row, time: int | None, seen: set[str]) -> str:
        moment = f"@{time}" if time is not None else part.pointer.replace("/", "#")
        kind = "" if row.get("say") == _USAGE_ROWS[0] else ":subagents"
        key, again = f"{self._task}{moment}{kind}", 1
        while key in seen:
            again += 1
            key = f"{self._task}{moment}{kind}:{again}"
        seen.add(key)
        return key

    def _add(
        self,
        part: documents.Part,
        row: Row,
        usage: Row,
        time: int | None,
        key: str,
        beside: TaskFiles,
        flags: list[str],
    ) -> None:
        model, provider = _model(row)
        if model is None:
            told, by = beside.model_at(time)
            model, provider = told, provider or by
        counters = self._counters(usage, row, provider, time, flags)
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if model is None:
            flags.append("model_missing")
        evidence = part.evidence
        # a row that moved to another place, or whose model is known by now, is told anew
        if not self._memory.is_news(key, f"{part.pointer} {model} {provider} {evidence.sha256}"):
            return
        numbers = {name: usage[name] for name in _COUNTS if name in usage}
        failed = usage.get("cancelReason") is not None or usage.get("streamingFailedMessage") is not None
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=stamped(self._file, self._sink, flags, time),
                session_id=self._task,
                model_raw=model,
                counters=counters,
                message_id=key,
                parent_session_id=beside.parent,
                cwd=beside.folder,
                reported_cost_nano=values.cost_nano(usage.get("cost")),
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(numbers),
                # Cline's `openai` is any server that speaks its protocol
                upstream=None if provider == "openai" else provider,
                status="error" if failed else "ok",
            )
        )

    def _counters(self, usage: Row, row: Row, provider: str | None, time: int | None, flags: list[str]) -> Counters:
        told, output, write, read = (values.count(usage.get(name), flags.append) for name in _COUNTS[:4])
        fresh = told
        if 0 < write + read <= told and self._is_whole_prompt(usage, row, provider, time):
            fresh = told - write - read
            flags.append("cache_inside_input")
        return Counters(input_tokens=fresh, output_tokens=output, cache_write_tokens=write, cache_read_tokens=read)

    def _is_whole_prompt(self, usage: Row, row: Row, provider: str | None, time: int | None) -> bool:
        protocol = usage.get("apiProtocol") or row.get("apiProtocol")
        since = self._dialect.whole_prompt_since_us
        if protocol == "openai" or provider in self._dialect.whole_prompt_providers:
            return True
        return protocol == "anthropic" and since is not None and time is not None and time >= since


def _model(row: Row) -> tuple[str | None, str | None]:
    info = row.get("modelInfo")
    if not isinstance(info, dict):
        return None, None
    return model_name(info.get("modelId")), values.upstream(info.get("providerId"))
