"""Whether exported telemetry holds what TokenLedger expects of it (``docs/contracts/feeder-otel.md``).

Here: the contract's rules, element by element, told apart as the adapter tells them.  Not here: booking, and what
counts mean (``clients.otel_counters``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tokenledger_dagster.clients import documents, lines
from tokenledger_dagster.clients.base import Sink
from tokenledger_dagster.clients.documents import Part
from tokenledger_dagster.clients.opentelemetry import OpenTelemetry
from tokenledger_dagster.clients.otel_counters import counters_of
from tokenledger_dagster.clients.otel_elements import Element, elements
from tokenledger_dagster.clients.otel_requests import AGENT, identity_of, model_of, session_of, told_by
from tokenledger_dagster.clients.packed import opened_as_told
from tokenledger_dagster.contracts.feeder import FeederReport

_ODD = ("counter_negative", "counter_not_a_count", "counter_overflow")


def validate(path: Path) -> FeederReport:
    """Holds the file against the contract.  Raises OSError where it cannot be read."""
    report = FeederReport(feeder="otel", path=str(path))
    sink = Sink(0)
    for part, position in _parts(path, sink):
        found = False
        for element in elements(part, every=True):
            found = True
            below = element.part.pointer
            _judge(element, f"{position}{below}" if below else position, report)
        if not found:
            report.reject("unknown_record", position)
    report.take_skipped(sink.skipped)
    if not report.records and report.noted.keys() <= {"blank", "nul_padding"}:
        report.reject("no_records", "")
    return report


def _parts(path: Path, sink: Sink) -> Iterator[tuple[Part, str]]:
    """Each line of the file, or all of a document, with what its elements' positions begin with."""
    with opened_as_told(str(path)) as (handle, _):
        data = b"".join(iter(lambda: handle.read(1 << 20), b""))
    if OpenTelemetry().shape(str(path)) == "document":
        whole = documents.load(data, sink, several=True)
        if whole is not None:
            yield whole[0], ""
        return
    offset = 0
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        for found, piece, _, flags in lines.objects(line, offset, sink):
            yield Part(json.dumps(found).encode("utf-8", "replace") if flags else piece), f"line {number} "
        offset += len(line) + 1


def _judge(element: Element, position: str, report: FeederReport) -> None:
    """Accepts or rejects one element; of several reasons the first counts."""
    secret = _secrets() & (element.attributes.keys() | element.resource.keys())
    if secret:
        report.reject("secret_attribute", position)
        return
    if element.kind == "metric":
        report.note("metric")
        return
    told = told_by(element)
    if told is None:
        report.note(f"other_{element.kind}")
        return
    flags: list[str] = []
    counted = counters_of(element.attributes, told.convention, flags.append)
    time = element.time_us()
    session, trace = session_of(element), element.context[0]
    if counted is None:
        report.note("without_usage")
    elif any(flag in _ODD for flag in flags):
        report.reject("counter_invalid", position)
    elif time is None:
        report.reject("timestamp_unreadable", position)
    elif model_of(element) is None and told.rank < AGENT:
        report.reject("model_missing", position)
    elif session is None and trace is None:
        report.reject("session_missing", position)
    elif identity_of(element, told, session, time, counted[0]).by_content:
        report.reject("identity_missing", position)
    else:
        report.accept()
        noted = {"session_from_trace": session is None, "zero_usage": not counted[0].total}
        for name in (*flags, *(name for name, is_so in noted.items() if is_so)):
            report.note(name)


@cache
def _secrets() -> frozenset[str]:
    """Attributes that must not be in a file, ``otel_secrets.csv``."""
    names = Path(__file__).with_name("otel_secrets.csv").read_text("utf-8").split()
    return frozenset(names[1:])
