"""Pricing the booked past anew: what another price snapshot changes, and accepting it.

Only requests of models whose rates differ between the two snapshots are looked at, and only those whose price changes
are written; the sums that reports are answered from follow from the same rows. Months without a change keep their
label. Here: comparing and writing, under the writer lock. Not here: which snapshot is in force (`ingest.accepted`),
printing (`cli.pricing_reprice`).

Rates are looked up once per stretch of time in which they hold, and SQLite multiplies (`reprice.sql`); what has numbers
beyond 64 bits is priced one by one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tokenledger_dagster.contracts.reprice import FeeChange, Repriced, RepriceReport, RepriceTotals
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.accepted import accept, booked_models, fees_changed, standing, touched
from tokenledger_dagster.ingest.cells import utc_month
from tokenledger_dagster.ingest.ledger import SUM_FLAG
from tokenledger_dagster.ingest.manifest import connect, get_meta, transaction, writer_lock
from tokenledger_dagster.ingest.settling import settle_packs
from tokenledger_dagster.ingest.uncollected import no_collection
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.pricing.context import booked_provider
from tokenledger_dagster.pricing.events import Lookup, found_price, judged
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import Rate
from tokenledger_dagster.pricing.snapshots import Snapshot
from tokenledger_dagster.quarters import SLOT_US

_SQL = Path(__file__).with_name("reprice.sql")
_WAIT_SECONDS = 600.0
_SAFE = 2**62
_MTOK = 1_000_000
_ADD = (
    "UPDATE {table} SET list_price_nano = list_price_nano + ?, unpriced_count = unpriced_count + ?, "
    "unpriced_tokens = unpriced_tokens + ? WHERE {first} = ? AND session_no = ? AND model_no = ? AND is_estimated = ?"
)


class _Stretch(NamedTuple):
    """A time within one UTC month in which one model, channel and context have one old and one new rate."""

    model_no: int
    channel: str
    context: str
    from_us: int
    until_us: int
    before: Lookup
    after: Lookup
    old: Rate | None
    new: Rate | None
    how: str
    """`whole`, `scaled`, `single`: see `reprice.sql`."""

    @property
    def month(self) -> str:
        return utc_month(self.from_us // DAY_US)


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
            found = standing(home, connection)
            moment = now or datetime.now(UTC)
            if found.waiting is None:
                if not found.is_lost:
                    accept(home, connection, found.snapshot)
                own = found.snapshot.snapshot_id
                return _report(moment, own, own, 0, [], found.problem, accepted=True)
            return _compare(home, connection, found.snapshot, found.waiting, write=write, now=moment)


def _compare(
    home: Home, connection: sqlite3.Connection, old: Snapshot, new: Snapshot, *, write: bool, now: datetime
) -> RepriceReport:
    comparison = _Comparison(connection, old.table, new.table)
    comparison.price()
    rows = comparison.rows()
    fees = [
        FeeChange(provider=name, old_usd_month=Decimal(before), new_usd_month=Decimal(after))
        for name, (before, after) in fees_changed(old, new, connection).items()
    ]
    accepted = write or not (rows or fees)
    if accepted:
        with transaction(connection):
            comparison.write(new.snapshot_id)
            accept(home, connection, new)
    found = _report(now, old.snapshot_id, new.snapshot_id, comparison.looked_at, rows, "", accepted=accepted)
    return msgspec.structs.replace(found, fees=fees)


class _Comparison:
    """Booked requests of models whose rates differ, priced under both tables; lives in temporary tables."""

    def __init__(self, connection: sqlite3.Connection, before: RateTable, after: RateTable) -> None:
        self._db = connection
        self._before = before
        self._after = after
        numbers = touched(before, after, connection)
        self._listed = ",".join(map(str, sorted(numbers))) or "NULL"
        self._models = {one[0]: one for one in booked_models(connection) if one[0] in numbers}
        self._providers: dict[int, str] = dict(connection.execute("SELECT model_no, provider FROM models"))
        self._statements = dict(
            part.partition("\n")[::2] for part in _SQL.read_text("utf-8").split("-- statement: ")[1:]
        )
        self.looked_at = 0
        self._stretches: list[_Stretch] = []

    def price(self) -> None:
        """Prices all of them under the new table."""
        for name in ("tables", "repriced"):
            self._run(name)
        self._stretches = [one for one in self._found() if one.old != one.new or one.before.name != one.after.name]
        marks = ", ".join("?" * 29)
        rows = (_row(number, one) for number, one in enumerate(self._stretches))
        self._db.executemany(f"INSERT INTO stretches VALUES ({marks})", rows)
        self._run("index")
        ways = {one.how for one in self._stretches}
        for how in ways - {"single"}:
            self._run(f"price_{how}")
        if "single" in ways:
            self._db.executemany("INSERT INTO repriced VALUES (?, ?, ?, ?, ?)", self._one_by_one())
        alike = [number for number, one in enumerate(self._stretches) if _stands_alike(one)]
        self._db.execute(self._statements["unchanged"], (json.dumps(alike),))

    def write(self, snapshot_id: str) -> None:
        """Replaces prices, moves sums along, and labels the months that changed; call inside a transaction."""
        zone = Zone(get_meta(self._db, "zone") or "UTC")
        slots = self._run("slots").fetchall()
        self._run("write")
        days: dict[tuple[int, ...], list[int]] = {}
        for slot, *rest in slots:
            sums = days.setdefault((zone.day(slot * SLOT_US), *rest[:3]), [0, 0, 0])
            for place, value in enumerate(rest[3:]):
                sums[place] += value
        self._db.executemany(_ADD.format(table="slots", first="slot"), ((*row[4:], *row[:4]) for row in slots))
        self._db.executemany(_ADD.format(table="cells", first="day"), ((*sums, *where) for where, sums in days.items()))
        months = sorted({utc_month(slot * SLOT_US // DAY_US) for slot, *_ in slots})
        labels = ((month, snapshot_id) for month in months)
        self._db.executemany("INSERT OR REPLACE INTO price_months VALUES (?, ?)", labels)

    def rows(self) -> list[Repriced]:
        """What changes, by month, model and reason."""
        merged: dict[tuple[str, ...], list[int]] = {}
        for number, *sums in self._run("sums"):
            one = self._stretches[number]
            _, client, _, name = self._models[one.model_no]
            about = (one.month, client, self._providers[one.model_no], name.model, one.context, _reason(one))
            found = merged.setdefault((*about, _told(one.old), _told(one.new)), [0] * 6)
            for place, value in enumerate(sums):
                found[place] += value
        return [_repriced(about, sums) for about, sums in sorted(merged.items())]

    def _run(self, name: str) -> sqlite3.Cursor:
        text = self._statements[name]
        for part in ("requests", "product"):
            text = text.replace(f"{{{part}}}", self._statements[part])
        return self._db.execute(text.replace("{models}", self._listed))

    def _found(self) -> Iterator[_Stretch]:
        """Days in order, joined where month and rates are the same."""
        days: dict[int, list[int]] = {}
        for model_no, day in self._run("days"):
            days.setdefault(model_no, []).append(day)
        self.looked_at, most = self._run("largest").fetchone()
        for key in self._run("keys").fetchall():
            yield from self._stretches_of(key, days[key[0]], most)

    def _stretches_of(self, key: tuple[int, str, str], days: list[int], most: int) -> Iterator[_Stretch]:
        before, after, is_slotted = self._look_up(*key)
        # rates by the time of day change on the half hour
        step = 2 * SLOT_US if is_slotted else DAY_US
        last: _Stretch | None = None
        for start in (day * DAY_US + at for day in days for at in range(0, DAY_US, step)):
            old, new = before.rate(self._before, start), after.rate(self._after, start)
            one = _Stretch(*key, start, start + step, before, after, old, new, _how(new, most))
            follows = last is not None and (not is_slotted or last.until_us == start)
            if last is not None and follows and last[5:] == one[5:] and last.month == one.month:
                last = last._replace(until_us=one.until_us)
                continue
            if last is not None:
                yield last
            last = one
        if last is not None:
            yield last

    def _look_up(self, model_no: int, channel: str, context: str) -> tuple[Lookup, Lookup, bool]:
        _, client, upstream, name = self._models[model_no]
        provider = booked_provider(client, name, upstream, channel)
        before, after = (
            Lookup(channel, context, provider, table.named(provider, name)) for table in (self._before, self._after)
        )
        is_slotted = before.name.model in self._before.slotted_models or after.name.model in self._after.slotted_models
        return before, after, is_slotted

    def _one_by_one(self) -> Iterator[tuple[int, int, int, int | None, int | None]]:
        for number, place, at, old_nano, flags, *counts in self._run("one_by_one").fetchall():
            one = self._stretches[place]
            rate = one.after.rate(self._after, at)
            is_sum = SUM_FLAG in flags.split(",")
            price = found_price(one.after, rate, tuple(counts[:5]), (counts[5], counts[6]), is_sum=is_sum)
            yield place, number, sum(counts), old_nano, price.list_price_nano


def _row(number: int, one: _Stretch) -> tuple[Any, ...]:
    """One row of the temporary table ``stretches``."""
    rate, found = one.new, one.after
    basis, confidence = judged(found.name.confidence, rate) if rate is not None else (None, 0)
    units: tuple[int, ...] = (0,) * 14
    if rate is not None and one.how != "single":
        units = _all_units(rate)
        if one.how == "whole":
            units = tuple(unit // _MTOK for unit in units)
    return (
        number,
        one.model_no,
        one.channel,
        one.context,
        one.from_us,
        one.until_us,
        int(rate is not None),
        rate.tier_from_tokens if rate is not None else None,
        int(rate is not None and rate.tier_inclusive),
        *units,
        basis,
        confidence,
        rate.priced_context if rate is not None else "",
        found.reason,
        found.name.confidence if found.is_usable else 0,
        one.how,
    )


def _how(rate: Rate | None, most: int) -> str:
    """How requests of at most so many tokens are priced at a rate."""
    if rate is None:
        return "whole"
    units = _all_units(rate)
    if max(units) * most >= _SAFE:
        return "single"
    return "scaled" if any(unit % _MTOK for unit in units) else "whole"


def _all_units(rate: Rate) -> tuple[int, ...]:
    low, high = ((*rate.units(high=high), *rate.tool_units(high=high)) for high in (False, True))
    return (*low, *high)


def _stands_alike(one: _Stretch) -> bool:
    """Whether requests of the same price are also told alike: same layer, context, certainty."""
    before, after = one.before, one.after
    if one.old is None or one.new is None:
        names = (before.reason, before.name.confidence) == (after.reason, after.name.confidence)
        return one.old is one.new and names
    fields = ("layer", "priced_context", "list_basis", "confidence", "model")
    alike = all(getattr(one.old, field) == getattr(one.new, field) for field in fields)
    return alike and before.name.confidence == after.name.confidence


# -------------------------------------------------------------------- telling


def _repriced(about: tuple[str, ...], sums: list[int]) -> Repriced:
    month, client, provider, model, context, reason, old_rate, new_rate = about
    events, tokens, old, new, newly_priced, newly_unpriced = sums
    return Repriced(
        month=month,
        client=client,
        provider=provider,
        model=model,
        requested_context=context,
        events=events,
        total_tokens=tokens,
        old_usd=_usd(old),
        new_usd=_usd(new),
        difference_usd=_usd(new - old),
        newly_priced=newly_priced,
        newly_unpriced=newly_unpriced,
        reason=reason,
        old_rate=old_rate,
        new_rate=new_rate,
    )


def _reason(one: _Stretch) -> str:
    if one.before.name.model != one.after.name.model:
        return "name_changed"
    if one.old is None:
        return "new_rate"
    if one.new is None:
        return "rate_removed"
    if one.old.priced_context != one.new.priced_context:
        return "context_priced"
    return "rate_changed"


def _told(rate: Rate | None) -> str:
    """A rate in one line: input / output (cache read, writes) in USD per million tokens, and where it stands."""
    if rate is None:
        return ""
    fresh, read, five, hour, output = (_short(value) for value in rate.units(high=False))
    source = f"{rate.source} {rate.source_version}".strip()
    tier = f", more above {rate.tier_from_tokens:,} tokens" if rate.tier_from_tokens is not None else ""
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
