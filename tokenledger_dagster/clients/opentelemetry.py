"""OpenTelemetry: spans and log records of agents, as the Collector's file exporter or an SDK writes them.

Here: reading files, and from an element to a usage record.  Not here: shapes (``clients.otel_elements``), which
elements are requests (``clients.otel_requests``), counters (``clients.otel_counters``).  Facts and sources:
``docs/clients/opentelemetry.md``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from tokenledger_dagster.clients import documents, lines, otel_requests, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import BookingFacts, Claim, Copy, Shape, Sink, SourceFile
from tokenledger_dagster.clients.copilot_usage import model_of
from tokenledger_dagster.clients.documents import Part
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.otel_counters import counters_of
from tokenledger_dagster.clients.otel_elements import Element, elements, is_telemetry
from tokenledger_dagster.clients.packed import opened_as_told
from tokenledger_dagster.clients.row_values import stamped
from tokenledger_dagster.clients.rows import RowReader
from tokenledger_dagster.contracts.record import UsageRecord

_PEEK_BYTES = 64 << 10
_METRICS_WITHIN = 64
"""Bytes at the start of a line in which it calls itself metrics."""
_BILLING = {"chatgpt": "included", "apikey": "api", "api_key": "api", "oauth-personal": "included"}
_JOINED = ("claude-code", "codex", "gemini-cli", "qwen-code")
"""Clients whose own logs show single requests; those of Copilot bear links of their own."""
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Requests:
    """Turns elements into records of one file."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self._file = file
        self._sink = sink

    def take(self, element: Element, evidence: Evidence, flags: list[str], *, is_known: bool = False) -> None:
        """Adds the element's record, if it tells of a request that is not known yet; else says why not."""
        if element.kind == "metric":
            self._sink.skipped["otel_metric"] += 1
            return
        told = otel_requests.told_by(element)
        if told is None:
            return
        counted = counters_of(element.attributes, told.convention, flags.append)
        if counted is None:
            self._sink.skipped["usage_null"] += 1
            return
        counters, raw = counted
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if is_known:
            return
        named, trace = otel_requests.session_of(element), element.context[0]
        if named is None:
            flags.append("session_from_file" if trace is None else "session_from_trace")
        session = named or (self._file.stem if trace is None else f"trace:{trace}")
        time = element.time_us()
        identity = otel_requests.identity_of(element, told, named, time, counters)
        links = tuple(otel_requests.links_of(element, told, named, time, identity, counters))
        model = otel_requests.model_of(element)
        if told.client == "copilot-cli":
            model = model_of(model)
        if model is None:
            flags.append("model_missing")
        speed = values.word(element.text("speed"))
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=stamped(self._file, self._sink, flags, time),
                session_id=session,
                model_raw=model,
                counters=counters,
                message_id=identity.message_id,
                request_id=identity.request_id,
                by_content=identity.by_content,
                agent_id=element.text("gen_ai.agent.id"),
                client_version=element.text("app.version") or values.text(element.resource.get("service.version")),
                service_tier=values.word(element.text("gen_ai.openai.response.service_tier")),
                speed="standard" if speed == "normal" else speed,
                reported_cost_nano=_cost(element),
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=raw,
                upstream=told.upstream,
                source_rank=told.rank,
                links=links,
                joins=told.client if named is not None and told.client in _JOINED else None,
                latency_ms=_latency(element),
                ttft_ms=_milliseconds(element, "ttft_ms"),
                status=_status(element),
                account_hash=otel_requests.account_of(element),
                billing_kind=_BILLING.get((element.text("auth_mode", "auth_type") or "").lower()),
            )
        )


class OtelLines(RowReader):
    """Reads a file of one JSON object a line, down to the bytes of its elements."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        super().__init__(file, sink)
        self._requests = Requests(file, sink)

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """A whole object in which no name of a counter stands, and that is no metric."""
        return (
            buffer.find(b"oken", start, end) == -1
            and buffer.startswith(b'{"', start)
            and buffer.endswith((b"}", b"}\r"), start, end)
            and buffer.find(b"etric", start, min(end, start + _METRICS_WITHIN)) == -1
        )

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Adds the requests of one line to the sink."""
        try:
            _decode.decode(line)
            if not line.isascii():
                line.decode("utf-8")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            for found, piece, at, flags in lines.objects(line, offset, self.sink):
                mended = json.dumps(found).encode("utf-8", "replace") if flags else piece
                self._take(Part(mended), piece, at, flags)
            return
        self._take(Part(line), line, offset, [])

    def _take(self, part: Part, line: bytes, offset: int, flags: list[str]) -> None:
        after, element, whole = 0, None, None
        for element in elements(part):
            at = line.find(element.part.raw, after)
            if at < 0:  # mended or written anew: the line is the evidence
                evidence = whole = whole or Evidence.of(line, offset)
            else:
                evidence = Evidence.of(element.part.raw, offset + at)
                after = at + len(element.part.raw)
            self._requests.take(element, evidence, [*flags])
        if element is None and not is_telemetry(part):
            self.sink.skipped["not_telemetry"] += 1


class OtelDocument:
    """Reads a pretty-printed export, or several one behind another, at each change as a whole."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._requests = Requests(file, sink)
        self._sink = sink
        self._memory = Memory.of(carry)

    def read(self, data: bytes) -> None:
        """Adds the requests that no earlier reading has seen."""
        found = documents.load(data, self._sink, several=True)
        if found is None:
            return
        part, flags = found
        equal: Counter[str] = Counter()
        if not is_telemetry(part):
            self._sink.skipped["not_telemetry"] += 1
        for element in elements(part):
            evidence = element.part.evidence
            equal[evidence.sha256] += 1
            is_new = self._memory.is_news(f"{evidence.sha256}:{equal[evidence.sha256]}", b"")
            self._requests.take(element, evidence, [*flags], is_known=not is_new)

    def carry(self) -> bytes:
        """What has been seen."""
        return self._memory.encode()


class OpenTelemetry(Adapter):
    """The OpenTelemetry adapter."""

    name = "opentelemetry"

    def shape(self, path: str) -> Shape:
        """Lines, unless the first line only opens an object: exporters call both ``*.json``."""
        try:
            with opened_as_told(path) as (handle, _):
                head = handle.read(_PEEK_BYTES)
        except (OSError, EOFError, ValueError):
            return "lines"  # whoever reads it says why it cannot be read
        first, newline, rest = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
        opens = bool(newline) and first.rstrip().endswith((b"{", b"[", b",", b":"))
        return "document" if opens or (first.startswith(b"[") and not rest.strip()) else "lines"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> OtelLines | OtelDocument:
        """A reader of the file's shape."""
        return OtelDocument(file, carry, sink) if file.shape == "document" else OtelLines(file, sink)

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """One request an id; its session is told by the best witness that names one."""
        claims = super().claims(copies, facts)
        for claim in claims:
            ranked = sorted(claim.copies, key=lambda copy: copy.source_rank)
            names = [(copy.source_rank, facts.row_owner(copy)[0]) for copy in ranked]
            named = [(rank, name) for rank, name in names if not name.startswith("trace:")] or names
            claim.owners = sorted({name for rank, name in named if rank == named[0][0]})
        return claims


def _cost(element: Element) -> int | None:
    for name in ("cost_usd", "gen_ai.usage.cost"):
        value = element.attributes.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if value is not None:
            return values.cost_nano(value)
    return None


def _latency(element: Element) -> int | None:
    told = _milliseconds(element, "duration_ms")
    span = element.span_us() if told is None and element.kind == "span" else None
    return span // 1000 if span is not None else told


def _milliseconds(element: Element, name: str) -> int | None:
    odd: list[str] = []
    value = element.attributes.get(name)
    found = values.count(round(value) if isinstance(value, float) and abs(value) < 1e12 else value, odd.append)
    return found if value is not None and not odd else None


def _status(element: Element) -> str:
    status = element.fields.get("status")
    code = status.get("code") if isinstance(status, dict) else None
    http = element.text("status_code", "http.response.status_code") or ""
    failed = (
        element.text("error.type") or code in (2, "STATUS_CODE_ERROR", "ERROR") or (len(http) == 3 and http >= "400")
    )
    return "error" if failed else "ok"
