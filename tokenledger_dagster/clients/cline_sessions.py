"""Sessions of Cline's CLI and of its extension since 4.1: ``sessions/<id>/<id>.messages.json``, written anew each time.

Here: how a session's messages become usage records.  Not here: the older task files (``clients.tasks``).
"""

from __future__ import annotations

import os

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import kept_usage, stamped, usage_of
from tokenledger_dagster.clients.rows import Row, object_of
from tokenledger_dagster.clients.task_files import model_name
from tokenledger_dagster.contracts.record import Counters, UsageRecord

_COUNTS = ("inputTokens", "outputTokens", "cacheWriteTokens", "cacheReadTokens", "cost")


class SessionFile:
    """Reads the messages of a session, or of one of its subagents; an answer's ``metrics`` are one request's usage."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)
        folder, name = os.path.split(file.path)
        self._session = values.text(os.path.basename(folder)) or "unknown"
        stem = values.text(name.split(".messages.json", 1)[0])
        self._agent = stem if stem != self._session else None
        self._manifest = f"{folder}/{os.path.basename(folder)}.json"

    def carry(self) -> bytes:
        """The messages seen so far."""
        return self._memory.encode()

    def read(self, data: bytes) -> None:
        """Adds the answers that are new or were rewritten."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        whole, flags = loaded
        messages = whole if whole.raw.startswith(b"[") else whole.get("messages")
        if messages is None:
            self._sink.skipped["unknown_layout"] += 1
            return
        about = self._about()
        for part in messages.elements():
            if b'"metrics"' in part.raw or b'"assistant"' in part.raw:
                self._message(part, about, list(flags))

    def _message(self, part: documents.Part, about: Row, flags: list[str]) -> None:
        message = part.value
        if not isinstance(message, dict) or message.get("role") != "assistant":
            return
        metrics = usage_of(message.get("metrics"), self._sink)
        if metrics is None:
            return
        told, output, write, read = (values.count(metrics.get(name), flags.append) for name in _COUNTS[:4])
        # input is the whole request; a count below its cached part can only be the rest of it
        fresh = told - write - read if told >= write + read else told
        counters = Counters(input_tokens=fresh, output_tokens=output, cache_write_tokens=write, cache_read_tokens=read)
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        named = object_of(message.get("modelInfo"))
        model = model_name(named.get("id")) or model_name(about.get("model"))
        if model is None:
            flags.append("model_missing")
        time = values.time_us(message.get("ts"))
        name = values.text(message.get("id")) or (f"@{time}" if time is not None else part.pointer)
        evidence = part.evidence
        key = f"{self._session}/{self._agent or 'lead'}/{name}"
        if not self._memory.is_news(key, f"{part.pointer} {model} {evidence.sha256}"):
            return
        numbers = {name: metrics[name] for name in _COUNTS if name in metrics}
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=stamped(self._file, self._sink, flags, time),
                session_id=self._session,
                model_raw=model,
                counters=counters,
                message_id=key,
                agent_id=self._agent,
                cwd=values.text(about.get("cwd")),
                reported_cost_nano=values.cost_nano(metrics.get("cost")),
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(numbers),
                upstream=values.upstream(named.get("provider")),
            )
        )

    def _about(self) -> Row:
        """The session's own file, which names its folder and its model."""
        try:
            with open(self._manifest, "rb") as handle:
                about = msgspec.json.decode(handle.read(1 << 20))
        except (OSError, ValueError, RecursionError):
            return {}
        return object_of(about)
