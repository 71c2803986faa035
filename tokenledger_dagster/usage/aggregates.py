"""Aggregates of months, computed only where nothing that they stand on is as it was: costs, and the UI snapshot.

Here: which aggregates are kept, and one reading of the ledger for all of them. Not here: how they are computed
(`usage.breakdown`, `exports.ui_snapshot`), keeping them (`usage.aggregate_cache`).

The snapshot is kept only where it is made from quarter hours: from the sums by day it costs no more than looking it up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.contracts.costs import CostBreakdown
from tokenledger_dagster.contracts.snapshot import Snapshot, SnapshotMode
from tokenledger_dagster.exports.ui_snapshot import make_snapshot
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics
from tokenledger_dagster.usage.aggregate_cache import AggregateCache, Question, question_filters
from tokenledger_dagster.usage.breakdown import cost_breakdown
from tokenledger_dagster.usage.effective import Effective, effective
from tokenledger_dagster.usage.key_memory import KeyMemory, manifest_stamp
from tokenledger_dagster.usage.month_key import MonthKey, MonthKeys
from tokenledger_dagster.usage.selection import Selection, month_days

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Aggregates", "FilledCache", "costs_of_month", "fill", "open_aggregates"]

MOST_MONTHS = 120
"""Months that are kept ready, the latest ones: a log with a broken clock must not fill a disk."""


class FilledCache(msgspec.Struct, frozen=True, kw_only=True):
    """What bringing all months up to date took."""

    enabled: bool
    cache_path: str
    hit_count: int
    miss_count: int
    invalidate_count: int
    """How many of the misses replaced what was kept: of another state, another version, or damaged."""
    months: int
    total_tokens: int
    list_price_usd: Decimal
    digest: str
    """Stands for all aggregates; equal keys of all months give equal digests."""
    duration_ms: int
    problem: str
    """Why nothing can be kept; empty where all is well."""


class Aggregates:
    """The aggregates of one state of the ledger; `open_aggregates` makes one."""

    def __init__(
        self, connection: sqlite3.Connection, home: Home, zone: str, now: datetime, stamp: str, *, enabled: bool
    ) -> None:
        """Takes the manifest's stamp from before it was opened (`usage.key_memory`)."""
        self._db = connection
        self._home = home
        self._now = now
        self.zone = zone
        self.keys = MonthKeys(connection, str(home.root), zone, self._today)
        self.cache = AggregateCache(home, enabled=enabled, booking=get_meta(connection, "booking_key") or "")
        self._memory = KeyMemory(home, self.cache, stamp, self.keys.about)
        self._known: dict[str, MonthKey] = dict(self._memory.keys or {})

    @property
    def _today(self) -> date:
        return self._now.astimezone(UTC).date()

    @cached_property
    def _plans(self) -> Effective | None:
        """Effective costs of everything, worked out once for all months that need them."""
        return effective(self._db, str(self._home.root), self._today)

    @cached_property
    def months(self) -> list[str]:
        """Months with requests, in order, the latest ones where there are more than anybody looks at."""
        return self.keys.months()[-MOST_MONTHS:] if self._memory.keys is None else list(self._memory.keys)

    def key(self, month: str) -> MonthKey:
        """What a month stands on.  Raises UsageError where it is none."""
        if month not in self._known:
            self._known[month] = self.keys.of(month)
        return self._known[month]

    def remember(self) -> None:
        """Keeps the keys of all months for the next reading of an unchanged ledger."""
        self._memory.keep({month: self.key(month) for month in self.months})

    def costs(self, month: str, selection: Selection | None = None) -> CostBreakdown:
        """What a month cost.

        Args:
            month: YYYY-MM.
            selection: filters besides the month; its zone must be the one of this reading.

        Raises:
            UsageError: it is no month.
            PlansError: the plans cannot be used.
        """
        wanted = _of_month(month, self.zone, selection)
        filters = wanted.filters()
        question = Question(kind="costs", month=month, zone=self.zone, filters=question_filters(filters))
        found = self.cache.get(
            question, self.key(month), CostBreakdown, lambda: cost_breakdown(self._db, wanted, self._plans, self._now)
        )
        # times are of now, and a list that came from JSON was a tuple
        return msgspec.structs.replace(found, generated_at=_stamp(self._now), filters=filters)

    def snapshot(self, month: str | None, mode: SnapshotMode, top_n: int) -> Snapshot:
        """The UI snapshot of a month, None = the latest one.

        Raises:
            UsageError: it is no month.
            PlansError: the plans cannot be used.
        """
        chosen = month or (self.months[-1] if self.months else None)
        if chosen is None or self.keys.from_days:
            return make_snapshot(self._db, mode, self.zone, month, top_n, self._now, plans=self._plans)
        whole = self.cache.get(
            Question(kind="snapshot", month=chosen, zone=self.zone),
            self.key(chosen),
            Snapshot,
            lambda: make_snapshot(self._db, "extended", self.zone, chosen, now=self._now, plans=self._plans),
        )
        limit = top_n if mode == "compact" else None
        return msgspec.structs.replace(
            whole,
            generated_at=_stamp(self._now),
            mode=mode,
            top_providers=whole.top_providers[:limit],
            top_models=whole.top_models[:limit],
            top_clients=whole.top_clients[:limit],
        )


@contextmanager
def open_aggregates(
    home: Home, zone: str, *, enabled: bool = True, now: datetime | None = None
) -> Iterator[Aggregates]:
    """One reading of the ledger's state as it is now.

    Args:
        home: a home that was synced.
        zone: IANA name of the zone in which months are cut.
        enabled: False computes everything and touches no file.
        now: time of the documents, and the day up to which fees are due; None is the clock's.

    Raises:
        ManifestError: the home holds no ledger.
        UsageError: no such zone.
        PlansError: the plans cannot be used.
    """
    stamp = manifest_stamp(home)
    with closing(connect(home, read_only=True)) as connection:
        yield Aggregates(connection, home, zone, now or datetime.now(UTC), stamp, enabled=enabled)


def fill(
    home: Home,
    zone: str,
    *,
    month: str | None = None,
    enabled: bool = True,
    metrics: MetricsBackend | None = None,
    now: datetime | None = None,
) -> FilledCache:
    """Bring the aggregates of all months up to date: costs of each, and the snapshot of `month` or the latest one.

    Raises as `open_aggregates` does.
    """
    started = time.perf_counter()
    with open_aggregates(home, zone, enabled=enabled, now=now) as found:
        months = found.months
        costs = [found.costs(one) for one in months]
        if months and not found.keys.from_days:
            found.snapshot(month, "extended", 1)
        keys = hashlib.blake2b(repr([(one, found.key(one)) for one in months]).encode(), digest_size=16)
        found.remember()
        cache = found.cache
    filled = FilledCache(
        enabled=enabled,
        cache_path=str(cache.folder),
        hit_count=cache.hits,
        miss_count=cache.misses,
        invalidate_count=cache.invalidated,
        months=len(months),
        total_tokens=sum(one.total_tokens for one in costs),
        list_price_usd=sum((one.list_price_usd for one in costs), Decimal(0)),
        digest=keys.hexdigest(),
        duration_ms=round((time.perf_counter() - started) * 1000),
        problem=cache.problem,
    )
    _tell(filled, metrics or NoopMetrics())
    return filled


def costs_of_month(home: Home, month: str | None, zone: str, *, enabled: bool = True) -> CostBreakdown | None:
    """What a month of a zone cost, by default that of the latest event; None where nothing is booked.

    Raises as `open_aggregates` does.
    """
    with open_aggregates(home, zone, enabled=enabled) as found:
        chosen = month or (found.months[-1] if found.months else None)
        return None if chosen is None else found.costs(chosen)


def _of_month(month: str, zone: str, selection: Selection | None) -> Selection:
    since, until = month_days(month)
    if selection is None:
        return Selection(zone=zone, since=since, until=until)
    return Selection(
        zone=zone,
        since=since,
        until=until,
        clients=selection.clients,
        models=selection.models,
        projects=selection.projects,
        sessions=selection.sessions,
        estimates=selection.estimates,
    )


def _tell(filled: FilledCache, metrics: MetricsBackend) -> None:
    if filled.enabled:
        metrics.counter(names.AGGREGATE_CACHE, filled.hit_count, outcome="hit")
        metrics.counter(names.AGGREGATE_CACHE, filled.miss_count, outcome="miss")
        metrics.counter(names.AGGREGATE_CACHE, filled.invalidate_count, outcome="invalidate")


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
