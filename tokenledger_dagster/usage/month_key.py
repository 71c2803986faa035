"""What the aggregates of one month stand on, as two short keys: its requests, and what makes them cost something.

Here: telling that nothing a month's aggregates depend on has changed, from the manifest alone and without adding
anything up. Not here: the aggregates (`usage.breakdown`, `exports.ui_snapshot`), and where they are kept
(`usage.aggregate_cache`).

A month stands on its own requests, and where plans are declared on those of the UTC months that it touches: fees are
cut at their borders (`pricing.periods`). So a closed month keeps its keys however the log of today grows.
"""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.declared import BOOK_FEES, is_declared
from tokenledger_dagster.usage.effective import declared_key
from tokenledger_dagster.usage.selection import as_date, day_number, iso_day, month_days

__all__ = ["MonthKey", "MonthKeys"]

_SQL = Path(__file__).with_name("month_key.sql")
_SLOTS_A_DAY = DAY_US // SLOT_US
_ZONE_DAYS = 2
"""No local day begins or ends further than this from the UTC day of the same name."""


class MonthKey(NamedTuple):
    """Equal keys of the same question mean equal aggregates."""

    events: str
    """Stands for the month's requests: every sum of them, and the names that they are told apart by."""
    pricing: str
    """Stands for the accepted price snapshots of its months, plans, fees of the book, and the days that are due."""


class MonthKeys:
    """The keys of all months of one state of the ledger."""

    def __init__(self, connection: sqlite3.Connection, home: str, zone: str, today: date) -> None:
        """From here on the connection reads one state of the ledger.

        Args:
            connection: the manifest.
            home: root of the ledger's home.
            zone: IANA name of the zone in which months are cut.
            today: the last UTC day that plans are paid for.

        Raises:
            UsageError: no such zone.
            PlansError: the plans cannot be used.
        """
        if not connection.in_transaction:
            # keys and aggregates must be of the same state
            connection.execute("BEGIN")
        self._db = connection
        self._today = today
        self._zone = Zone(zone)
        self._statements = dict(_statements())
        self._plans = declared_key(connection, home)
        self._fees = get_meta(connection, BOOK_FEES)
        self.is_declared = is_declared(connection, home)
        self.from_days = not self.is_declared and get_meta(connection, "zone") == zone
        """Whether the sums by day answer for this zone; else those by quarter hour do."""
        self.about = repr((zone, self._plans, self._fees, today.isoformat() if self.is_declared else None))
        """Stands for all that the keys depend on besides the manifest's sums."""

    @cached_property
    def _labels(self) -> dict[str, str]:
        return dict(self._rows("labels"))

    @cached_property
    def _sessions(self) -> dict[int, list[Any]]:
        return {number: names for number, *names in self._rows("sessions")}

    @cached_property
    def _models(self) -> dict[int, list[Any]]:
        return {number: names for number, *names in self._rows("models")}

    def months(self) -> list[str]:
        """Every month with requests, YYYY-MM, in order; none of a time that no calendar has."""
        if self.from_days:
            days = {day for (day,) in self._rows("days")}
        else:
            days = {self._zone.day(slot * SLOT_US) for (slot,) in self._rows("slots")}
        return [month for month in sorted({iso_day(day)[:7] for day in days}) if _is_month(month)]

    def of(self, month: str) -> MonthKey:
        """The keys of a month.  Raises UsageError where it is none."""
        first, last = (day_number(day, "--month") for day in month_days(month))
        digest = hashlib.blake2b(digest_size=16)
        if self.from_days:
            rows = self._rows("by_day", first, last + 1)
            touched = first, last
        else:
            rows = self._of_local_days(first, last)
            touched = _utc_days(rows, first, last)
        if self.is_declared:
            # which of its months' requests are its own; then all of these
            digest.update(repr((len(rows), rows[0][0], rows[-1][0]) if rows else ()).encode())
            rows = self._rows("by_slot", touched[0] * _SLOTS_A_DAY, (touched[1] + 1) * _SLOTS_A_DAY)
        # integers only, which its second version writes in one way; a hundred times as fast as their text
        digest.update(marshal.dumps(rows, 2))
        for place, names in ((1, self._sessions), (2, self._models)):
            used = sorted({row[place] for row in rows})
            digest.update(repr([(number, names.get(number)) for number in used]).encode())
        return MonthKey(digest.hexdigest(), self._pricing(touched))

    def _of_local_days(self, first: int, last: int) -> list[tuple[Any, ...]]:
        """Quarter hours of local days; on which one each falls is decided by the zone itself."""
        bounds = (first - _ZONE_DAYS) * _SLOTS_A_DAY, (last + 1 + _ZONE_DAYS) * _SLOTS_A_DAY
        found = self._rows("by_slot", *bounds)
        return [row for row in found if first <= self._zone.day(row[0] * SLOT_US) <= last]

    def _pricing(self, touched: tuple[int, int]) -> str:
        months = sorted({iso_day(day)[:7] for day in range(touched[0], touched[1] + 1)})
        facts: list[object] = [[(month, self._labels.get(month)) for month in months]]
        if self.is_declared:
            # fees become due by the day; those of days that are over no longer change
            facts += [self._plans, min(self._today, as_date(touched[1])).isoformat()]
        if self._fees is not None:
            facts.append(self._rows("first_slots"))  # a book's fee is paid from a provider's first month on
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()

    def _rows(self, name: str, *bounds: int) -> list[tuple[Any, ...]]:
        return self._db.execute(self._statements[name], bounds).fetchall()


def _statements() -> Iterable[tuple[str, str]]:
    for part in _SQL.read_text("utf-8").split("-- statement: ")[1:]:
        name, _, query = part.partition("\n")
        yield name, query


def _utc_days(rows: Sequence[tuple[Any, ...]], first: int, last: int) -> tuple[int, int]:
    """First and last day of the UTC months that a local month and its requests touch, days since 1970."""
    days = [first, last, *(row[0] // _SLOTS_A_DAY for row in (*rows[:1], *rows[-1:]))]
    begins, ends = (month_days(iso_day(day)[:7]) for day in (min(days), max(days)))
    return day_number(begins[0], "--month"), day_number(ends[1], "--month")


def _is_month(month: str) -> bool:
    try:
        month_days(month)
    except UsageError:
        return False
    return True
