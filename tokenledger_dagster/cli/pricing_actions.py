"""The actions of ``tokenledger pricing`` that look at usage, change the book, or import a list.

Here: what is read and written, exit codes. Not here: arguments (`cli.pricing`), tables (`cli.pricing_text`), judging
(`pricing`).
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.reconcile import RECONCILE_SCHEMA_VERSION, PricingApply
from tokenledger_dagster.errors import NothingToReport, TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.pricing.coverage import rfc3339
from tokenledger_dagster.settings import Settings

_LOCK_SECONDS = 600.0
_REPRICE = "booked prices stay as they are; `tokenledger pricing reprice` shows what this changes"


# -------------------------------------------------------------------- usage and prices


def _month(args: argparse.Namespace, settings: Settings) -> tuple[str | None, str]:
    """Month and zone that are asked for; what is no month is told before any log is read."""
    from tokenledger_dagster.ingest.booked_usage import month_bounds

    month, zone = args.month or settings.month, common.zone_name(settings)
    if month is not None:
        month_bounds(month, zone)
    return month, zone


def _synced(args: argparse.Namespace, settings: Settings) -> Home:
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()  # says what is wrong with it, if anything is
    return home


def _tell_waiting(home: Home, connection: sqlite3.Connection) -> None:
    """Today's prices are what a book is tried with, and may not be those that reports show."""
    from tokenledger_dagster.ingest.accepted import standing

    if standing(home, connection).waiting is not None:
        common.note("judged by today's prices, which this ledger has not accepted; see `tokenledger pricing reprice`")


def run_check(args: argparse.Namespace, settings: Settings) -> int:
    """Prints what has no price; exits 1 where anything has none."""
    from tokenledger_dagster.cli.pricing_text import check_text
    from tokenledger_dagster.ingest.booked_usage import settled
    from tokenledger_dagster.pricing.coverage import check_of, coverage
    from tokenledger_dagster.pricing.reconcile import booked
    from tokenledger_dagster.pricing.snapshots import current

    month, zone = _month(args, settings)
    home = _synced(args, settings)
    snapshot = current(home)
    with settled(home) as connection:
        month, usage = booked(connection, month, zone)
        _tell_waiting(home, connection)
    found = check_of(coverage(usage, snapshot.table, month, zone=zone, now=common.now()))
    if args.format == "json":
        output.print_json(_headed(found, timezone=zone, price_snapshot_id=snapshot.snapshot_id))
    else:
        sys.stdout.write(check_text(found))
    return 0 if found.passed or args.allow_unpriced else 1


def run_coverage(args: argparse.Namespace, settings: Settings) -> int:
    """Prints what has no price and what it might be; writes patch and events where asked to."""
    from tokenledger_dagster.cli.pricing_text import coverage_text
    from tokenledger_dagster.fileio import write_atomic
    from tokenledger_dagster.ingest.booked_usage import settled
    from tokenledger_dagster.pricing.coverage import coverage, unpriced_events
    from tokenledger_dagster.pricing.reconcile import booked, patch_bytes, write_events
    from tokenledger_dagster.pricing.snapshots import current

    month, zone = _month(args, settings)
    home = _synced(args, settings)
    snapshot = current(home)
    table, stamp = snapshot.table, common.now()
    book = str(home.pricing_book_path) if snapshot.has_book else None
    with settled(home) as connection:
        month, usage = booked(connection, month, zone)
        _tell_waiting(home, connection)
        report = coverage(usage, table, month, zone=zone, pricing=book, now=stamp)
        if args.write_unpriced_events:
            events = unpriced_events(connection, month, zone, usage, table)
            count = write_events(Path(args.write_unpriced_events), events)
            common.note(f"wrote {count:,} events without a price to {args.write_unpriced_events}")
    if args.write_patch:
        write_atomic(args.write_patch, patch_bytes(report, table, accept_suggestions=False, now=stamp))
        common.note(f"wrote {args.write_patch}; fill in its rates, then `tokenledger pricing apply` it")
    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(coverage_text(report))
    return 0


# -------------------------------------------------------------------- the book


def run_apply(args: argparse.Namespace, settings: Settings) -> int:
    """Tries or writes a patch."""
    from tokenledger_dagster.cli.pricing_text import apply_text
    from tokenledger_dagster.pricing.apply import apply_patch, read_patch, write_book
    from tokenledger_dagster.pricing.book import read_bytes

    home, patch = common.open_home(settings), Path(args.patch)
    path = home.pricing_book_path
    applied = apply_patch(
        read_bytes(path),
        read_patch(patch),
        allow_overwrite=args.allow_overwrite_model_rates,
        now=common.now(),
        place=str(path),
        patch_place=str(patch),
    )
    backup = write_book(home, applied, args.backup) if args.write else None
    found = applied.told(wrote=args.write and applied.changed)
    if args.format == "json":
        about = {"pricing": path, "patch": patch, "dry_run": not args.write, "backup_path": backup}
        output.print_json(_headed(found, **about))
    else:
        sys.stdout.write(apply_text(found, str(path), None if backup is None else str(backup)))
    _tell_reprice(found)
    return 0


def run_reconcile(args: argparse.Namespace, settings: Settings) -> int:
    """Makes the patch that a month needs, tries or writes it; exits 1 where the book as patched does not price all."""
    from tokenledger_dagster.cli.pricing_text import reconcile_text
    from tokenledger_dagster.ingest.manifest import connect
    from tokenledger_dagster.pricing.reconcile import reconcile

    month, zone = _month(args, settings)
    home = _synced(args, settings)
    connection = connect(home, read_only=True)
    try:
        _tell_waiting(home, connection)
    finally:
        connection.close()
    summary = reconcile(
        home,
        month=month,
        zone=zone,
        workdir=Path(args.workdir).expanduser().absolute() if args.workdir else None,
        allow_unpriced=args.allow_unpriced,
        dry_run=not args.write,
        write_backup=args.backup,
        allow_overwrite=args.allow_overwrite_model_rates,
        accept_suggestions=args.accept_suggestions,
        now=common.now(),
    )
    if args.format == "json":
        output.print_json(summary)
    else:
        sys.stdout.write(reconcile_text(summary))
    _tell_reprice(summary.pricing_apply)
    return 0 if summary.pricing_check.passed or args.allow_unpriced else 1


def _tell_reprice(applied: PricingApply) -> None:
    """Says what is left to do where the book has other rates now."""
    names = applied.summary
    rates = len(names.models_added) > len(names.models_without_rates) or names.models_filled or names.models_overwritten
    if applied.wrote_pricing and (rates or names.aliases_added or names.fields_added):
        common.note(_REPRICE)


# -------------------------------------------------------------------- imported lists


def run_import(args: argparse.Namespace, settings: Settings) -> int:
    """Fetches and keeps a price list."""
    from tokenledger_dagster.cli.pricing_text import lists_text
    from tokenledger_dagster.ingest.manifest import writer_lock
    from tokenledger_dagster.pricing.lists.store import DEFAULT_URLS, import_list

    home = common.open_home(settings)
    common.note_if_busy(home)
    with writer_lock(home, _LOCK_SECONDS) as held:
        if not held:
            raise TokenLedgerError(f"{home.lock_path}: another process writes this ledger; try again when it is done")
        imported = import_list(home, args.source, args.origin or DEFAULT_URLS[args.source])
    if args.format == "json":
        output.print_json(_headed(imported))
    else:
        sys.stdout.write(lists_text([imported]))
    common.note(_REPRICE)
    return 0


def run_lists(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the imported price lists; exits 3 where there is none."""
    from tokenledger_dagster.cli.pricing_text import lists_text
    from tokenledger_dagster.ingest.manifest import writer_lock
    from tokenledger_dagster.pricing.lists.store import current_lists, remove_list

    home = common.open_home(settings)
    if args.remove:
        with writer_lock(home, _LOCK_SECONDS) as held:
            if not held:
                raise TokenLedgerError(f"{home.lock_path}: another process writes this ledger; try again later")
            removed = remove_list(home, args.remove)
        if not removed:
            raise NothingToReport(f"no list of {args.remove} was imported into {home.root}")
        common.note(f"{args.remove} is left out; its files stay. {_REPRICE}")
        return 0
    found = current_lists(home)
    if not found:
        raise NothingToReport(f"no price list was imported into {home.root}; see `tokenledger pricing import --help`")
    if args.format == "json":
        head = {"schema_version": RECONCILE_SCHEMA_VERSION, "generated_at": rfc3339(common.now())}
        output.print_json({**head, "lists": found})
    else:
        sys.stdout.write(lists_text(found))
    return 0


def _headed(value: msgspec.Struct, **more: Any) -> dict[str, Any]:
    """A struct as a document of its own."""
    head = {"schema_version": RECONCILE_SCHEMA_VERSION, "generated_at": rfc3339(common.now())}
    return {**head, **more, **msgspec.structs.asdict(value)}
