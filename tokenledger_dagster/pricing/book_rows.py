"""The rate rows of a pricing book: where they stand, what their names and days mean, and their cells in a rate table.

Here: one row, and all rows of a document. Not here: reading the file and its names (`book.py`), what cannot be meant
(`book_problems.py`). Rows are effective-dated and half-open; a row that another one `supersedes` prices nothing; a unit
without a rate pays its parent's; a rate of 0 counts only where the row says `free`, so that nobody's zero becomes a
silent $0.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

from tokenledger_dagster.contracts.pricing_book import UNIT_FIELDS, ModelEntry, PricingBook, RateRow, Units
from tokenledger_dagster.models.names import ModelName, resolve_model
from tokenledger_dagster.models.rules import squash
from tokenledger_dagster.pricing.rates import STANDARD

MIN_CANONICAL = 85
"""From here on a name of the book is a spelling of the canonical model; below it stands for itself."""
LARGEST_USD_PER_MTOK = Decimal(1_000_000)
"""Beyond this a rate cannot be meant, and would not fit the columns."""
SMALLEST_USD_PER_MTOK = Decimal("0.000000001")
LARGEST_FEE_USD = 10_000_000
_NANO = Decimal(10**9)


class Row(msgspec.Struct, frozen=True):
    """One rate row of the book and where it stands."""

    provider: str
    model: str
    """As the book spells it."""
    place: str
    """Path within the document, as messages name it."""
    row: RateRow


def book_rows(document: PricingBook) -> Iterator[Row]:
    """Yield every rate row of a book, those that are superseded too."""
    for provider, entry in document.providers.items():
        for model, found in entry.models.items():
            yield from model_rows(provider, model, found)


def model_rows(provider: str, model: str, entry: ModelEntry) -> Iterator[Row]:
    """Yield the rows of one model: its own, those of `contexts`, those of `rates`."""
    place = f"providers.{provider}.models.{model}"
    own = RateRow(**{name: getattr(entry, name) for name in RateRow.__struct_fields__})
    if any(getattr(entry, field) is not None for field in UNIT_FIELDS) or not (entry.contexts or entry.rates):
        yield Row(provider, model, place, own)
    for context, row in entry.contexts.items():
        yield Row(provider, model, f"{place}.contexts.{context}", msgspec.structs.replace(row, context=context))
    for number, row in enumerate(entry.rates):
        yield Row(provider, model, f"{place}.rates[{number}]", row)


def canonical(model: str) -> str:
    """Return the canonical id that a name of the book spells; the name itself where it spells none."""
    name = resolve_model(model, "", "")
    return name.model if name.confidence >= MIN_CANONICAL and not _distinguishes(name) else model


def as_of(document: PricingBook) -> date:
    """Return the UTC day up to which a book's announced rates count; the last day there is where it does not say."""
    text = document.meta.updated_at
    try:
        found = datetime.fromisoformat(text) if text else datetime.max
        return (found if found.tzinfo is None else found.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        return date.max


def prices(row: Units) -> bool:
    """Say whether a row prices anything: it needs rates for input and output, and zeros only where it is free."""
    return _usable(row, "input_usd_per_mtok") is not None and _usable(row, "output_usd_per_mtok") is not None


def superseded(document: PricingBook) -> set[str]:
    """Return the ids of rows that later rows correct."""
    return {one.row.supersedes for one in book_rows(document) if one.row.supersedes}


def day(text: str | None) -> date | None:
    """Return a day of the book.  Raises ValueError for what is none, or is spelt so that it could not be sorted."""
    found = date.fromisoformat(text) if text else None
    if found is not None and found.isoformat() != text:
        raise ValueError(text)
    return found


def is_scheduled(row: RateRow, latest: date) -> bool:
    """Say whether a row is only announced: by its status, or because it begins after the book's own day (`as_of`)."""
    start = day(row.valid_from)
    return row.status == "scheduled" or (start is not None and start > latest)


def overlap(one: RateRow, other: RateRow) -> bool:
    """Say whether two rows of one model and context hold at the same moment."""
    for start, end, nothing, everything in (
        ("valid_from", "valid_to", "", "9999"),
        ("tod_from", "tod_to", "", "99"),
    ):
        if (getattr(one, start) or nothing) >= (getattr(other, end) or everything):
            return False
        if (getattr(other, start) or nothing) >= (getattr(one, end) or everything):
            return False
    return True


def _distinguishes(name: ModelName) -> bool:
    """Whether a spelling means one variant of the model, which the plain model must not be priced by."""
    return any(key not in ("date", "version", "channel", "region") for key in name.modifiers)


def look_up_key(name: str) -> str:
    """Return what names that mean the same have in common: neither case, nor dots or dashes, tell them apart."""
    return squash(name.strip().lower())


def cells(one: Row, document: PricingBook, latest: date, gone: set[str]) -> Iterator[list[str]]:
    """Yield a row in the order of `rates.BOOK_COLUMNS`; nothing where it is superseded or prices nothing."""
    row = one.row
    if (row.id is not None and row.id in gone) or not prices(row):
        return
    low = _nano(row, None)
    high = _nano(row.tier, row) if row.tier is not None else None
    yield [
        "",
        canonical(one.model),
        row.context or STANDARD,
        row.valid_from or "",
        row.valid_to or "",
        row.tod_from or "",
        row.tod_to or "",
        str(row.tier.above_tokens) if row.tier is not None else "",
        ("true" if row.tier.inclusive else "false") if row.tier is not None else "",
        *map(str, low[:5]),
        *(map(str, high[:5]) if high is not None else [""] * 5),
        "",
        one.model,
        row.source or document.meta.source or "pricing.json",
        document.meta.version or "",
        "scheduled" if is_scheduled(row, latest) else "active",
        str(row.confidence),
        *map(str, low[5:]),
        *map(str, (high or low)[5:]),
        one.provider,
    ]


def _nano(units: Units, below: Units | None) -> list[int]:
    """The five rates in table order and the two of tools, nano-USD per million tokens."""

    def own(field: str) -> Decimal | None:
        found = _usable(units, field)
        return found if found is not None or below is None else _usable(below, field)

    fresh, output = own("input_usd_per_mtok") or Decimal(0), own("output_usd_per_mtok") or Decimal(0)
    write = _or(own("cache_write_usd_per_mtok"), fresh)
    found = [
        fresh,
        _or(own("cache_read_usd_per_mtok"), fresh),
        write,
        _or(own("cache_write_1h_usd_per_mtok"), write),
        output,
        _or(own("tool_input_usd_per_mtok"), fresh),
        _or(own("tool_output_usd_per_mtok"), output),
    ]
    return [int((value * _NANO).to_integral_value(rounding="ROUND_HALF_EVEN")) for value in found]


def _usable(units: Units, field: str) -> Decimal | None:
    value: Decimal | None = getattr(units, field)
    if value is not None and value == 0 and not getattr(units, "free", False):
        return None
    return value


def _or(value: Decimal | None, parent: Decimal) -> Decimal:
    return parent if value is None else value
