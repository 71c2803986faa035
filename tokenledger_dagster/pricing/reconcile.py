"""Reconciling prices with usage: what has no price, the patch that would mend it, and whether it does.

Here: one run and its files: `reconcile-YYYYMMDD-HHMMSS/` with the patch, the unpriced events and the summary, and the
pointer to the latest one. A dry run changes no book and checks it as patched in memory. Not here: judging
(`coverage.py`), the patch (`patch.py`), applying it (`apply.py`), booked prices, which stay (`reprice.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.reconcile import (
    CoverageReport,
    Disagreement,
    PricingReconcileSummary,
    ReconcileArtifacts,
    ReportedCost,
    UnpricedEvent,
)
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.fileio import encode_json, staged, write_atomic, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.booked_usage import Usage, booked_usage, latest_month, settled
from tokenledger_dagster.pricing.apply import apply_patch, write_book
from tokenledger_dagster.pricing.book import read_bytes
from tokenledger_dagster.pricing.coverage import check_of, coverage, reported_costs, rfc3339, unpriced_events
from tokenledger_dagster.pricing.patch import catalogue_rates, patch_of
from tokenledger_dagster.pricing.rate_table import Layer, RateTable
from tokenledger_dagster.pricing.rates import BOOK, COLUMNS, STANDARD
from tokenledger_dagster.pricing.snapshots import Snapshot, current, of_book
from tokenledger_dagster.usage.selection import as_date, iso_day

PATCH = "pricing-patch.reconcile.json"
UNPRICED = "unpriced-events.reconcile.jsonl"
SUMMARY = "reconcile-summary.json"
LEAST_PERCENT = Decimal(1)
"""From more than this difference on two sources disagree."""
_STAMP = "%Y%m%d-%H%M%S"


def reconcile(
    home: Home,
    *,
    month: str | None = None,
    zone: str = "UTC",
    workdir: Path | None = None,
    allow_unpriced: bool = False,
    dry_run: bool = True,
    write_backup: bool = True,
    allow_overwrite: bool = False,
    accept_suggestions: bool = False,
    now: datetime | None = None,
) -> PricingReconcileSummary:
    """Compare a month's usage with today's prices, and mend the pricing book as far as that can be done.

    Args:
        home: a home that was synced.
        month: YYYY-MM; None is that of the latest event.
        zone: the time zone in which months are cut.
        workdir: the folder for the run's own one; None is the home.
        allow_unpriced: what the caller makes of unpriced usage; only told in the summary.
        dry_run: leave the book as it is.
        write_backup: keep the book as it was.
        allow_overwrite: let the patch replace existing rates.
        accept_suggestions: take suggestions for meant.
        now: time of the run; None is the clock's.

    Raises:
        NothingToReport: nothing was booked in that month.
        BookError: the pricing book cannot be used.
    """
    stamp = now or datetime.now(UTC)
    book = read_bytes(home.pricing_book_path)
    place = str(home.pricing_book_path)
    before = current(home) if book is None else of_book(home, book, place)
    with settled(home) as connection:
        month, usage = booked(connection, month, zone)
        report = coverage(usage, before.table, month, zone=zone, pricing=None if book is None else place, now=stamp)
        folder = _own_folder(workdir or home.root, stamp)
        write_events(folder / UNPRICED, unpriced_events(connection, month, zone, usage, before.table))
    patch = patch_bytes(report, before.table, accept_suggestions=accept_suggestions, now=stamp)
    write_atomic(folder / PATCH, patch)
    applied = apply_patch(
        book, patch, allow_overwrite=allow_overwrite, now=stamp, place=place, patch_place=str(folder / PATCH)
    )
    backup = None if dry_run else write_book(home, applied, write_backup)
    after = before if applied.content is None else of_book(home, applied.content, place)
    summary = PricingReconcileSummary(
        generated_at=rfc3339(stamp),
        pricing=place,
        month_filter=month,
        workdir=str(folder),
        allow_unpriced=allow_unpriced,
        dry_run=dry_run,
        write_backup=write_backup,
        allow_overwrite_model_rates=allow_overwrite,
        accept_suggestions=accept_suggestions,
        artifacts=ReconcileArtifacts(
            patch_path=str(folder / PATCH),
            unpriced_events_path=str(folder / UNPRICED),
            backup_path=None if backup is None else str(backup),
        ),
        coverage=report,
        pricing_apply=applied.told(wrote=not dry_run and applied.changed),
        pricing_check=check_of(coverage(usage, after.table, month, zone=zone, now=stamp)),
        disagreements=[*disagreements(usage, before), *_misreported(usage)],
    )
    write_json_atomic(folder / SUMMARY, summary)
    write_json_atomic(home.reconcile_summary_path, summary)
    return summary


def booked(connection: sqlite3.Connection, month: str | None, zone: str) -> tuple[str, list[Usage]]:
    """Return a month, that of the latest event where none is named, and what was booked in it.

    Raises:
        NothingToReport: nothing was.
        UsageError: it is no month.
    """
    found = month or latest_month(connection, zone)
    usage = [] if found is None else booked_usage(connection, found, zone)
    if found is None or not usage:
        raise NothingToReport(f"no events for {found or 'any month'}; `tokenledger doctor` shows which logs were found")
    return found, usage


def patch_bytes(report: CoverageReport, table: RateTable, *, accept_suggestions: bool, now: datetime) -> bytes:
    """Return the patch for a report as JSON."""
    supplied = catalogue_rates(report, table)
    return encode_json(patch_of(report, supplied, accept_suggestions=accept_suggestions, now=now))


def write_events(path: Path, events: Iterable[UnpricedEvent]) -> int:
    """Write events, one JSON object a line, and return how many; the file appears when it is whole."""
    encode, count = msgspec.json.Encoder().encode, 0
    with staged(path) as temporary, temporary.open("wb") as handle:
        for event in events:
            handle.write(encode(event) + b"\n")
            count += 1
    return count


def _own_folder(parent: Path, now: datetime) -> Path:
    """A new folder named by the time; a second run within the same second gets a number."""
    name, number = f"reconcile-{now.astimezone(UTC).strftime(_STAMP)}", 1
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


# -------------------------------------------------------------------- disagreements


def disagreements(usage: Iterable[Usage], snapshot: Snapshot) -> list[Disagreement]:
    """Return where sources differ by more than 1 % on rates of booked models, in contexts that were booked.

    The first source that has a model is the one that prices it; every later one is compared with that. Rates are those
    of the last day on which the model was booked.
    """
    booked_by_key: dict[tuple[str, str, str], list[Usage]] = {}
    for one in usage:
        if one.needs_price:
            name = snapshot.table.named(one.biller, one.name)
            booked_by_key.setdefault((one.biller, one.channel, name.model), []).append(one)
    found: dict[tuple[object, ...], Disagreement] = {}
    for (biller, channel, model), rows in booked_by_key.items():
        sources = [
            (layer.name, some)
            for layer in snapshot.table.layers
            if (some := _rows(layer, biller if layer.name == BOOK else channel, channel, model))
        ]
        for theirs, their_rows in sources[1:]:
            for row in _compared(sources[0], (theirs, their_rows), biller, rows):
                key = (row.provider, row.channel, row.model, row.context, row.unit, row.theirs)
                other = found.get(key)
                found[key] = row if other is None else _joined(row, other)
    return sorted(found.values(), key=lambda one: (one.provider or "", one.channel, one.model, one.context, one.unit))


def _rows(layer: Layer, whose: str, channel: str, model: str) -> list[list[str]]:
    """A layer's rows of a model as a price list has them, those of a book too."""
    return [[channel, *row[1 : len(COLUMNS)]] for row in layer.rows.get((whose, model), ())]


def _compared(
    ours: tuple[str, list[list[str]]], theirs: tuple[str, list[list[str]]], biller: str, usage: Sequence[Usage]
) -> Iterator[Disagreement]:
    from tokenledger_dagster.pricing.lists import compare

    day = max(one.day for one in usage)
    contexts = {STANDARD, *(one.requested_context for one in usage)}
    for one in compare.disagreements(ours[1], theirs[1], as_date(day), LEAST_PERCENT / 100):
        if one.context in contexts:
            yield Disagreement(
                provider=biller if ours[0] == BOOK else None,
                channel=one.channel,
                model=one.model,
                context=one.context,
                unit=one.unit,
                ours=ours[0],
                theirs=theirs[0],
                ours_usd_per_mtok=one.ours_usd_per_mtok,
                theirs_usd_per_mtok=one.theirs_usd_per_mtok,
                difference_percent=one.difference_percent,
                day=iso_day(day),
                event_count=sum(some.priceable_count for some in usage),
            )


def _joined(one: Disagreement, other: Disagreement) -> Disagreement:
    """The same disagreement met under two billers."""
    latest = max(one, other, key=lambda some: some.day)
    return msgspec.structs.replace(latest, event_count=one.event_count + other.event_count)


def _misreported(usage: Iterable[Usage]) -> list[ReportedCost]:
    return [row for row in reported_costs(usage) if abs(row.difference_percent) > LEAST_PERCENT]
