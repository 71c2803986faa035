"""Qwen Code: one journal of rows a session; usage stands on the assistant's rows in the words of the Gemini API.

Here: how a row becomes a usage record, and which rows are one request.  Not here: the counters' meaning
(``clients.gemini_usage``), the documents of the first builds (``clients.gemini_cli``), reading bytes, prices.  Facts
and sources: ``docs/clients/qwen-code.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tokenledger_dagster.clients import gemini_usage, link_names, row_values, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import BookingFacts, Claim, Copy, DocumentReader, Reader, Shape, Sink, SourceFile
from tokenledger_dagster.clients.copies import content_claims
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.gemini_cli import GeminiDocumentReader
from tokenledger_dagster.clients.row_values import unheard
from tokenledger_dagster.clients.rows import Row, RowReader, member
from tokenledger_dagster.contracts.record import UsageRecord

_USAGE = (
    "promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount",
    "toolUsePromptTokenCount", "totalTokenCount",
)  # fmt: skip
_HEAD = 512


class _Response(msgspec.Struct):
    """The answer that the row before told of: the assistant's row that follows it does not."""

    id: str | None = None
    latency_ms: int | None = None
    prompt: int = 0
    output: int = 0


class QwenReader(RowReader):
    """Reads the rows of one session's journal."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, sink)
        self._response = msgspec.msgpack.decode(carry, type=_Response | None) if carry else None

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Prompts and tool results: no row of theirs, nor one glued behind, names usage."""
        head = min(end, start + _HEAD)
        return (
            (
                buffer.find(b'"type":"user"', start, head) != -1
                or buffer.find(b'"type":"tool_result"', start, head) != -1
            )
            and buffer.startswith(b"{", start)
            and buffer.find(b'"assistant"', start, end) == -1
            and buffer.find(b'"usageMetadata"', start, end) == -1
            and buffer.endswith(b"}", start, end)
        )

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Adds the usage of an assistant's row; remembers what the row before it told."""
        kind = row.get("type")
        if kind == "assistant":
            self._answer(row, evidence, flags)
        elif kind == "system":
            self._response = _response_of(row) or self._response

    def carry(self) -> bytes:
        """The last answer told of."""
        return msgspec.msgpack.encode(self._response)

    def _answer(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        usage = row_values.usage_of(row.get("usageMetadata"), self.sink)
        if usage is None:
            return
        counters = gemini_usage.counters_of(usage, _USAGE, flags.append)
        if not counters.total:
            self.sink.skipped["zero_usage"] += 1
            return
        model = values.text(row.get("model"))
        if model is None:
            flags.append("model_missing")
        session = values.text(row.get("sessionId"))
        if session is None:
            session = row_values.name_of(self.file)
            flags.append("session_from_file")
        found = values.text(row.get("uuid"))
        response = self._told_before(usage)
        self.sink.records.append(
            UsageRecord(
                **evidence.placed(self.sink),
                timestamp_us=row_values.dated(self.file, self.sink, flags, row.get("timestamp")),
                session_id=session,
                model_raw=model,
                counters=counters,
                message_id=found,
                request_id=response.id,
                by_content=found is None,
                is_sidechain=row.get("isSidechain") is True,
                agent_id=values.text(row.get("agentId")),
                cwd=values.text(row.get("cwd")),
                git_branch=values.text(row.get("gitBranch")),
                client_version=values.text(row.get("version")),
                latency_ms=response.latency_ms,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=row_values.kept_usage(usage),
            )
        )

    def _told_before(self, usage: Row) -> _Response:
        """The answer of the row before, if it counts what this row counts; each is used once."""
        found, self._response = self._response, None
        told = [values.count(usage.get(name), unheard) for name in _USAGE[:2]]
        return found if found is not None and [found.prompt, found.output] == told else _Response()


class QwenCode(Adapter):
    """The Qwen Code adapter."""

    name = "qwen-code"

    def shape(self, path: str) -> Shape:
        """Documents by their name; whatever else is added by hand is read line by line."""
        return "document" if super().shape(path) == "document" else "lines"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader:
        """A reader of the file's shape; the first builds kept the documents of the Gemini CLI they came from."""
        if file.shape == "document":
            return GeminiDocumentReader(self.name, file, carry, sink)
        return QwenReader(file, carry, sink)

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(uuid, model, counters) is a request.

        A resumed session repeats rows, uuid and all; but a uuid may also be given to another request, which its
        counters tell.
        """
        claims = content_claims(self.name, [copy for copy in copies if copy.by_content])
        found: dict[tuple[str, str | None, tuple[int, ...]], list[Copy]] = defaultdict(list)
        for copy in copies:
            if not copy.by_content:
                found[copy.message_id or "", copy.model_raw, copy.counters].append(copy)
        reused = {name for name, *_ in found if sum(one[0] == name for one in found) > 1}
        for (name, model, counters), same in found.items():
            flags = ("id_reused",) if name in reused else ()
            claims.append(Claim((self.name, name, model, *counters), same, flags=flags))
        return claims

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """Telemetry knows a request by its counters."""
        sent = super().links(copy, session)
        return (*sent, link_names.request(self.name, session, copy.model_raw, copy.counters))


def _response_of(row: Row) -> _Response | None:
    event = member(row, "systemPayload", "uiEvent")
    name = values.text(member(event, "event.name")) or ""
    if not isinstance(event, dict) or not name.endswith(".api_response"):
        return None
    took = event.get("duration_ms")
    return _Response(
        id=values.text(event.get("response_id")),
        latency_ms=values.count(took, unheard) if took is not None else None,
        prompt=values.count(event.get("input_token_count"), unheard),
        output=values.count(event.get("output_token_count"), unheard),
    )
