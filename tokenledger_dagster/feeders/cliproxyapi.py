"""Whether a file holds what TokenLedger expects of CLIProxyAPI (``docs/contracts/feeder-cliproxyapi.md``).

Here: the contract's rules, record by record, told apart as the adapter tells them.  Not here: booking, and what a
record's counts mean (``clients.cliproxyapi_counters``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenledger_dagster.clients import documents, lines, values
from tokenledger_dagster.clients.base import Sink
from tokenledger_dagster.clients.cliproxyapi import LANDED_VERSION, Owner, identity_of, is_control, is_usage, unwrapped
from tokenledger_dagster.clients.cliproxyapi_counters import counters_of
from tokenledger_dagster.clients.veil import is_veiled
from tokenledger_dagster.contracts.feeder import FeederReport
from tokenledger_dagster.landing.cliproxyapi import details_of
from tokenledger_dagster.landing.redaction import field_rules

_SECRET = tuple(name for name, rule in field_rules().items() if rule in ("veil", "drop"))
_ODD = ("counter_negative", "counter_not_a_count", "counter_overflow")


def validate(path: Path) -> FeederReport:
    """Holds the file against the contract.  Raises OSError where it cannot be read."""
    report = FeederReport(feeder="cliproxyapi", path=str(path))
    sink = Sink(0)
    seen: set[str] = set()
    for value, position in _values(path.read_bytes(), sink):
        _judge(value, position, report, seen)
    report.take_skipped(sink.skipped)
    if not report.records and not report.noted:
        report.reject("no_records", "")
    return report


def _values(data: bytes, sink: Sink) -> Iterator[tuple[object, str]]:
    """Every value of the file with its position: elements of one document, or lines."""
    body = data.removeprefix(b"\xef\xbb\xbf").strip(b"\x00 \t\r\n")
    whole = documents.load(data, Sink(0))
    if whole is not None:
        document = whole[0].value
        if isinstance(document, list):
            yield from ((one, f"/{place}") for place, one in enumerate(document))
        else:
            yield document, "the document"
        return
    offset = 0
    for number, line in enumerate(body.split(b"\n"), 1):
        for value, _, _, _ in lines.objects(line, offset, sink):
            yield value, f"line {number}"
        offset += len(line) + 1


def _judge(value: object, position: str, report: FeederReport, seen: set[str]) -> None:
    details = list(details_of(value))
    if details or _is_export(value):
        for place, (owner, record) in enumerate(details):
            _judge_record(record, owner, f"detail {place}", report, seen)
        return
    is_landed = isinstance(value, dict) and value.get("feeder") == "cliproxyapi"
    if is_landed and not _landed_is_sound(value, position, report):  # type: ignore[arg-type]
        return
    filed, found = unwrapped(value)
    if not isinstance(found, dict):
        report.reject("not_an_object", position)
    elif is_control(found):
        report.note("control_message")
    elif not is_usage(found):
        report.reject("unknown_record", position)
    else:
        _judge_record(found, filed, position, report, seen, landed=is_landed)


def _is_export(value: object) -> bool:
    usage = value.get("usage", value) if isinstance(value, dict) else None
    return isinstance(usage, dict) and isinstance(usage.get("apis"), dict)


def _landed_is_sound(line: dict[str, Any], position: str, report: FeederReport) -> bool:
    kind = line.get("kind")
    if line.get("schema_version") != LANDED_VERSION or kind not in ("usage", "detail", "unknown", "unreadable"):
        report.reject("unknown_landed_line", position)
        return False
    if kind in ("unknown", "unreadable"):
        report.note(f"landed_{kind}")
        return False
    return True


def _judge_record(
    record: dict[str, Any], owner: Owner, position: str, report: FeederReport, seen: set[str], *, landed: bool = False
) -> None:
    """Accepts or rejects one record; of several reasons the first counts."""
    tokens, breakdown = record.get("tokens"), record.get("token_breakdown")
    model = values.text(owner.model if owner.model is not None else record.get("model"))
    provider = values.text(record.get("provider"))
    flags: list[str] = []
    counters = counters_of(record, provider.lower() if provider else None, model, flags)
    if not isinstance(tokens, dict) and not isinstance(breakdown, dict):
        report.reject("usage_missing", position)
    elif values.time_us(record.get("timestamp")) is None:
        report.reject("timestamp_unreadable", position)
    elif model is None:
        report.reject("model_missing", position)
    elif not isinstance(record.get("failed"), bool):
        report.reject("failed_missing", position)
    elif any(flag in _ODD for flag in flags):
        report.reject("counter_invalid", position)
    elif landed and any(_is_bare(record.get(name)) for name in _SECRET):
        report.reject("secret_in_landed_line", position)
    else:
        report.accept()
        _note(record, owner, flags, counters.total, report, seen)


def _note(
    record: dict[str, Any], owner: Owner, flags: list[str], total: int, report: FeederReport, seen: set[str]
) -> None:
    """What is no violation: the layout, what booking will merge, and what the adapter will flag."""
    request = values.text(record.get("request_id"))
    report.note("with_request_id" if request else "without_request_id")
    name = f"{request} {record.get('timestamp')} {record.get('model')}" if request else identity_of(record, owner)
    if name in seen:
        report.note("repeated")
    seen.add(name)
    if total == 0:
        report.note("zero_usage")
    for flag in flags:
        report.note(flag)


def _is_bare(value: object) -> bool:
    """Whether a field that must be veiled or absent holds anything else."""
    if isinstance(value, str):
        return bool(value) and not is_veiled(value)
    return value is not None
