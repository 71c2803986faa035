"""Pricing the booked past anew: what another price snapshot changes, and accepting it.

Only requests of models whose rates differ between the two snapshots are looked at, and only those whose price changes
are written; the sums that reports are answered from follow from the same rows. Months without a change keep their label.
Here: comparing and writing, under the writer lock. Not here: which snapshot is in force (`ingest.accepted`), printing
(`cli.pricing_reprice`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tokenledger_dagster.contracts.reprice import Repriced, RepriceReport, RepriceTotals
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.accepted import accept, booked_models, standing, touched
from tokenledger_dagster.ingest.cells import utc_month
from tokenledger_dagster.ingest.ledger import SUM_FLAG
from tokenledger_dagster.ingest.manifest import connect, get_meta, transaction, writer_lock
from tokenledger_dagster.ingest.settling import settle_packs
from tokenledger_dagster.ingest.uncollected import no_collection
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.context import booked_provider
from tokenledger_dagster.pricing.events import Lookup, Pricing, found_price
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import Rate
from tokenledger_dagster.quarters import SLOT_US

_WAIT_SECONDS = 600.0
_EVENTS = (
    "SELECT event_no, timestamp_us, session_no, model_no, is_estimated, input_tokens, cache_read_tokens, "
    "cache_write_tokens - cache_write_1h_tokens, cache_write_1h_tokens, output_tokens, tool_input_tokens, "
    "tool_output_tokens, booking_flags, channel, requested_context, list_price_nano FROM events WHERE model_no IN ({})"
)
_UPDATE = (
    "UPDATE events SET list_price_nano = ?, list_basis = ?, price_confidence = ?, priced_context = ?, "
    "unpriced_reason = ? WHERE event_no = ?"
)
_ADD = (
    "UPDATE {table} SET list_price_nano = list_price_nano + ?, unpriced_count = unpriced_count + ?, "
    "unpriced_tokens = unpriced_tokens + ? WHERE {first} = ? AND session_no = ? AND model_no = ? AND is_estimated = ?"
)


class _Model(NamedTuple):
    """A booked model as its rates are looked up."""

    client: str
    upstream: str | None
    name: ModelName


class _Key(NamedTuple):
    """What decides a rate besides the time."""

    model_no: int
    channel: str
    context: str


class _Change(NamedTuple):
    """One request whose price changes."""

    event_no: int
    timestamp_us: int
    session_no: int
    is_estimated: int
    key: _Key
    tokens: int
    old_nano: int | None
    old: Rate | None
    new: Rate | None
    price: Pricing
    looked_up: tuple[str, str]


def reprice(home: Home, *, write: bool = False, now: datetime | None = None) -> RepriceReport:
    """Return what today's prices would change, and with ``write`` accept them.

    A snapshot that changes no booked price is accepted either way: there is nothing to decide.

    Raises:
        TokenLedgerError: another process writes all the time, or the ledger was never filled.
    """
    with writer_lock(home, _WAIT_SECONDS) as held:
        if not held:
            raise TokenLedgerError(f"{home.lock_path}: another process writes this ledger; try again when it is done")
        with closing(connect(home)) as connection, no_collection():
            settle_packs(home, connection)
            return _reprice(home, connection, write=write, now=now or datetime.now(UTC))


def _reprice(home: Home, connection: sqlite3.Connection, *, write: bool, now: datetime) -> RepriceReport:
    found = standing(home, connection)
    if found.waiting is None:
        if not found.is_lost:
            accept(home, connection, found.snapshot)
        return _report(now, found.snapshot.snapshot_id, found.snapshot.snapshot_id, 0, [], found.problem, accepted=True)
    comparison = _Comparison(connection, found.snapshot.table, found.waiting.table)
    changes = list(comparison.changes())
    accepted = write or not changes
    if accepted:
        with transaction(connection):
            _write(connection, changes, found.waiting.snapshot_id)
            accept(home, connection, found.waiting)
    rows = _rows(changes, comparison)
    old, new = found.snapshot.snapshot_id, found.waiting.snapshot_id
    return _report(now, old, new, comparison.looked_at, rows, found.problem, accepted=accepted)


class _Comparison:
    """Booked requests of models whose rates differ, priced under both tables."""

    def __init__(self, connection: sqlite3.Connection, before: RateTable, after: RateTable) -> None:
        self._db = connection
        self._before = before
        self._after = after
        self._touched = touched(before, after, connection)
        self.models = {
            number: _Model(client, upstream, name)
            for number, client, upstream, name in booked_models(connection)
            if number in self._touched
        }
        self.providers: dict[int, str] = dict(connection.execute("SELECT model_no, provider FROM models"))
        self.looked_at = 0
        self._lookups: dict[_Key, tuple[Lookup, Lookup, int]] = {}
        self._rates: dict[tuple[_Key, int], tuple[Rate | None, Rate | None]] = {}

    def changes(self) -> Iterator[_Change]:
        """Every request whose price, or what it stands on, changes."""
        numbers = ",".join(map(str, sorted(self._touched)))
        for row in self._db.execute(_EVENTS.format(numbers)) if numbers else ():
            self.looked_at += 1
            number, at, session, model_no, estimated, *counts, flags, channel, context, old_nano = row
            key = _Key(model_no, channel, context)
            before, after, step = self._looked_up(key)
            rates = self._rates.get((key, at // step))
            if rates is None:
                rates = before.rate(self._before, at), after.rate(self._after, at)
                self._rates[key, at // step] = rates
            if rates[0] == rates[1] and before.name == after.name:
                continue
            tools = (counts[5], counts[6])
            price = found_price(after, rates[1], tuple(counts[:5]), tools, is_sum=SUM_FLAG in flags)
            same = price.list_price_nano == old_nano
            if same and (old_nano is None or not any(counts) or rates[1] is None):
                continue
            if same and _stands_alike(rates[0], rates[1]):
                continue
            yield _Change(
                number, at, session, estimated, key, sum(counts), old_nano, *rates, price,
                (before.name.model, after.name.model),
            )  # fmt: skip

    def _looked_up(self, key: _Key) -> tuple[Lookup, Lookup, int]:
        found = self._lookups.get(key)
        if found is None:
            model = self.models[key.model_no]
            provider = booked_provider(model.client, model.name, model.upstream, key.channel)
            before, after = (
                Lookup(key.channel, key.context, provider, table.named(provider, model.name))
                for table in (self._before, self._after)
            )
            slotted = before.name.model in self._before.slotted_models or after.name.model in self._after.slotted_models
            found = self._lookups[key] = before, after, 2 * SLOT_US if slotted else DAY_US
        return found


def _stands_alike(one: Rate | None, other: Rate | None) -> bool:
    """Whether two rates of the same price are told alike: same layer, context, certainty."""
    if one is None or other is None:
        return one is other
    fields = ("layer", "priced_context", "list_basis", "confidence", "model")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


# -------------------------------------------------------------------- writing


def _write(connection: sqlite3.Connection, changes: list[_Change], snapshot_id: str) -> None:
    """Replaces prices, moves sums along, and labels the months that changed."""
    zone = Zone(get_meta(connection, "zone") or "UTC")
    slots: dict[tuple[int, int, int, int], list[int]] = {}
    for change in changes:
        where = (change.timestamp_us // SLOT_US, change.session_no, change.key.model_no, change.is_estimated)
        sums = slots.get(where)
        if sums is None:
            sums = slots[where] = [0, 0, 0]
        new = change.price.list_price_nano
        sums[0] += (new or 0) - (change.old_nano or 0)
        unpriced = (new is None) - (change.old_nano is None)
        sums[1] += unpriced
        sums[2] += unpriced * change.tokens
    connection.executemany(
        _UPDATE,
        (
            (
                change.price.list_price_nano,
                change.price.list_basis,
                change.price.price_confidence,
                change.price.priced_context or "",
                change.price.reason,
                change.event_no,
            )
            for change in changes
        ),
    )
    days: dict[tuple[int, int, int, int], list[int]] = {}
    for (slot, *rest), sums in slots.items():
        day = days.setdefault((zone.day(slot * SLOT_US), rest[0], rest[1], rest[2]), [0, 0, 0])
        for place, value in enumerate(sums):
            day[place] += value
    for table, first, rows in (("slots", "slot", slots), ("cells", "day", days)):
        statement = _ADD.format(table=table, first=first)
        connection.executemany(statement, ((*sums, *where) for where, sums in rows.items()))
    months = sorted({utc_month(slot * SLOT_US // DAY_US) for slot, *_ in slots})
    connection.executemany("INSERT OR REPLACE INTO price_months VALUES (?, ?)", ((one, snapshot_id) for one in months))


# -------------------------------------------------------------------- telling


def _rows(changes: list[_Change], comparison: _Comparison) -> list[Repriced]:
    groups: dict[tuple[Any, ...], list[_Change]] = {}
    months: dict[int, str] = {}
    for change in changes:
        day = change.timestamp_us // DAY_US
        month = months.get(day) or months.setdefault(day, utc_month(day))
        key = (month, change.key, change.old, change.new)
        groups.setdefault(key, []).append(change)
    merged: dict[tuple[str, ...], list[list[_Change]]] = {}
    for (month, key, old, new), found in groups.items():
        model = comparison.models[key.model_no]
        reason = _reason(found[0])
        about = (month, model.client, comparison.providers[key.model_no], model.name.model, key.context, reason)
        merged.setdefault((*about, _told(old), _told(new)), []).append(found)
    rows = []
    for about_all, parts in sorted(merged.items()):
        found = [change for part in parts for change in part]
        month_name, client, provider, name, context, reason, old_rate, new_rate = about_all
        before = sum(change.old_nano or 0 for change in found)
        after = sum(change.price.list_price_nano or 0 for change in found)
        rows.append(
            Repriced(
                month=month_name,
                client=client,
                provider=provider,
                model=name,
                requested_context=context,
                events=len(found),
                total_tokens=sum(change.tokens for change in found),
                old_usd=_usd(before),
                new_usd=_usd(after),
                difference_usd=_usd(after - before),
                newly_priced=sum(c.old_nano is None and c.price.list_price_nano is not None for c in found),
                newly_unpriced=sum(c.old_nano is not None and c.price.list_price_nano is None for c in found),
                reason=reason,
                old_rate=old_rate,
                new_rate=new_rate,
            )
        )
    return rows


def _reason(change: _Change) -> str:
    if change.looked_up[0] != change.looked_up[1]:
        return "name_changed"
    if change.old is None:
        return "new_rate"
    if change.new is None:
        return "rate_removed"
    if change.old.priced_context != change.new.priced_context:
        return "context_priced"
    return "rate_changed"


def _told(rate: Rate | None) -> str:
    """A rate in one line: input / output (cache read, writes) in USD per million tokens, and where it stands."""
    if rate is None:
        return ""
    fresh, read, five, hour, output = (_short(value) for value in rate.units(high=False))
    source = f"{rate.source} {rate.source_version}".strip()
    tier = f", above {rate.tier_from_tokens:,} tokens more" if rate.tier_from_tokens is not None else ""
    return f"{fresh}/{output} (read {read}, writes {five}/{hour}{tier}) {rate.layer}: {source}"


def _short(nano: int) -> str:
    return f"{(Decimal(nano).scaleb(-9)).normalize():f}"


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)


def _report(
    now: datetime, old: str, new: str, looked_at: int, rows: list[Repriced], problem: str, *, accepted: bool
) -> RepriceReport:
    before, after = (sum((getattr(row, name) for row in rows), Decimal(0)) for name in ("old_usd", "new_usd"))
    return RepriceReport(
        generated_at=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        old_snapshot_id=old,
        new_snapshot_id=new,
        accepted=accepted,
        events_looked_at=looked_at,
        months=sorted({row.month for row in rows}),
        rows=rows,
        totals=RepriceTotals(
            events=sum(row.events for row in rows),
            old_usd=before,
            new_usd=after,
            difference_usd=after - before,
            newly_priced=sum(row.newly_priced for row in rows),
            newly_unpriced=sum(row.newly_unpriced for row in rows),
        ),
        problem=problem or None,
    )
