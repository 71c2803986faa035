"""Cells: the sums that every report is answered from.

Here: collecting what a commit adds and takes away by quarter hour, session and model, and writing it.  A quarter hour
lies within one day of every time zone and within one hour, so ``slots`` answers any zone and any block exactly;
``cells`` are the days of the configured zone.  Not here: what an event costs (``ingest.ledger``).
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from operator import add as plus
from operator import neg
from typing import Any

from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.quarters import SLOT_US

SUMS = (
    "event_count, input_tokens, output_tokens, cache_write_tokens, cache_read_tokens, tool_input_tokens, "
    "tool_output_tokens, cache_write_1h_tokens, reasoning_tokens, web_search_requests, list_price_nano, "
    "unpriced_count, unpriced_tokens, reported_nano"
)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
NAMES = SUMS.split(", ")
Key = tuple[int, int, int, int]
"""Slot or day, session, model, whether estimated."""

_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in NAMES)


class Cells:
    """What one commit changes; ``store`` writes it."""

    def __init__(self, connection: sqlite3.Connection, zone: Zone) -> None:
        self._db = connection
        self._zone = zone
        self._slots: dict[Key, list[int]] = {}
        """What was added to each, in the order of ``NAMES``."""
        self.events: defaultdict[int, int] = defaultdict(int)
        """By how many events each session's count changes."""

    def add(self, key: Key, counters: Sequence[int], price: int | None, count: int, reported: int = 0) -> None:
        """Adds ``count`` events (negative: takes them away) with the sums of their counters and their price, nano-USD.

        ``price`` is None where they have none; ``reported`` is what their logs say they cost, nano-USD.
        """
        self.events[key[1]] += count
        unpriced, missing = (0, 0) if price is not None else (abs(count), sum(counters[:6]))
        row = [abs(count), *counters, price or 0, unpriced, missing, reported]
        found = self._slots.get(key)
        if count < 0:
            row = list(map(neg, row))
        self._slots[key] = row if found is None else list(map(plus, found, row))

    def store(self, snapshot_id: str) -> None:
        """Writes what was added since the last time, priced under a snapshot of prices."""
        self._label(snapshot_id)
        self._write("slots", "slot", self._slots.items())
        days: dict[Key, list[int]] = {}
        for (slot, *rest), sums in self._slots.items():
            _merge(days, (self._zone.day(slot * SLOT_US), rest[0], rest[1], rest[2]), sums)
        self._write("cells", "day", days.items())
        self._slots.clear()
        self.events.clear()

    def _label(self, snapshot_id: str) -> None:
        """Whatever is booked is priced by today's snapshot, which gives the month's other events the same prices."""
        days = {slot * SLOT_US // _DAY_US for slot, *_ in self._slots}
        self._db.executemany(
            "INSERT INTO price_months VALUES (?, ?) ON CONFLICT (month) "
            "DO UPDATE SET snapshot_id = excluded.snapshot_id WHERE snapshot_id != excluded.snapshot_id",
            [(month, snapshot_id) for month in sorted({utc_month(day) for day in days})],
        )

    def recut(self) -> None:
        """Cuts the days anew, as after a change of zone."""
        self._db.execute("DELETE FROM cells")
        days: dict[Key, list[int]] = {}
        for row in self._db.execute(f"SELECT slot, session_no, model_no, is_estimated, {SUMS} FROM slots"):
            _merge(days, (self._zone.day(row[0] * SLOT_US), row[1], row[2], row[3]), row[4:])
        self._write("cells", "day", days.items())

    def _write(self, table: str, first: str, rows: Iterable[tuple[Key, Sequence[int]]]) -> None:
        changed = [(key, sums) for key, sums in rows if any(sums)]
        marks = ", ".join("?" * (4 + len(NAMES)))
        self._db.executemany(
            f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT ({first}, session_no, model_no, is_estimated) "
            f"DO UPDATE SET {_ADDED}",
            ((*key, *sums) for key, sums in changed),
        )
        if any(sums[0] <= 0 for _, sums in changed):  # only what loses events can be left without any
            self._db.execute(f"DELETE FROM {table} WHERE event_count = 0")


def utc_month(day: int) -> str:
    """The UTC month of a day since 1970, held at the calendar's ends."""
    return date.fromordinal(min(max(day + _EPOCH, 1), date.max.toordinal())).isoformat()[:7]


def _merge(cells: dict[Key, list[int]], key: Key, sums: Sequence[Any]) -> None:
    found = cells.get(key)
    cells[key] = list(sums) if found is None else list(map(plus, found, sums))
