"""The name, unit and labels of every metric that the program emits.

Belongs here: one `Metric` per name, so that all backends, tests and docs agree. Does not belong here: values.

Names read tokenledger_<area>_<what>_<unit>; a counter's ends in `_total`. A label takes few values, known beforehand:
never a path, session, project, model or account. All series together stay below 1,000 (a test counts them).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "AGGREGATE_CACHE",
    "BOOKING_DUPLICATES",
    "BOOKING_DURATION",
    "BOOKING_EVENTS",
    "INGEST_BYTES",
    "INGEST_CACHE",
    "INGEST_DURATION",
    "INGEST_RECORDS",
    "INGEST_SKIPPED",
    "INGEST_SOURCES",
    "LABEL_LIMITS",
    "METRICS",
    "PRICING_DURATION",
    "PRICING_EVENTS",
    "PRICING_UNPRICED_TOKENS",
    "PUBLISH_BYTES",
    "PUBLISH_DURATION",
    "Metric",
]

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
"""Upper bounds for durations: a warm report is tens of milliseconds, a first sync of many GB minutes."""

LABEL_LIMITS = {"client": 24, "reason": 16, "outcome": 4, "rule": 32, "artifact": 8}
"""How many values each label may take at most."""


class Metric(NamedTuple):
    """One metric: what it counts, in which unit, by which labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def max_series(self) -> int:
        """Series that this metric can make; a histogram has one per bucket and three more (rest, sum, count)."""
        series = len(self.buckets) + 3 if self.kind == "histogram" else 1
        for label in self.labels:
            series *= LABEL_LIMITS[label]
        return series


INGEST_BYTES = "tokenledger_ingest_read_bytes_total"
INGEST_RECORDS = "tokenledger_ingest_records_total"
INGEST_SKIPPED = "tokenledger_ingest_skipped_records_total"
INGEST_SOURCES = "tokenledger_ingest_sources_files"
INGEST_CACHE = "tokenledger_ingest_cache_files_total"
INGEST_DURATION = "tokenledger_ingest_duration_seconds"
BOOKING_EVENTS = "tokenledger_booking_events_total"
BOOKING_DUPLICATES = "tokenledger_booking_duplicates_total"
BOOKING_DURATION = "tokenledger_booking_duration_seconds"
PRICING_EVENTS = "tokenledger_pricing_events_total"
PRICING_UNPRICED_TOKENS = "tokenledger_pricing_unpriced_tokens"
PRICING_DURATION = "tokenledger_pricing_duration_seconds"
AGGREGATE_CACHE = "tokenledger_aggregates_cache_results_total"
PUBLISH_BYTES = "tokenledger_publish_artifact_bytes"
PUBLISH_DURATION = "tokenledger_publish_duration_seconds"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(INGEST_BYTES, "counter", "bytes", "Bytes read from agents' logs.", ("client",)),
        Metric(INGEST_RECORDS, "counter", "records", "Usage records found, duplicates among them.", ("client",)),
        Metric(INGEST_SKIPPED, "counter", "records", "Records left out as bad input.", ("client", "reason")),
        Metric(INGEST_SOURCES, "gauge", "files", "Log files known.", ("client",)),
        Metric(INGEST_CACHE, "counter", "files", "Files by outcome: hit, miss, invalidate, bypassed.", ("outcome",)),
        Metric(INGEST_DURATION, "histogram", "seconds", "Time of one sync.", (), SECONDS),
        Metric(BOOKING_EVENTS, "counter", "events", "Events booked.", ("client",)),
        Metric(BOOKING_DUPLICATES, "counter", "records", "Records set aside as duplicates, by rule.", ("rule",)),
        Metric(BOOKING_DURATION, "histogram", "seconds", "Time of one booking.", (), SECONDS),
        Metric(PRICING_EVENTS, "counter", "events", "Events priced or not: priced, unpriced.", ("outcome",)),
        Metric(PRICING_UNPRICED_TOKENS, "gauge", "tokens", "Tokens of events that no price list knows."),
        Metric(PRICING_DURATION, "histogram", "seconds", "Time of pricing all events.", (), SECONDS),
        Metric(AGGREGATE_CACHE, "counter", "results", "Aggregates by outcome: hit, miss, invalidate.", ("outcome",)),
        Metric(PUBLISH_BYTES, "gauge", "bytes", "Size of a published artifact.", ("artifact",)),
        Metric(PUBLISH_DURATION, "histogram", "seconds", "Time of writing an artifact.", ("artifact",), SECONDS),
    )
}
