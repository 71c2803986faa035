"""What is wrong with one rate row of a pricing book by itself: its figures, dates and context.

Here: rules that look at one row alone, and what all rules look at (`Look`). Not here: rows beside each other
(`lint_history.py`) or beside the price list (`lint_list.py`), and values that are no figure at all (`lint_shape.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from tokenledger_dagster.contracts.pricing_book import UNIT_FIELDS, PricingBook, Units
from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.models.names import SYNTHETIC
from tokenledger_dagster.pricing.book_rows import (
    LARGEST_USD_PER_MTOK,
    SMALLEST_USD_PER_MTOK,
    Row,
    as_of,
    book_rows,
    canonical,
    day,
    superseded,
)
from tokenledger_dagster.pricing.context import provider_of_channel
from tokenledger_dagster.pricing.findings import error, shown, warning
from tokenledger_dagster.pricing.lint_shape import nearest
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import BOOK, MIN_CONFIDENCE, STANDARD

_LARGEST_TIER = 2**53
_SINGLE = re.compile(r"(?:service_tier|speed)=[a-z][a-z_-]*")
"""A tier or speed that a log may name, though no price list does."""
_ORDER = (
    ("output_below_input", "output_usd_per_mtok", "input_usd_per_mtok", True, "output costs less than input"),
    ("read_above_input", "cache_read_usd_per_mtok", "input_usd_per_mtok", False, "a cache read costs more than input"),
    (
        "hour_write_below_five_minute_write",
        "cache_write_1h_usd_per_mtok",
        "cache_write_usd_per_mtok",
        True,
        "a one-hour cache write costs less than a five-minute one",
    ),
)
"""Rule, the unit at fault, the one it is compared with, whether being below it is the fault, in words."""
CONTEXTS = tuple(
    ";".join(part for part in parts if part) or STANDARD
    for parts in itertools.product(
        ("", "speed=fast", "processing=batch", "service_tier=priority", "service_tier=flex"),
        ("", "endpoint=global"),
        ("", "variant=free"),
    )
)
"""Every context that price lists tell apart."""


class Look(NamedTuple):
    """A book that is being judged, and what it is compared with."""

    document: PricingBook
    broken: frozenset[str]
    """Places of values that could not be read (`lint_shape.Reading`)."""
    rows: list[Row]
    live: list[Row]
    """Rows that no other one supersedes."""
    today: date
    as_of: date
    table: RateTable
    channels: dict[str, list[str]]
    """Channels of the price list that a provider of the book bills on."""

    @classmethod
    def at(cls, document: PricingBook, broken: frozenset[str], today: date, table: RateTable) -> Look:
        """Return a look at a book on a day."""
        rows, gone = list(book_rows(document)), superseded(document)
        listed = {channel for layer in table.layers if layer.name != BOOK for channel, _ in layer.rows}
        channels = {}
        for provider in document.providers:
            names = {provider, *(alias for alias, to in document.provider_aliases.items() if to == provider)}
            channels[provider] = sorted(one for one in listed if provider_of_channel(one) in names or one in names)
        live = [one for one in rows if one.row.id is None or one.row.id not in gone]
        return cls(document, broken, rows, live, today, as_of(document), table, channels)

    def is_dated(self, one: Row) -> bool:
        """Say whether a row's context and stretch of time could be read."""
        fields = ("context", "valid_from", "valid_to", "tod_from", "tod_to")
        if any(f"{one.place}.{field}" in self.broken for field in fields):
            return False
        return _has_days(one) and next(_times(one), None) is None


def row_findings(look: Look) -> Iterator[LintFinding]:
    """Yield what is wrong with every row by itself."""
    for one in look.rows:
        yield from _form(one)
        for place, units in blocks(one):
            yield from _amounts(place, units)
    for one in look.live:
        if canonical(one.model) == SYNTHETIC:
            continue
        yield from _missing(one)
        for place, units in blocks(one):
            yield from _zeros(place, units, free=one.row.free)
            yield from _order(place, units)
        yield from _tier(one)


# -------------------------------------------------------------------- form


def _form(one: Row) -> Iterator[LintFinding]:
    row, place = one.row, one.place
    for field in ("valid_from", "valid_to", "checked", "observed_at"):
        if not _is_day(text := getattr(row, field)):
            message = f"{shown(text)} is no day; write it as 2026-02-18"
            yield error("bad_date", f"{place}.{field}", message, actual=text)
    if _has_days(one) and row.valid_from and row.valid_to and row.valid_to <= row.valid_from:
        message = (
            f"ends on {row.valid_to}, not after it begins on {row.valid_from}; the end is the first day without it"
        )
        yield error("interval_reversed", f"{place}.valid_to", message, actual=row.valid_to)
    yield from _times(one)
    if row.tier is not None and not 0 < row.tier.above_tokens < _LARGEST_TIER:
        message = f"{shown(row.tier.above_tokens)} is no prompt size; write tokens above 0, such as 200000"
        yield error("tier_bad_threshold", f"{place}.tier.above_tokens", message, actual=row.tier.above_tokens)
    if not 0 <= row.confidence <= 100:
        message = f"{shown(row.confidence)} is no confidence; write a whole number from 0 to 100"
        yield error("confidence_out_of_range", f"{place}.confidence", message, actual=row.confidence, expected="0-100")
    if 0 <= row.confidence < MIN_CONFIDENCE:
        message = f"{row.confidence} is a guess, and prices nothing; from {MIN_CONFIDENCE} on a rate is used"
        yield warning("confidence_too_low", f"{place}.confidence", message, actual=row.confidence)
    if row.context not in CONTEXTS:
        meant = nearest(row.context, list(CONTEXTS))
        remedy = f"did you mean {meant}?" if meant else f"use {STANDARD}, speed=fast, processing=batch, ..."
        message = f"no request has the context {shown(row.context)!r}, so this row prices nothing; {remedy}"
        is_key = place.endswith(f".contexts.{row.context}")
        tell = error if meant or not _SINGLE.fullmatch(row.context) else warning
        message = message if tell is error else f"no price list knows the context {shown(row.context)!r}; is it meant?"
        yield tell(
            "unknown_context", place if is_key else f"{place}.context", message, actual=row.context, expected=meant
        )


def _times(one: Row) -> Iterator[LintFinding]:
    row, remedy = one.row, "write UTC times on the half hour, as 13:30, the last one as 24:00"
    times = {field: getattr(row, field) for field in ("tod_from", "tod_to")}
    bad = {field: text for field, text in times.items() if text is not None and not _is_half_hour(text)}
    for field, text in bad.items():
        yield error("bad_time_of_day", f"{one.place}.{field}", f"{shown(text)} is no time; {remedy}", actual=text)
    if bad:
        return
    if (row.tod_from is None) != (row.tod_to is None):
        missing = "tod_from" if row.tod_from is None else "tod_to"
        yield error("bad_time_of_day", f"{one.place}.{missing}", f"is missing beside the other; {remedy}, both or none")
    elif row.tod_from is not None and row.tod_to is not None and row.tod_from >= row.tod_to:
        message = f"{row.tod_to} is not after {row.tod_from}; write two rows, one until 24:00 and one from 00:00"
        yield error("bad_time_of_day", f"{one.place}.tod_to", message, actual=row.tod_to)


def _has_days(one: Row) -> bool:
    return _is_day(one.row.valid_from) and _is_day(one.row.valid_to)


def _is_day(text: str | None) -> bool:
    try:
        day(text)
    except ValueError:
        return False
    return True


def _is_half_hour(text: str) -> bool:
    return text == "24:00" or (
        text[:2].isascii() and text[:2].isdigit() and text[:2] < "24" and text[2:] in (":00", ":30")
    )


# -------------------------------------------------------------------- figures


def blocks(one: Row) -> Iterator[tuple[str, Units]]:
    """Yield a row's rates and those of its tier, each with its place."""
    yield one.place, one.row
    if one.row.tier is not None:
        yield f"{one.place}.tier", one.row.tier


def stated(units: Units) -> dict[str, Decimal]:
    """Return the rates that are written down."""
    return {field: value for field in UNIT_FIELDS if (value := getattr(units, field)) is not None}


def _amounts(place: str, units: Units) -> Iterator[LintFinding]:
    for field, value in stated(units).items():
        if value < 0:
            message = f"{shown(value)} is below 0; write USD per million tokens"
            yield error("negative_rate", f"{place}.{field}", message, actual=value, expected=">= 0")
        elif value > LARGEST_USD_PER_MTOK or 0 < value < SMALLEST_USD_PER_MTOK:
            message = f"{shown(value)} cannot be USD per million tokens; was it meant per something else?"
            yield error("unit_slip", f"{place}.{field}", message, actual=value)


def _missing(one: Row) -> Iterator[LintFinding]:
    for field in ("input_usd_per_mtok", "output_usd_per_mtok"):
        if getattr(one.row, field) is None:
            message = f"has no {field}, so the book does not price it; enter the rate once it is known"
            yield warning("missing_rate", f"{one.place}.{field}", message)
    if one.row.tier is not None and not stated(one.row.tier):
        message = "has no rate, so it changes nothing; enter the rates above the threshold, or remove it"
        yield warning("missing_rate", f"{one.place}.tier", message)


def _zeros(place: str, units: Units, *, free: bool) -> Iterator[LintFinding]:
    for field, value in stated(units).items():
        if value == 0 and not free:
            message = "0 without `free: true` prices nothing; write `free: true` where it costs nothing, null where "
            message += "it is not known or not priced apart"
            yield error("zero_rate_without_free", f"{place}.{field}", message, actual=value, expected="null")


def _order(place: str, units: Units) -> Iterator[LintFinding]:
    for rule, field, other, is_below, words in _ORDER:
        value, than = getattr(units, field), getattr(units, other)
        if value is None or than is None or not all(0 < rate <= LARGEST_USD_PER_MTOK for rate in (value, than)):
            continue
        if value == than or (value < than) != is_below:
            continue
        message = f"{words} ({shown(value)} against {shown(than)}); were they exchanged?"
        yield warning(rule, f"{place}.{field}", message, actual=value)


def _tier(one: Row) -> Iterator[LintFinding]:
    if one.row.tier is None:
        return
    base = stated(one.row)
    for field, value in stated(one.row.tier).items():
        if field in base and value < base[field]:
            message = f"{shown(value)} above the threshold is less than {shown(base[field])} below it; "
            message += "a tier is never cheaper: exchange them, or remove the tier"
            place = f"{one.place}.tier.{field}"
            yield error("tier_not_above_base", place, message, actual=value, expected=f">= {shown(base[field])}")
