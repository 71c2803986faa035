"""What makes a pricing book unusable: figures, days and names that cannot be meant.

Here: the first thing that is wrong, for whoever would price with it. Not here: everything that is wrong or merely
suspicious (`lint.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from tokenledger_dagster.contracts.pricing_book import UNIT_FIELDS, PricingBook
from tokenledger_dagster.pricing.book_rows import (
    LARGEST_FEE_USD,
    LARGEST_USD_PER_MTOK,
    SMALLEST_USD_PER_MTOK,
    Row,
    book_rows,
    canonical,
    day,
    look_up_key,
    overlap,
    superseded,
)
from tokenledger_dagster.pricing.rates import STANDARD


def problems(document: PricingBook) -> Iterator[str]:
    """What makes a book unusable, first things first."""
    for alias, target in document.provider_aliases.items():
        if target in document.provider_aliases:
            yield f"provider_aliases.{alias}: leads to another alias, {target}; name the provider itself"
    for provider, entry in document.providers.items():
        if cycle := alias_cycle(entry.model_aliases):
            yield f"providers.{provider}.model_aliases: {' -> '.join(cycle)} is a circle; let one of them name a model"
        if not is_fee(entry.subscription_usd_month):
            amount = _shown(entry.subscription_usd_month)
            yield (
                f"providers.{provider}.subscription_usd_month: {amount} is no monthly fee; write USD, 0 or more, with "
                "at most nine decimal places"
            )
    for one in book_rows(document):
        yield from _row_problems(one)
    yield from _overlaps(document)


def _row_problems(one: Row) -> Iterator[str]:
    row, tier = one.row, one.row.tier
    for name, units in (("", row), ("tier.", tier)):
        for field in UNIT_FIELDS if units is not None else ():
            value = getattr(units, field)
            if value is not None and not _fits(value):
                yield f"{one.place}.{name}{field}: {_shown(value)} is no rate; write USD per million tokens, 0 or more"
    for field in ("valid_from", "valid_to", "checked", "observed_at"):
        try:
            day(getattr(row, field))
        except ValueError:
            yield f"{one.place}.{field}: {getattr(row, field)!r} is no day; write it as 2026-02-18"
            return
    if row.valid_from and row.valid_to and row.valid_to <= row.valid_from:
        yield f"{one.place}: ends on {row.valid_to} before it begins on {row.valid_from}; the end is exclusive"
    if (row.tod_from is None) != (row.tod_to is None) or not all(map(_is_clock, (row.tod_from, row.tod_to))):
        yield f"{one.place}: tod_from and tod_to are UTC times on the half hour, both or none, as 13:30 and 24:00"
    if tier is not None and not 0 < tier.above_tokens < 2**53:
        yield f"{one.place}.tier.above_tokens: {tier.above_tokens} is no prompt size; write tokens above 0"
    if not 0 <= row.confidence <= 100:
        yield f"{one.place}.confidence: {row.confidence}; write a whole number from 0 to 100"


def _overlaps(document: PricingBook) -> Iterator[str]:
    gone = superseded(document)
    seen: dict[tuple[str, str, str], list[Row]] = {}
    for one in book_rows(document):
        if one.row.id in gone and one.row.id is not None:
            continue
        key = (one.provider, canonical(one.model), one.row.context or STANDARD)
        for other in seen.setdefault(key, []):
            if overlap(one.row, other.row):
                yield (
                    f"{one.place}: holds at the same time as {other.place} in context {one.row.context}; "
                    "end one with valid_to, or let it supersede the other's id"
                )
        seen[key].append(one)


def alias_cycle(aliases: Mapping[str, str]) -> list[str]:
    """Return the names of the first circle of aliases, empty where there is none."""
    return next(alias_circles(aliases), [])


def alias_circles(aliases: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield every circle of aliases; names that are looked up alike (`A.1`, `a-1`) are the same, and no circle."""
    following = {
        look_up_key(alias): target
        for alias, target in aliases.items()
        if alias == target or look_up_key(alias) != look_up_key(target)
    }
    done: set[str] = set()
    for start in aliases:
        path: dict[str, str] = {}
        name, key = start, look_up_key(start)
        while key in following and key not in path and key not in done:
            path[key] = name
            name = following[key]
            key = look_up_key(name)
        if key in path:
            names = list(path.values())[list(path).index(key) :]
            yield [*names, names[0]]
        done.update(path)


def _fits(value: Decimal) -> bool:
    # what is below a nano-USD would be rounded to a price of nothing
    return value.is_finite() and (value == 0 or SMALLEST_USD_PER_MTOK <= value <= LARGEST_USD_PER_MTOK)


def is_fee(value: Decimal) -> bool:
    """Say whether an amount can be a monthly fee in USD."""
    if not value.is_finite() or not 0 <= value <= LARGEST_FEE_USD:
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -9


def _shown(value: Decimal) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _is_clock(text: str | None) -> bool:
    if text is None or text == "24:00":
        return True
    return len(text) == 5 and text[2] == ":" and text[:2].isdecimal() and text[:2] < "24" and text[3:] in ("00", "30")
