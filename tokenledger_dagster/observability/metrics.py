"""The seam through which every stage emits metrics, its default that does nothing, and one that remembers for tests.

Belongs here: the interface and the backends that need no library. Does not belong here: names (`names.py`), and
backends behind a feature flag, each a module of its own.
"""

from __future__ import annotations

from typing import Protocol

from tokenledger_dagster.observability.names import LABEL_LIMITS, METRICS

__all__ = ["MetricsBackend", "NoopMetrics", "RecordingMetrics"]


class MetricsBackend(Protocol):
    """Where metrics go. Names come from `names`; units are those that the name ends in.

    A stage takes one as an argument and never makes its own. An implementation must not raise because its receiver is
    away: metrics are never the reason that a ledger is not written.
    """

    def counter(self, name: str, value: float = 1, **labels: str) -> None:
        """Add `value`, not negative, to a counter."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge to `value`."""

    def histogram(self, name: str, value: float, **labels: str) -> None:
        """Put one observation into a histogram."""


class NoopMetrics:
    """The default: nothing is kept and nothing is sent."""

    def counter(self, name: str, value: float = 1, **labels: str) -> None:
        """Do nothing."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""

    def histogram(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""


_Series = tuple[str, frozenset[tuple[str, str]]]


class RecordingMetrics:
    """Keeps everything in memory and is strict, so that a test finds a wrong name, label or sign.

    Raises:
        ValueError: from each method: the name, its kind, its labels or its value is not what `names` says.
    """

    def __init__(self) -> None:
        self._counters: dict[_Series, float] = {}
        self._gauges: dict[_Series, float] = {}
        self._histograms: dict[_Series, list[float]] = {}
        self._label_values: dict[tuple[str, str], set[str]] = {}

    def counter(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        if value < 0:
            raise ValueError(f"{name} is a counter and cannot fall by {-value}")
        series = self._series("counter", name, labels)
        self._counters[series] = self._counters.get(series, 0) + value

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[self._series("gauge", name, labels)] = value

    def histogram(self, name: str, value: float, **labels: str) -> None:
        """Keep one observation."""
        self._histograms.setdefault(self._series("histogram", name, labels), []).append(value)

    def value(self, name: str, **labels: str) -> float | None:
        """The counter's sum or the gauge's last value; None when never emitted."""
        series = (name, frozenset(labels.items()))
        return self._counters.get(series, self._gauges.get(series))

    def observations(self, name: str, **labels: str) -> list[float]:
        """A histogram's observations in order."""
        return list(self._histograms.get((name, frozenset(labels.items())), ()))

    @property
    def names(self) -> set[str]:
        """Names emitted so far."""
        return {name for name, _ in (*self._counters, *self._gauges, *self._histograms)}

    def _series(self, kind: str, name: str, labels: dict[str, str]) -> _Series:
        metric = METRICS.get(name)
        if metric is None:
            raise ValueError(f"{name} is not a metric; add it to observability/names.py")
        if metric.kind != kind:
            raise ValueError(f"{name} is a {metric.kind}, not a {kind}")
        if set(labels) != set(metric.labels):
            raise ValueError(f"{name} has the labels {sorted(metric.labels)}, not {sorted(labels)}")
        for label, text in labels.items():
            seen = self._label_values.setdefault((name, label), set())
            seen.add(text)
            if len(seen) > LABEL_LIMITS[label]:
                raise ValueError(f"{name}: label {label!r} takes more than {LABEL_LIMITS[label]} values")
        return name, frozenset(labels.items())
