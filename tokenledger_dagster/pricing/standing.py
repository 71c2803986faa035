"""How the prices of a home stand, and a month reconciled only when something changed: what Dagster's assets show.

Here: figures for people around the functions that do the work (`reprice.py`, `reconcile.py`, `lists/`). Not here: any
price.
"""

from __future__ import annotations

import hashlib
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.reconcile import CoverageReport, PricingReconcileSummary
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.exports.state import booked_state
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.booked_usage import last_used
from tokenledger_dagster.pricing.book import BookError, parse_book, read_bytes
from tokenledger_dagster.pricing.lists import litellm
from tokenledger_dagster.pricing.lists.store import ImportedList, current_lists, raw_content
from tokenledger_dagster.pricing.reconcile import reconcile
from tokenledger_dagster.pricing.snapshots import current

_KEPT = "_reconciled.json"


class BookFigures(msgspec.Struct, frozen=True):
    """A pricing book in figures."""

    digest: str
    """SHA-256 of its bytes; empty where there is none."""
    path: str
    providers: int
    models: int
    aliases: int
    updated_at: str | None
    source: str | None
    problem: str | None = None
    """Why it cannot be used; prices then stay as they were accepted."""


class Reconciled(msgspec.Struct, frozen=True):
    """The last reconciliation, and whether it was made just now."""

    summary: PricingReconcileSummary
    is_new: bool


def book_figures(home: Home) -> BookFigures:
    """Return the user's book in figures, zeros where there is none or where it cannot be used."""
    path = home.pricing_book_path
    try:
        content = read_bytes(path)
        document = None if content is None else parse_book(content, str(path)).document
    except BookError as error:
        return BookFigures("unusable", str(path), 0, 0, 0, None, None, str(error))
    if content is None or document is None:
        return BookFigures("", str(path), 0, 0, 0, None, None)
    entries = document.providers.values()
    return BookFigures(
        hashlib.sha256(content).hexdigest(),
        str(path),
        len(entries),
        sum(len(one.models) for one in entries),
        sum(len(one.model_aliases) for one in entries),
        document.meta.updated_at,
        document.meta.source,
    )


def imported(home: Home, source: str) -> ImportedList | None:
    """Return what was imported from a source, None where nothing was.  Raises PriceListError."""
    if not home.price_lists.exists():
        return None
    return next((one for one in current_lists(home) if one.source == source), None)


def installed_version() -> str | None:
    """Return the version of the built-in list's package that is installed here, None where it is not."""
    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return None


def models_in_use(home: Home) -> tuple[dict[str, date], dict[str, date]]:
    """Return when each model was used last, and when models are withdrawn, as far as an imported list tells.

    Raises PriceListError.
    """
    found = imported(home, litellm.SOURCE)
    if found is None:
        return last_used(home), {}
    return last_used(home), litellm.deprecations(raw_content(home, found), found.observed_at)


def reconcile_if_changed(
    home: Home, *, month: str | None, zone: str, write: bool = False, write_backup: bool = True
) -> Reconciled | None:
    """Reconcile, unless usage, prices and question are those of the last time.

    None where nothing was booked, and where the book cannot be used: its own check says what is wrong with it.
    """
    try:
        key = f"{booked_state(home)} {current(home).snapshot_id} {month} {zone} {write}"
        kept = home.tables / _KEPT
        known = _read(home.reconcile_summary_path)
        if known is not None and not write and _read_key(kept) == key and Path(known.workdir).exists():
            return Reconciled(known, is_new=False)
        made = reconcile(home, month=month, zone=zone, dry_run=not write, write_backup=write_backup)
    except (NothingToReport, BookError):
        return None
    write_json_atomic(kept, {"key": key})
    return Reconciled(made, is_new=True)


def last_coverage(home: Home) -> CoverageReport | None:
    """Return the coverage of the last reconciliation, None where there was none."""
    found = _read(home.reconcile_summary_path)
    return None if found is None else found.coverage


def _read(path: Path) -> PricingReconcileSummary | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=PricingReconcileSummary)
    except (OSError, msgspec.DecodeError):
        return None


def _read_key(path: Path) -> str | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]).get("key")
    except (OSError, msgspec.DecodeError):
        return None
