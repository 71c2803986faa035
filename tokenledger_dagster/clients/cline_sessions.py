"""Sessions of Cline's CLI and of its extension since 4.1: ``sessions/<id>/<id>.messages.json``, written anew each time.

Here: how a session's messages become usage records.  Not here: the older task files (``clients.tasks``).
"""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
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

    def _message(self, part: documents.Part, about: dict[str, Any], flags: list[str]) -> None:
        message = part.value
        if not isinstance(message, dict) or message.get("role") != "assistant":
            return
        metrics = message.get("metrics")
        if not isinstance(metrics, dict):
            self._sink.skipped["usage_null" if metrics is None else "usage_not_an_object"] += 1
            return
        told, output, write, read = (values.count(metrics.get(name), flags.append) for name in _COUNTS[:4])
        # input is the whole request; a count below its cached part can only be the rest of it
        fresh = told - write - read if told >= write + read else told
        counters = Counters(input_tokens=fresh, output_tokens=output, cache_write_tokens=write, cache_read_tokens=read)
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        info = message.get("modelInfo")
        named = info if isinstance(info, dict) else {}
        model = model_name(named.get("id")) or model_name(about.get("model"))
        if model is None:
            flags.append("model_missing")
        time = values.time_us(message.get("ts"))
        name = values.text(message.get("id")) or (f"@{time}" if time is not None else part.pointer)
        if time is None:
            time = self._file.mtime_ns // 1000
            flags.append("timestamp_from_file")
        values.flag_odd_time(time, self._sink.now_us, flags.append)
        key = f"{self._session}/{self._agent or 'lead'}/{name}"
        if not self._memory.is_news(key, f"{part.pointer} {model} {part.sha256}"):
            return
        numbers = {name: metrics[name] for name in _COUNTS if name in metrics}
        self._sink.records.append(
            UsageRecord(
                ordinal=self._sink.ordinal,
                byte_offset=0,
                byte_length=len(part.raw),
                record_sha256=part.sha256,
                timestamp_us=time,
                session_id=self._session,
                model_raw=model,
                counters=counters,
                message_id=key,
                agent_id=self._agent,
                cwd=values.text(about.get("cwd")),
                reported_cost_nano=values.cost_nano(metrics.get("cost")),
                flags=tuple(flags),
                raw_usage=values.safe_usage(json.dumps(numbers).encode("utf-8", "replace")),
                upstream=values.upstream(named.get("provider")),
                locator=part.pointer,
            )
        )

    def _about(self) -> dict[str, Any]:
        """The session's own file, which names its folder and its model."""
        try:
            with open(self._manifest, "rb") as handle:
                about = msgspec.json.decode(handle.read(1 << 20))
        except (OSError, ValueError, RecursionError):
            return {}
        return about if isinstance(about, dict) else {}
