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
    "INFERENCE_BREAKER",
    "INFERENCE_CACHE",
    "INFERENCE_CACHE_BYTES",
    "INFERENCE_CALLS",
    "INFERENCE_CALL_DURATION",
    "INFERENCE_DEMOTIONS",
    "INFERENCE_EVICTIONS",
    "INFERENCE_LOAD_DURATION",
    "LABEL_LIMITS",
    "METRICS",
    "PRICING_DURATION",
    "PRICING_EVENTS",
    "PRICING_UNPRICED_TOKENS",
    "PUBLISH_BYTES",
    "PUBLISH_DURATION",
    "TOKENIZER_ENCODE_DURATION",
    "Metric",
]

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
"""Upper bounds for durations: a warm report is tens of milliseconds, a first sync of many GB minutes."""

SHORT_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds for calls of a model: a short text takes milliseconds, a batch of long ones up to its timeout."""

LABEL_LIMITS = {
    "client": 24,
    "reason": 16,
    "outcome": 4,
    "rule": 32,
    "artifact": 8,
    "tokenizer": 3,
    "backend": 3,
    "requested": 3,
    "state": 3,
}
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
INFERENCE_LOAD_DURATION = "tokenledger_inference_load_duration_seconds"
INFERENCE_CALL_DURATION = "tokenledger_inference_call_duration_seconds"
INFERENCE_CALLS = "tokenledger_inference_calls_total"
INFERENCE_DEMOTIONS = "tokenledger_inference_demoted_calls_total"
INFERENCE_BREAKER = "tokenledger_inference_breaker_changes_total"
INFERENCE_CACHE = "tokenledger_inference_cache_results_total"
INFERENCE_CACHE_BYTES = "tokenledger_inference_cache_bytes"
INFERENCE_EVICTIONS = "tokenledger_inference_evicted_models_total"
TOKENIZER_ENCODE_DURATION = "tokenledger_tokenizer_encode_duration_seconds"

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
        Metric(
            INFERENCE_LOAD_DURATION,
            "histogram",
            "seconds",
            "Time of loading and checking a model.",
            ("backend",),
            SECONDS,
        ),
        Metric(
            INFERENCE_CALL_DURATION,
            "histogram",
            "seconds",
            "Time of one call of a backend, answered or not.",
            ("backend",),
            SHORT_SECONDS,
        ),
        Metric(
            INFERENCE_CALLS,
            "counter",
            "calls",
            "Calls by the backend asked for, the one called, and outcome: ok, error, timeout.",
            ("requested", "backend", "outcome"),
        ),
        Metric(
            INFERENCE_DEMOTIONS,
            "counter",
            "calls",
            "Batches passed on to the next backend: error, timeout, open, tokens, or the step of loading that refused.",
            ("backend", "reason"),
        ),
        Metric(
            INFERENCE_BREAKER,
            "counter",
            "changes",
            "Changes of a breaker, by the state it came to: closed, open, half_open.",
            ("backend", "state"),
        ),
        Metric(INFERENCE_CACHE, "counter", "results", "Models asked for, by outcome: hit, miss.", ("outcome",)),
        Metric(INFERENCE_CACHE_BYTES, "gauge", "bytes", "Memory that loaded models are accounted with."),
        Metric(
            INFERENCE_EVICTIONS,
            "counter",
            "models",
            "Models given up: capacity, bytes, idle, unhealthy, closed.",
            ("reason",),
        ),
        Metric(
            TOKENIZER_ENCODE_DURATION,
            "histogram",
            "seconds",
            "Time of encoding one text.",
            ("tokenizer",),
            (0.0001, 0.001, 0.01, 0.1, 1.0),
        ),
    )
}
