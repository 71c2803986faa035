"""How the prices of a home stand, and a month reconciled only when something changed: what Dagster's assets show.

Here: figures for people around the functions that do the work (`reprice.py`, `reconcile.py`, `lists/`). Not here: any
price.
"""

from __future__ import annotations

import hashlib
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import msgspec

from tokenledger_dagster.contracts.reconcile import PricingReconcileSummary
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.exports.state import booked_state
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.booked_usage import last_used
from tokenledger_dagster.pricing.book import BookError, parse_book, read_bytes
from tokenledger_dagster.pricing.lists import litellm
from tokenledger_dagster.pricing.lists.store import ImportedList, current_lists, raw_content
from tokenledger_dagster.pricing.reconcile import SUMMARY, reconcile
from tokenledger_dagster.pricing.snapshots import current

_KEPT = "_reconciled.json"
_Document = TypeVar("_Document")


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

    None where nothing was booked in the month, and where the book cannot be used: its own check says what is wrong
    with it.  What is returned, `last_reconciled` returns until the next call, whoever reconciles by hand meanwhile.

    Raises:
        BookError: the run's own patch cannot be applied.
    """
    kept = home.tables / _KEPT
    try:
        if (content := read_bytes(home.pricing_book_path)) is not None:
            parse_book(content, str(home.pricing_book_path))
    except BookError:
        kept.unlink(missing_ok=True)
        return None
    key = f"{booked_state(home)} {current(home).snapshot_id} {month} {zone} {write}"
    last = _read(kept, _Kept)
    if last is not None and not write and last.key == key and (known := last_reconciled(home)) is not None:
        return Reconciled(known, is_new=False)
    try:
        made = reconcile(home, month=month, zone=zone, dry_run=not write, write_backup=write_backup)
    except NothingToReport:
        kept.unlink(missing_ok=True)
        return None
    write_json_atomic(kept, _Kept(key, made.workdir))
    return Reconciled(made, is_new=True)


def last_reconciled(home: Home) -> PricingReconcileSummary | None:
    """Return what `reconcile_if_changed` found last, None where it found nothing to judge."""
    last = _read(home.tables / _KEPT, _Kept)
    return None if last is None else _read(Path(last.workdir) / SUMMARY, PricingReconcileSummary)


class _Kept(msgspec.Struct, frozen=True):
    """Of the last reconciliation: what it stood on, and its folder."""

    key: str
    workdir: str


def _read(path: Path, type_: type[_Document]) -> _Document | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, msgspec.DecodeError):
        return None
