"""Factory Droid: running sums of a session in its settings file, and the output of ``droid exec``.

Here: the adapter and both readers.  Not here: the transcript beside a settings file (``clients.droid_session``), or how
sums become events (``clients.adapter.SnapshotAdapter``).  Rules: ``docs/clients/droid.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tokenledger_dagster.clients import documents, droid_session, values
from tokenledger_dagster.clients.adapter import SnapshotAdapter, counters_of, looked_at
from tokenledger_dagster.clients.base import DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated, kept_usage, stamped, usage_of
from tokenledger_dagster.clients.rows import Row, RowReader
from tokenledger_dagster.contracts.record import UsageRecord, Vector

SETTINGS = ".settings.json"
EXEC_RANK = 5
"""Saved output of a run gives way to the settings file of its session, which counts the same tokens."""
_NAMES = (
    ("inputTokens", "input_tokens"),
    ("cacheReadTokens", "cache_read_input_tokens"),
    ("cacheCreationTokens", "cache_creation_input_tokens"),
    ("outputTokens", "output_tokens"),
    ("thinkingTokens", "thinking_tokens"),
)


class Droid(SnapshotAdapter):
    """Factory's command line agent."""

    name = "droid"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader:
        """A settings file is a document; everything else is read line by line."""
        return SettingsReader(file, carry, sink) if file.shape == "document" else ExecReader(file, carry, sink)


class SettingsReader:
    """Reads ``<session>.settings.json``: each look that finds larger sums is one observation."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file = file
        self._sink = sink
        self._memory = Memory.of(carry)

    def read(self, data: bytes) -> None:
        """Adds the session's sums, if they were not seen before."""
        found = documents.load(data, self._sink)
        if found is None:
            return
        settings, flags = found
        part = settings.get("tokenUsage")
        usage = usage_of(part.value if part is not None else None, self._sink)
        if part is None or usage is None:
            return
        sums = sums_of(usage, flags)
        if not any(sums):
            self._sink.skipped["zero_usage"] += 1
            return
        session = self._file.relative.rsplit("/", 1)[-1].split(SETTINGS)[0]
        if self._memory.is_news("sums", repr(sums)):
            is_first = self._memory.is_news("session", "")
            self._observe(session, settings.value, part, sums, flags, is_first=is_first)

    def carry(self) -> bytes:
        """The sums last seen."""
        return self._memory.encode()

    def _observe(
        self,
        session: str,
        told: Mapping[str, Any],
        part: documents.Part,
        sums: Vector,
        flags: list[str],
        *,
        is_first: bool,
    ) -> None:
        about = droid_session.beside(self._file.path)
        locked_by = provider_of(told.get("providerLock"))
        model = values.text(told.get("model"), 256) or about.model
        if model is None:
            flags.append("model_missing")
            model = f"{locked_by}-unknown" if locked_by else None
        # the first look cannot tell when its tokens were used: they stand where the session began
        times = (values.time_us(told.get("providerLockTimestamp")), about.started_us) if is_first else ()
        time = stamped(self._file, self._sink, flags, next((time for time in times if time is not None), None))
        evidence = part.evidence
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=time,
                session_id=session,
                model_raw=model,
                counters=counters_of(sums),
                message_id=session,
                cumulative=sums,
                last=looked_at(self._file, self._sink),
                is_sum=True,
                cwd=about.cwd,
                client_version=about.version,
                upstream=locked_by,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=values.safe_usage(part.raw),
                links=(link(session),),
            )
        )


class _ExecState(msgspec.Struct):
    session: str | None = None
    model: str | None = None
    cwd: str | None = None


class ExecReader(RowReader):
    """Reads the output of ``droid exec -o stream-json``; a session's transcript holds no usage and yields nothing."""

    skippable = (b'{"type":"message"', b'{"type":"tool_', b'{"type":"todo_state"', b'{"type":"session_')
    telling = (b'"completion"', b'"system"')

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, sink)
        self._state = msgspec.msgpack.decode(carry, type=_ExecState) if carry else _ExecState()

    def carry(self) -> bytes:
        """What the run said of itself at its beginning."""
        return msgspec.msgpack.encode(self._state)

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Adds the usage a run ends with."""
        state = self._state
        state.session = values.text(row.get("session_id")) or values.text(row.get("sessionId")) or state.session
        if row.get("type") == "system":
            state.model = values.text(row.get("model"), 256) or state.model
            state.cwd = values.text(row.get("cwd")) or state.cwd
        if row.get("type") != "completion":
            return
        usage = usage_of(row.get("usage"), self.sink)
        if usage is None:
            return
        sums = sums_of(usage, flags)
        if not any(sums):
            self.sink.skipped["zero_usage"] += 1
            return
        model = values.text(row.get("model"), 256) or state.model
        session = state.session
        if model is None:
            flags.append("model_missing")
        if session is None:
            flags.append("session_from_file")
            session = self.file.stem
        self.sink.records.append(
            UsageRecord(
                **evidence.placed(self.sink),
                timestamp_us=dated(self.file, self.sink, flags, row.get("timestamp")),
                session_id=session,
                model_raw=model,
                counters=counters_of(sums),
                by_content=True,
                cwd=state.cwd,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(usage),
                source_rank=EXEC_RANK,
                links=(link(session),),
                is_sum=True,
            )
        )


def link(session: str) -> str:
    """Name under which the settings file and a run's output know the same tokens."""
    return f"droid-session:{session}"


def provider_of(value: object) -> str | None:
    """Who serves the session, in small letters."""
    word = values.word(value)
    return word.lower() if word else None


def sums_of(usage: Mapping[str, Any], flags: list[str]) -> Vector:
    """Input, cache read, cache write, output (thinking added: Droid counts it apart), reasoning.

    Where nothing but a total is told, it stands under output and is flagged.
    """
    fresh, read, write, output, thinking = (
        values.count(next((usage[name] for name in names if usage.get(name) is not None), None), flags.append)
        for names in _NAMES
    )
    if any((fresh, read, write, output, thinking)):
        return fresh, read, write, output + thinking, thinking
    total = values.count(usage.get("totalTokens", usage.get("total_tokens")), flags.append)
    if total:
        flags.append("only_total_known")
    return 0, 0, 0, total, 0
