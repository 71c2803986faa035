"""CLIProxyAPI: usage exports of version 6, queue records of version 7, and what `tokenledger proxy land` landed.

Here: telling these layouts by their content, and turning a record into a usage record with its identity.  Not here:
what its counts mean (``clients.cliproxyapi_counters``), polling a proxy (``landing``).  Keys, accounts and addresses
in a record are never stored: identities are digests.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import (
    BookingFacts,
    Claim,
    Copy,
    DocumentReader,
    Reader,
    Sink,
    SourceFile,
)
from tokenledger_dagster.clients.cliproxyapi_counters import counters_of, raw_counts
from tokenledger_dagster.clients.documents import Part
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated, kept_usage, why_none
from tokenledger_dagster.clients.rows import Row, RowReader, object_of
from tokenledger_dagster.clients.veil import digest, veiled
from tokenledger_dagster.contracts.record import UsageRecord

SESSION = "cliproxyapi"
"""Records name no session: everything a proxy served is one."""
LANDED_VERSION = 1
_CONTROL = {"support_refresh", "refresh"}
_USAGE = ("tokens", "token_breakdown")
_FRACTION = re.compile(r"[.,](\d+)")
_REDACTED = {"[redacted]", "redacted", "***"}
_decode = msgspec.json.Decoder(list[Any]).decode


class Owner(NamedTuple):
    """What stands around a version 6 detail: the key or endpoint and the model it is filed under."""

    api: str | None = None
    model: str | None = None


def is_control(record: Mapping[str, Any]) -> bool:
    """Whether this is one of the proxy's messages to its readers, which carries no usage."""
    return bool(record) and record.keys() <= _CONTROL and all(isinstance(one, bool) for one in record.values())


def is_usage(record: Mapping[str, Any]) -> bool:
    """Whether this tells of a request: it has counts, or says that it has none."""
    return any(name in record for name in _USAGE)


def identity_of(record: Mapping[str, Any], owner: Owner) -> str:
    """What tells a record without request id from all others, as a digest.

    It is what the proxy itself compares when it imports an export: API, model, time in ns, source, auth index, failure
    and five counts; with the provider, where the record names one.
    """
    raw = raw_counts(object_of(record.get("tokens")), [])
    material = [
        _lower(record.get("provider")),
        veiled(_text(owner.api if owner.api is not None else record.get("api_key"))),
        _text(owner.model if owner.model is not None else record.get("model")),
        _nanoseconds(record.get("timestamp")),
        veiled(_text(record.get("source"))),
        veiled("" if record.get("auth_index") is None else str(record["auth_index"])),
        record.get("failed") is True,
        [raw.input, raw.output, raw.reasoning, raw.cached, raw.stated],
    ]
    return digest(json.dumps(material, separators=(",", ":")))


class _Records:
    """Turns records into usage records; shared by the readers of lines and of documents."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self._file = file
        self._sink = sink

    def take(
        self, record: object, owner: Owner, evidence: Evidence, mended: list[str], *, is_known: bool = False
    ) -> None:
        """Adds the usage record of one request, if it is not known yet; else says why not."""
        if not isinstance(record, dict):
            self._sink.skipped["not_an_object"] += 1
        elif is_control(record):
            self._sink.skipped["control_message"] += 1
        elif not is_usage(record):
            self._sink.skipped["unknown_record"] += 1
        elif not any(isinstance(record.get(name), dict) and record[name] for name in _USAGE):
            self._sink.skipped[why_none(*(record.get(name) for name in _USAGE))] += 1
        else:
            self._request(record, owner, evidence, list(mended), is_known=is_known)

    def _request(self, record: Row, owner: Owner, evidence: Evidence, flags: list[str], *, is_known: bool) -> None:
        provider = _lower(record.get("provider"))
        model = values.text(owner.model if owner.model is not None else record.get("model"))
        if model is None or model == "unknown":
            model = None
            flags.append("model_missing")
        counters = counters_of(record, provider, model, flags)
        if counters.total == 0:
            self._sink.skipped["zero_usage"] += 1
            return
        if is_known:
            return
        request = values.text(record.get("request_id"), 256)
        told = {name: record[name] for name in _USAGE if isinstance(record.get(name), dict)}
        failed = record.get("failed")
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=dated(self._file, self._sink, flags, record.get("timestamp")),
                session_id=SESSION,
                model_raw=model,
                counters=counters,
                message_id=None if request else identity_of(record, owner),
                request_id=request,
                service_tier=_tier(record),
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(told),
                upstream=provider,
                latency_ms=_milliseconds(record.get("latency_ms")),
                ttft_ms=_milliseconds(record.get("ttft_ms")),
                status=("error" if failed else "ok") if isinstance(failed, bool) else None,
                account_hash=_account(record.get("source")),
                billing_kind="api" if record.get("auth_type") in ("apikey", "api_key", "api-key") else None,
            )
        )


class RecordLines(RowReader):
    """Reads JSON Lines: queue records, answers of the queue (arrays of them, one a line), and landed lines."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        super().__init__(file, sink)
        self._records = _Records(file, sink)

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """One record, or an answer of the queue, whose records share the line."""
        try:
            value = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            super().feed(line, offset, end)
            return
        evidence = Evidence.of(line, offset)
        for one in value:
            self._take(one, evidence, [])

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """One record."""
        self._take(row, evidence, flags)

    def _take(self, value: object, evidence: Evidence, flags: list[str]) -> None:
        owner, record = unwrapped(value)
        self._records.take(record, owner, evidence, flags)


def unwrapped(value: object) -> tuple[Owner, object]:
    """The record inside a landed line, and what it was filed under; any other value as it is."""
    if isinstance(value, dict) and value.get("feeder") == "cliproxyapi" and "record" in value:
        if value.get("schema_version") != LANDED_VERSION:
            return Owner(), {}
        if value.get("kind") == "detail":
            return Owner(_text(value.get("api")), values.text(value.get("model")) or ""), value["record"]
        return Owner(), value["record"]
    return Owner(), value


class WholeReader:
    """Reads documents: an export or the management usage of version 6, or an array of queue records."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._records = _Records(file, sink)
        self._sink = sink
        self._memory = Memory.of(carry)
        self._seen: Counter[str] = Counter()

    def read(self, data: bytes) -> None:
        """Adds the requests that no earlier reading of the file had."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        document, flags = loaded
        for part, owner in self._parts(document):
            record = part.value
            is_known = False
            if isinstance(record, dict) and is_usage(record):
                # a document may say the same twice; both stand as records, and booking says that they are one request
                name = values.text(record.get("request_id")) or identity_of(record, owner)
                self._seen[name] += 1
                is_known = not self._memory.is_news(f"{name}#{self._seen[name]}", part.raw)
            self._records.take(record, owner, part.evidence, flags, is_known=is_known)

    def _parts(self, document: Part) -> Iterator[tuple[Part, Owner]]:
        if document.raw[:1] == b"[":
            for one in document.elements():
                yield one, Owner()
            return
        apis = next((found for path in _APIS if (found := document.get(*path)) is not None), None)
        if apis is not None:
            yield from self._details(apis)
        elif is_usage(document.members()):
            yield document, Owner()
        else:
            self._sink.skipped["unknown_layout"] += 1

    def _details(self, apis: Part) -> Iterator[tuple[Part, Owner]]:
        for api, filed in apis.members().items():
            # the name may be a key: the pointer holds what stands for it
            models = Part(filed.raw, f"{apis.pointer}/{documents.veiled_step(api)}").get("models")
            for model, kept in models.members().items() if models is not None else ():
                details = kept.get("details")
                found = list(details.elements()) if details is not None else []
                for one in found:
                    yield one, Owner(api, model)
                self._tell_missing(kept.get("total_requests"), len(found))

    def _tell_missing(self, total: Part | None, details: int) -> None:
        """Some builds keep the latest details of a model only; totals alone cannot be booked."""
        stated = values.count(total.value, lambda _: None) if total is not None else 0
        if stated > details:
            self._sink.skipped["details_missing"] += stated - details

    def carry(self) -> bytes:
        """The records seen so far."""
        return self._memory.encode()


_APIS = (("usage", "apis"), ("apis",))


class CLIProxyAPI(Adapter):
    """The CLIProxyAPI adapter."""

    name = "cliproxyapi"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader:
        """Documents end in ``.json``; everything else is read by line."""
        return WholeReader(file, carry, sink) if file.shape == "document" else RecordLines(file, sink)

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """One request a digest; of a request id one for each time and model.

        The proxy's ids have 32 bits, so they come again; all turns of a websocket share one; so do the tries on several
        accounts, and an image model beside the one that called it.  What is told twice is alike in time and model.
        """
        claims = super().claims([copy for copy in copies if copy.request_id is None], facts)
        by_request: dict[tuple[str, int, str], list[Copy]] = {}
        for copy in copies:
            if copy.request_id is not None:
                time = copy.timestamp_us if copy.timed else 0
                by_request.setdefault((copy.request_id, time, copy.model_raw or ""), []).append(copy)
        first: set[str] = set()
        for (request, time, model), rows in sorted(by_request.items()):
            # the earliest is known by the id alone
            claims.append(Claim((self.name, request, *((time, model) if request in first else ())), rows))
            first.add(request)
        return claims


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _lower(value: object) -> str | None:
    """A provider's name in small letters; None where the record names none."""
    name = (values.text(value, 64) or "").strip().lower()
    return name if name and name != "unknown" else None


def _tier(record: Mapping[str, Any]) -> str | None:
    """The tier that served the request, else the one that was asked for."""
    return values.word(record.get("response_service_tier")) or values.word(record.get("service_tier"))


def _account(source: object) -> str | None:
    """What stands for the account; None where the record hides it already."""
    if not isinstance(source, str) or not source or source.lower() in _REDACTED:
        return None
    return veiled(source)


def _milliseconds(value: object) -> int | None:
    """A duration; 0 is what the proxy writes where it measured none."""
    odd: list[str] = []
    found = values.count(value, odd.append)
    return found if found and not odd else None


def _nanoseconds(value: object) -> str:
    """A time as nanoseconds since 1970, or what is there in its place."""
    if isinstance(value, str) and (moment := values.time_us(value)) is not None:
        fraction = _FRACTION.search(value)
        if fraction is None:
            return f"{moment // values.MICROS}000000000"
        seconds = values.time_us(value.replace(fraction[0], "", 1))
        return f"{(seconds or moment) // values.MICROS}{fraction[1][:9]:0<9}"
    return digest(str(value))
