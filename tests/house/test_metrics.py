"""Metrics: well-formed names, bounded series, a default that does nothing, a recorder that is strict."""

from __future__ import annotations

import re

import pytest

from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics, RecordingMetrics

UNITS = ("bytes", "seconds", "records", "files", "events", "tokens", "duplicates", "results")
UNITS += ("calls", "changes", "models")


def emit(backend: MetricsBackend) -> None:
    backend.counter(names.INGEST_BYTES, 10, client="codex")
    backend.counter(names.INGEST_BYTES, 5, client="codex")
    backend.counter(names.INGEST_RECORDS, client="codex")
    backend.gauge(names.PRICING_UNPRICED_TOKENS, 7)
    backend.gauge(names.PRICING_UNPRICED_TOKENS, 3)
    backend.histogram(names.INGEST_DURATION, 0.25)
    backend.histogram(names.INGEST_DURATION, 0.5)


def test_recorder_adds_counters_keeps_the_last_gauge_and_every_observation() -> None:
    metrics = RecordingMetrics()

    emit(metrics)

    assert metrics.value(names.INGEST_BYTES, client="codex") == 15
    assert metrics.value(names.INGEST_RECORDS, client="codex") == 1
    assert metrics.value(names.PRICING_UNPRICED_TOKENS) == 3
    assert metrics.observations(names.INGEST_DURATION) == [0.25, 0.5]
    assert metrics.value(names.INGEST_BYTES, client="claude-code") is None
    assert metrics.names == {
        names.INGEST_BYTES,
        names.INGEST_RECORDS,
        names.PRICING_UNPRICED_TOKENS,
        names.INGEST_DURATION,
    }


def test_default_backend_takes_everything_and_keeps_nothing() -> None:
    backend = NoopMetrics()

    emit(backend)

    assert vars(backend) == {}


def test_recorder_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="is not a metric"):
        RecordingMetrics().counter("tokenledger_typo_total")


def test_recorder_refuses_another_kind() -> None:
    with pytest.raises(ValueError, match="is a counter, not a gauge"):
        RecordingMetrics().gauge(names.INGEST_BYTES, 1, client="codex")


@pytest.mark.parametrize("labels", [{}, {"client": "codex", "path": "/a"}])
def test_recorder_refuses_other_labels(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has the labels"):
        RecordingMetrics().counter(names.INGEST_BYTES, 1, **labels)


def test_recorder_refuses_a_falling_counter() -> None:
    with pytest.raises(ValueError, match="cannot fall"):
        RecordingMetrics().counter(names.INGEST_BYTES, -1, client="codex")


def test_recorder_refuses_a_label_with_too_many_values() -> None:
    metrics = RecordingMetrics()
    for number in range(names.LABEL_LIMITS["outcome"]):
        metrics.counter(names.PRICING_EVENTS, outcome=str(number))

    with pytest.raises(ValueError, match="more than 4 values"):
        metrics.counter(names.PRICING_EVENTS, outcome="one more")


@pytest.mark.parametrize("metric", names.METRICS.values(), ids=names.METRICS.keys())
def test_names_are_well_formed(metric: names.Metric) -> None:
    assert re.fullmatch(rf"tokenledger_[a-z]+_[a-z_]*({'|'.join(UNITS)})(_total)?", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert set(metric.labels) <= names.LABEL_LIMITS.keys()
    assert metric.description.endswith(".")


def test_every_constant_is_in_the_table() -> None:
    constants = {value for value in vars(names).values() if isinstance(value, str) and value.startswith("tokenledger_")}

    # the module's own name starts the same way
    assert constants - {names.__name__} - {names.__package__} == set(names.METRICS)


def test_all_series_together_stay_below_a_thousand() -> None:
    assert sum(metric.max_series for metric in names.METRICS.values()) < 1_000
