"""Names and rates that a ledger has resolved before, kept in the manifest.

Here: loading and storing them, and a rate table that asks them first.  A model's name and rates hold for months, so
nearly every sync finds all it needs here and parses neither the naming data nor ``config/rates.csv``.  Not here: any
rule of names or prices.  What is kept counts for one booking key, price snapshot and version of the program only; with
a pricing book, whose names are looked up too, no rate is kept.
"""

from __future__ import annotations

import sqlite3

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.ingest.meta import get_meta, set_meta
from tokenledger_dagster.models.kept import MISSING, Kept, kept_names
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import Rate
from tokenledger_dagster.pricing.snapshots import Snapshot

KEY = "resolved"
"""Key of the manifest's meta table."""
RateKey = tuple[str, str, str]
"""Channel, model, requested context."""


class _Stored(msgspec.Struct, array_like=True):
    key: str
    slotted: list[str]
    names: list[tuple[tuple[str, str | None], str, str, ModelName]]
    rates: list[tuple[RateKey, int, int, Rate | None]]


class KeptRates(RateTable):
    """A snapshot's rate table, read only for what is not kept."""

    def __init__(
        self, snapshot: Snapshot, slotted: frozenset[str] | None, kept: Kept[RateKey, int, Rate | None]
    ) -> None:
        super().__init__([], snapshot.snapshot_id)
        self._snapshot = snapshot
        self.book = snapshot.book
        self.slotted_models = snapshot.table.slotted_models if slotted is None else slotted
        self.kept = kept

    def resolve(self, channel: str, model: str, context: str, ts_us: int, provider: str = "") -> Rate | None:
        """The rate for a request; see ``RateTable.resolve``."""
        if self.book is not None:
            return self._snapshot.table.resolve(channel, model, context, ts_us, provider)
        key = (channel, model, context)
        found = self.kept.get(key, ts_us)
        if found is MISSING:
            table = self._snapshot.table
            found = table.resolve(channel, model, context, ts_us)
            if model not in self.slotted_models:
                self.kept.add(key, *table.steady(model, ts_us), found)
        return found

    def steady_from(self, channel: str, model: str, context: str, ts_us: int) -> tuple[int, int]:
        """See ``RateTable.steady_from``."""
        kept = self.kept.span((channel, model, context), ts_us) if self.book is None else None
        return kept or super().steady_from(channel, model, context, ts_us)


def load(connection: sqlite3.Connection, booking_key: str, snapshot: Snapshot) -> KeptRates:
    """The rates to price with; names that are kept are known from now on."""
    stored = _stored(connection, f"{booking_key} {snapshot.snapshot_id}")
    rates: Kept[RateKey, int, Rate | None] = Kept()
    rates.start(iter(stored.rates if stored else ()))
    kept_names().start(iter(stored.names if stored else ()))
    return KeptRates(snapshot, frozenset(stored.slotted) if stored else None, rates)


def store(connection: sqlite3.Connection, booking_key: str, rates: KeptRates) -> None:
    """Keeps what was resolved since ``load``."""
    names = kept_names()
    if names.grown or rates.kept.grown:
        key = _key(f"{booking_key} {rates.snapshot_id}")
        kept = _Stored(key, sorted(rates.slotted_models), names.entries(), rates.kept.entries())
        set_meta(connection, KEY, msgspec.json.encode(kept).decode())
    names.recording = False


def _stored(connection: sqlite3.Connection, booking_key: str) -> _Stored | None:
    text = get_meta(connection, KEY)
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=_Stored)
    except msgspec.DecodeError:  # of another version
        return None
    return found if found.key == _key(booking_key) else None


def _key(booking_key: str) -> str:
    return f"{booking_key} {__version__}"
