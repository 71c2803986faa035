"""Loose JSON below ``~/.cursor``: the last resort where neither an export nor the chats tell of a time.

Here: records with a model and token counts in JSON documents and JSON lines of any layout, told by their own fields.
Not here: the better sources, before which these give way hour by hour.  Every record bears ``cursor_json_fallback``,
and a reading that found any says how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tokenledger_dagster.clients import cursor_hours, documents, values
from tokenledger_dagster.clients.base import Lineage, Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import kept_usage, name_of, stamped
from tokenledger_dagster.clients.rows import Row, RowReader
from tokenledger_dagster.contracts.record import Counters, UsageRecord

_INPUT = ("input_tokens", "inputTokens", "prompt_tokens", "promptTokens")
_OUTPUT = ("output_tokens", "outputTokens", "completion_tokens", "completionTokens")
_WRITE = ("cache_creation_input_tokens", "cacheWriteTokens")
_READ = ("cache_read_input_tokens", "cacheReadTokens")
_CACHED = ("cached_tokens", "cachedTokens", "cached_input_tokens")
"""Unlike the two above, a part of the input."""
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_ALL = {*_INPUT, *_OUTPUT, *_WRITE, *_READ, *_CACHED, *_DETAILS}
_MODEL = ("model", "modelName", "model_name")
_TIME = ("timestamp", "createdAt", "created_at", "created", "time", "date")
_ID = ("id", "requestId", "request_id", "messageId", "message_id")
_SESSION = ("sessionId", "session_id", "conversationId", "conversation_id", "composerId")
_DEPTH = 12


class _Records:
    """What both readers share: telling a record, and what it becomes."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._told = False

    def usage(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The token counts of a record that also names a model; None where this is no such record."""
        if values.text(_first(row, _MODEL)) is None:
            return None
        usage = row.get("usage")
        found = usage if isinstance(usage, Mapping) else row
        return found if any(name in found for name in _INPUT + _OUTPUT) else None

    def record(
        self, row: Mapping[str, Any], usage: Mapping[str, Any], evidence: Evidence, flags: list[str]
    ) -> UsageRecord | None:
        """The record of a row, or None where it counts nothing."""
        counters = _counters(usage, flags)
        if counters.total == 0:
            self._sink.skipped["zero_usage"] += 1
            return None
        flags.append("cursor_json_fallback")
        times = (values.time_us(row.get(name)) for name in _TIME)
        time = stamped(self._file, self._sink, flags, next((one for one in times if one is not None), None))
        hour = cursor_hours.hour_of(time)
        identity = values.text(_first(row, _ID))
        session = values.text(_first(row, _SESSION))
        if session is None:
            session = name_of(self._file)
            flags.append("session_from_file")
        return UsageRecord(
            **evidence.placed(self._sink),
            timestamp_us=time,
            session_id=session,
            model_raw=values.text(_first(row, _MODEL)),
            counters=counters,
            message_id=identity,
            by_content=identity is None,
            cwd=values.text(row.get("cwd")),
            flags=tuple(dict.fromkeys(flags)),
            raw_usage=_shown(usage),
            source_rank=2,
            links=cursor_hours.names(cursor_hours.EXPORT, [hour]) + cursor_hours.names(cursor_hours.STATE, [hour]),
        )

    def add(self, record: UsageRecord) -> None:
        """Takes a record in, and says so to a person."""
        self._sink.records.append(record)
        text = (
            f"{len(self._sink.records):,} records of loose JSON were read as a last resort; they count only in hours "
            "that no usage export and no chat with token counts covers"
        )
        if self._told:
            self._sink.problems[-1] = text
        else:
            self._sink.problems.append(text)
        self._told = True


class LooseDocument:
    """Reads one JSON document."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._records = _Records(file, sink)
        self._sink = sink
        self._memory = Memory.of(carry)
        self._equal: Counter[str] = Counter()

    def carry(self) -> bytes:
        """Records seen so far."""
        return self._memory.encode()

    def read(self, data: bytes) -> None:
        """Adds the records that earlier readings did not show."""
        if b"okens" not in data:
            return  # most files here are settings
        found = documents.load(data, self._sink)
        if found is None:
            return
        part, flags = found
        for one, row, usage in self._found(part, 0):
            record = self._records.record(row, usage, one.evidence, list(flags))
            if record is None:
                continue
            name = record.message_id or self._by_content(record.record_sha256)
            key = name if record.by_content else f"{one.pointer} {name}"
            if self._memory.is_news(key, one.raw):
                self._records.add(msgspec.structs.replace(record, message_id=name, by_content=False))

    def _found(
        self, part: documents.Part, depth: int
    ) -> Iterator[tuple[documents.Part, Mapping[str, Any], Mapping[str, Any]]]:
        """Every record of a document with its token counts, but none inside another."""
        if depth > _DEPTH or b"okens" not in part.raw:
            return
        value = part.value
        usage = self._records.usage(value) if isinstance(value, Mapping) else None
        if usage is not None:
            yield part, value, usage
            return
        for one in part.members().values() if isinstance(value, Mapping) else part.elements():
            yield from self._found(one, depth + 1)

    def _by_content(self, sha256: str) -> str:
        """The n-th equal record of a document is the n-th everywhere, however often it is read."""
        place = self._equal[sha256]
        self._equal[sha256] += 1
        return f"{sha256[:32]}-{place}"


class LooseLines(RowReader):
    """Reads JSON lines."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        super().__init__(file, sink)
        self._records = _Records(file, sink)

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Lines without any token count, as nearly all here are."""
        return buffer.find(b"okens", start, end) < 0

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Adds a row that is a record."""
        usage = self._records.usage(row)
        if usage is not None and (record := self._records.record(row, usage, evidence, flags)) is not None:
            self._records.add(record)


class Nothing:
    """Reads nothing of a file that is none of Cursor's."""

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """No line is looked at."""
        return True

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Never called."""

    def read(self, data: bytes) -> None:
        """Leaves a document alone."""

    def carry(self) -> bytes:
        """Nothing to remember."""
        return b""

    def lineage(self) -> Lineage | None:
        """No session."""
        return None


def _counters(usage: Mapping[str, Any], flags: list[str]) -> Counters:
    total = values.count(_first(usage, _INPUT), flags.append)
    details: Mapping[str, Any] = next((usage[name] for name in _DETAILS if isinstance(usage.get(name), Mapping)), {})
    inside = values.count(_first(usage, _CACHED) or _first(details, _CACHED), flags.append)
    if inside > total:
        inside = total
        flags.append("cache_above_input")
    return Counters(
        input_tokens=total - inside,
        output_tokens=values.count(_first(usage, _OUTPUT), flags.append),
        cache_write_tokens=values.count(_first(usage, _WRITE), flags.append),
        cache_read_tokens=inside + values.count(_first(usage, _READ), flags.append),
    )


def _shown(usage: Mapping[str, Any]) -> str | None:
    """The counts alone: a record without ``usage`` may hold anything beside them."""
    counts = {name: value for name, value in usage.items() if name in _ALL}
    return kept_usage(counts)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
