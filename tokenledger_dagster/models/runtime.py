"""How requests through CLIProxyAPI went: latency, time to first token and failures, by provider and model.

Here: records of the proxy's files (queue records, exports, landed lines), each counted once, and what they sum to. Not
here: what a record's tokens mean (`clients.cliproxyapi_counters`), booking. A failed request without tokens is no
event of the ledger, but it is a request here. Percentiles are nearest-rank ones of answered requests: whole
milliseconds that were measured.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.cliproxyapi import Owner, identity_of, is_control, is_usage, unwrapped
from tokenledger_dagster.clients.packed import opened_as_told
from tokenledger_dagster.contracts.ledger import RuntimeMetric
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.landing.cliproxyapi import details_of
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.overrides import Overrides
from tokenledger_dagster.pricing.context import provider_for

CLIENT = "cliproxyapi"
MOST_DOCUMENT_BYTES = 512 << 20
"""Exports are read whole; beyond this something else was named."""
MOST_OF_ANYTHING = 10**12
"""Requests or milliseconds in a table of metrics; beyond this none can be meant."""
_FEWEST = {"provider", "model"}


class SnapshotError(TokenLedgerError):
    """A runtime snapshot cannot be read; the message names the file and the remedy."""


class Outcome(NamedTuple):
    """One request and how it went."""

    key: str
    """Equal for what is told twice."""
    provider: str
    model: str
    latency_ms: int | None
    ttft_ms: int | None
    is_failed: bool


class Snapshot(NamedTuple):
    """What files of a proxy say."""

    metrics: list[RuntimeMetric]
    records: int
    """Requests, each once."""
    skipped: Counter[str]
    """What was no request, by reason."""


def read_snapshot(paths: Sequence[Path], also: Iterable[Outcome] = (), overrides: Overrides | None = None) -> Snapshot:
    """Return metrics of the requests in some files, each request once.

    Args:
        paths: exports, queue records or landed lines, plain or packed; or one CSV file of metrics.
        also: requests that are known already; those that a file tells too are passed over.
        overrides: names that a person gave to the models of records.

    Raises:
        SnapshotError: a file cannot be read, or a CSV file is no table of metrics.
    """
    skipped: Counter[str] = Counter()
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        return Snapshot(_metrics_of_csv(paths[0]), 0, skipped)
    found: dict[str, Outcome] = {}
    named = overrides or Overrides()
    for path in paths:
        for owner, record in _records(path, skipped):
            one = _outcome(record, owner, named)
            found.setdefault(one.key, one)
    for one in also:
        found.setdefault(one.key, one)
    return Snapshot(metrics_of(found.values(), _place(paths)), len(found), skipped)


def metrics_of(outcomes: Iterable[Outcome], source: str) -> list[RuntimeMetric]:
    """Return one row per provider and model, in their order."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault((one.provider, one.model), []).append(one)
    rows = []
    for (provider, model), mine in sorted(groups.items()):
        answered = [one for one in mine if not one.is_failed]
        latencies = sorted(one.latency_ms for one in answered if one.latency_ms is not None)
        firsts = sorted(one.ttft_ms for one in answered if one.ttft_ms is not None)
        rows.append(
            RuntimeMetric(
                provider=provider,
                model=model,
                requests=len(mine),
                failures=len(mine) - len(answered),
                latency_p50_ms=percentile(latencies, 50),
                latency_p95_ms=percentile(latencies, 95),
                ttft_p50_ms=percentile(firsts, 50),
                quality_score=None,
                source_path=source,
                latency_samples=len(latencies),
                ttft_samples=len(firsts),
            )
        )
    return rows


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """Return the smallest value that at least so many percent of sorted values do not exceed; None for no values."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def request_key(request_id: str | None, timestamp_us: int | None, model: str | None, identity: str) -> str:
    """What tells a request from all others: its id with time and model, since ids come again, else its identity.

    Args:
        request_id: the proxy's.
        timestamp_us: the record's own time; None where it states none, whatever it was booked under.
        model: as the record names it; None where it names none.
        identity: `identity_of` the record, which booking keeps as its message id.
    """
    return f"{request_id} {timestamp_us} {model}" if request_id else identity


# -------------------------------------------------------------------- records of files


def _records(path: Path, skipped: Counter[str]) -> Iterator[tuple[Owner, dict[str, Any]]]:
    for value in _values(path, skipped):
        details = list(details_of(value))
        if details:
            yield from details
            continue
        for one in value if isinstance(value, list) else [value]:
            owner, record = unwrapped(one)
            if not isinstance(record, dict):
                skipped["not_an_object"] += 1
            elif is_control(record):
                skipped["control_message"] += 1
            elif not is_usage(record):
                skipped["unknown_record"] += 1
            else:
                yield owner, record


def _values(path: Path, skipped: Counter[str]) -> Iterator[Any]:
    """Every document of a file: the file itself, or its lines."""
    try:
        with opened_as_told(str(path)) as (stream, _):
            if _is_document(path):
                body = stream.read(MOST_DOCUMENT_BYTES + 1)
                if len(body) > MOST_DOCUMENT_BYTES:
                    raise SnapshotError(f"{path}: larger than {MOST_DOCUMENT_BYTES >> 20} MB; name a file of the proxy")
                lines: Iterable[bytes] = [body] if _is_json(body) else body.split(b"\n")
            else:
                lines = _lines(stream)
            for line in lines:
                if not (text := line.strip(b"\xef\xbb\xbf\x00 \t\r\n")):
                    continue
                try:
                    yield msgspec.json.decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    skipped["invalid_json"] += 1
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SnapshotError(f"{path}: {reason}; name an export or a landed file of CLIProxyAPI") from error


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines of a stream that may not know how to read one."""
    rest = b""
    while block := stream.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def _is_document(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return name.endswith(".json")


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body.strip(b"\xef\xbb\xbf\x00 \t\r\n"), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _outcome(record: dict[str, Any], owner: Owner, overrides: Overrides) -> Outcome:
    upstream = (values.text(record.get("provider"), 64) or "").strip().lower()
    raw = values.text(owner.model if owner.model is not None else record.get("model"))
    time = values.time_us(record.get("timestamp"))
    day = datetime.fromtimestamp((time or 0) // 1_000_000, UTC).date().isoformat() if _is_sane(time) else ""
    logged = None if raw == "unknown" else raw
    name = overrides.named(logged, CLIENT, day) or resolve_model(logged, CLIENT, day)
    known = upstream if upstream and upstream != "unknown" else None
    return Outcome(
        key=request_key(values.text(record.get("request_id"), 256), time, logged, identity_of(record, owner)),
        provider=provider_for(CLIENT, name, known),
        model=name.model,
        latency_ms=_milliseconds(record.get("latency_ms")),
        ttft_ms=_milliseconds(record.get("ttft_ms")),
        is_failed=record.get("failed") is True,
    )


def _is_sane(time: int | None) -> bool:
    return time is not None and 0 <= time < 4_102_444_800_000_000


def _milliseconds(value: object) -> int | None:
    """A duration; 0 is what the proxy writes where it measured none."""
    odd: list[str] = []
    found = values.count(value, odd.append)
    return found if found and not odd else None


def _place(paths: Sequence[Path]) -> str:
    """One file, or the folder that all of them lie in; as text that can be written, whatever a file is called."""
    folders = {path.parent for path in paths}
    found = [str(paths[0])] if len(paths) == 1 else sorted(map(str, folders))
    return ", ".join(found).encode("utf-8", "replace").decode("utf-8")


# -------------------------------------------------------------------- a table of metrics


def _metrics_of_csv(path: Path) -> list[RuntimeMetric]:
    """Metrics as another run wrote them; a column `latency_ms` counts as the median."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            missing = _FEWEST - set(reader.fieldnames or ())
            if missing:
                raise SnapshotError(f"{path}: has no column {', '.join(sorted(missing))}; see docs/contracts/ledger.md")
            rows = [_metric(row, f"{path}: line {reader.line_num}", _place([path])) for row in reader]
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}; name a snapshot") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SnapshotError(f"{path}: is no CSV file ({error}); write it as UTF-8") from error
    keys = Counter((row.provider, row.model) for row in rows)
    for (provider, model), count in keys.items():
        if count > 1:
            raise SnapshotError(f"{path}: {provider} {model} stands there {count} times; keep one row of it")
    return sorted(rows, key=lambda row: (row.provider, row.model))


def _metric(row: dict[str, Any], place: str, source: str) -> RuntimeMetric:
    def whole(*names: str) -> int | None:
        found = _number(row, names, place, MOST_OF_ANYTHING)
        if found is not None and found != found.to_integral_value():
            raise SnapshotError(
                f"{place}: {names[0]}: {str(found)[:40]!r} is no whole number; round it, or leave it empty"
            )
        return None if found is None else int(found)

    provider, model = (row.get("provider") or "").strip(), (row.get("model") or "").strip()
    if not provider or not model:
        raise SnapshotError(f"{place}: needs provider and model; fill them in or remove the row")
    name = resolve_model(model, CLIENT, "")
    requests = whole("requests") or 0
    median = whole("latency_p50_ms", "latency_ms")
    quality = _number(row, ("quality_score",), place, 100)
    return RuntimeMetric(
        provider=provider_for(CLIENT, name, provider),
        model=name.model,
        requests=requests,
        failures=min(whole("failures") or 0, requests),
        latency_p50_ms=median,
        latency_p95_ms=whole("latency_p95_ms"),
        ttft_p50_ms=whole("ttft_p50_ms"),
        quality_score=None if quality is None else round(quality, 9),
        source_path=(row.get("source_path") or "").strip() or source,
        latency_samples=whole("latency_samples") or (requests if median is not None else 0),
        ttft_samples=whole("ttft_samples") or 0,
    )


def _number(row: dict[str, Any], names: Sequence[str], place: str, most: int) -> Decimal | None:
    text = next((found for name in names if (found := (row.get(name) or "").strip())), "")
    if not text:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise SnapshotError(
            f"{place}: {names[0]}: {text[:40]!r} is no number; leave it empty where nothing was measured"
        ) from error
    if not found.is_finite() or not 0 <= found <= most:
        raise SnapshotError(
            f"{place}: {names[0]}: {text[:40]!r} cannot be meant; write 0 to {most:,}, or leave it empty"
        )
    return found
