"""The user's pricing book at run time: its rates as rows of a rate table, its names, its subscriptions' fees.

Here: reading `pricing.json`, refusing what cannot be meant, and turning entries into rows. Not here: its shape
(`contracts.pricing_book`), what is merely suspicious (`lint.py`), changing it (`apply.py`). Rows are effective-dated
and half-open; a row that another one `supersedes` prices nothing; a unit without a rate pays its parent's; a rate of 0
counts only where the row says `free`, so that nobody's zero becomes a silent $0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.pricing_book import (
    BOOK_SCHEMA_VERSION,
    UNIT_FIELDS,
    ModelEntry,
    PricingBook,
    ProviderEntry,
    RateRow,
    Units,
)
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.names import ModelName, resolve_model
from tokenledger_dagster.models.rules import squash
from tokenledger_dagster.pricing.rates import STANDARD

MIN_CANONICAL = 85
"""From here on a name of the book is a spelling of the canonical model; below it stands for itself."""
ALIAS_CONFIDENCE = 85
ALIAS_RULE = "book.alias"
MODEL_RULE = "book.model"
MOST_BYTES = 16 << 20
LARGEST_USD_PER_MTOK = Decimal(1_000_000)
"""Beyond this a rate cannot be meant, and would not fit the columns."""
_NANO = Decimal(10**9)
_ORDER = (
    "input_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
    "output_usd_per_mtok",
)
"""The units in the order of `rates.UNIT_COLUMNS`."""


class BookError(TokenLedgerError):
    """The pricing book cannot be used as it is; the message names file, place and remedy."""


class Row(msgspec.Struct, frozen=True):
    """One rate row of the book and where it stands."""

    provider: str
    model: str
    """As the book spells it."""
    place: str
    """Path within the document, as messages name it."""
    row: RateRow


class Book:
    """A pricing book that can be priced with."""

    def __init__(self, document: PricingBook, place: str) -> None:
        self.document = document
        self.place = place
        self.as_of = as_of(document)
        # a provider's own name is nobody's alias
        self._providers = {
            alias: target for alias, target in document.provider_aliases.items() if target in document.providers
        } | {name: name for name in document.providers}
        self._models: dict[str, dict[str, str]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self.rows: list[list[str]] = []
        """Cells in the order of `rates.BOOK_COLUMNS`."""
        for name, provider in document.providers.items():
            self._models[name] = {look_up_key(canonical(model)): canonical(model) for model in provider.models}
            # an exact spelling beats another one of the same model
            self._aliases[name] = {look_up_key(alias): target for alias, target in provider.model_aliases.items()}
        names: dict[str, list[str]] = {}
        for name, key in self._providers.items():
            names.setdefault(key, []).append(name)
        gone = superseded(document)
        for one in book_rows(document):
            # under every name of the provider: a request is looked up by the one that it was booked under
            for cells in _cells(one, document, self.as_of, gone):
                self.rows += [[*cells[:-1], name] for name in names.get(one.provider, ())]

    def provider(self, name: str) -> str | None:
        """Return the book's key of a provider, by its name or an alias; None where the book has none."""
        return self._providers.get(name)

    def named(self, provider: str, name: ModelName) -> ModelName:
        """Return the name under which the book prices a model; the name itself where it says nothing of it.

        A model of the book matches by canonical id or by its own spelling (confidence 100: it is spelled out there); an
        alias leads to a model of the book or of the price list (confidence 85: curated).
        """
        key = self._providers.get(provider)
        if key is None:
            return name
        spelling = look_up_key(name.model)
        if (model := self._models[key].get(spelling)) is not None:
            if name.confidence >= MIN_CANONICAL:
                return msgspec.structs.replace(name, model=model)
            return msgspec.structs.replace(name, model=model, confidence=100, rule=MODEL_RULE)
        seen = {spelling}
        target = self._aliases[key].get(spelling)
        while target is not None:
            spelling = look_up_key(canonical(target))
            if spelling in seen:
                return name  # `load_book` refuses cycles; a book made in memory must not hang
            seen.add(spelling)
            following = None if spelling in self._models[key] else self._aliases[key].get(look_up_key(target))
            if following is None:
                confidence = min(ALIAS_CONFIDENCE, name.confidence) if name.confidence >= 60 else ALIAS_CONFIDENCE
                model = self._models[key].get(spelling, canonical(target))
                return msgspec.structs.replace(name, model=model, confidence=confidence, rule=ALIAS_RULE)
            target = following
        return name

    def subscriptions(self) -> Iterator[tuple[str, Decimal]]:
        """Yield every provider with a monthly fee above 0, and the fee in USD."""
        for name, provider in self.document.providers.items():
            if provider.subscription_usd_month > 0:
                yield name, provider.subscription_usd_month


def load_book(path: Path) -> Book | None:
    """Return the book in a file, None where there is no such file.

    Raises:
        BookError: it is no pricing book, or says something that cannot be meant.
    """
    content = read_bytes(path)
    return None if content is None else parse_book(content, str(path))


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a book, None where there is none.  Raises BookError for what is no readable file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BookError(f"{path}: larger than {MOST_BYTES >> 20} MB; a pricing book is a few kilobytes of JSON")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BookError(f"{path}: {error.strerror or error}; make it a readable file or remove it") from error


def parse_book(content: bytes, place: str) -> Book:
    """Return the book in these bytes; `place` is what messages call them.  Raises BookError."""
    document = parse_document(content, place)
    if problem := next(_problems(document), None):
        raise BookError(f"{place}: {problem}")
    return Book(document, place)


def parse_document(content: bytes, place: str) -> PricingBook:
    """Return the document in the contract's types, its figures unjudged.  Raises BookError."""
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=PricingBook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BookError(f"{place}: is no pricing book ({error}); `tokenledger pricing lint` says more") from error
    if document.schema_version > BOOK_SCHEMA_VERSION:
        raise BookError(f"{place}: schema_version {document.schema_version} is newer than this program; update it")
    return document


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


# -------------------------------------------------------------------- what cannot be meant


def _problems(document: PricingBook) -> Iterator[str]:
    """What makes a book unusable, first things first."""
    for alias, target in document.provider_aliases.items():
        if target in document.provider_aliases:
            yield f"provider_aliases.{alias}: leads to another alias, {target}; name the provider itself"
    for provider, entry in document.providers.items():
        if cycle := alias_cycle(entry.model_aliases):
            yield f"providers.{provider}.model_aliases: {' -> '.join(cycle)} is a circle; let one of them name a model"
        if not _fits(entry.subscription_usd_month):
            amount = entry.subscription_usd_month
            yield f"providers.{provider}.subscription_usd_month: {amount} is no monthly fee; write USD, 0 or more"
    for one in book_rows(document):
        yield from _row_problems(one)
    yield from _overlaps(document)


def _row_problems(one: Row) -> Iterator[str]:
    row, tier = one.row, one.row.tier
    for name, units in (("", row), ("tier.", tier)):
        for field in UNIT_FIELDS if units is not None else ():
            value = getattr(units, field)
            if value is not None and not _fits(value):
                yield f"{one.place}.{name}{field}: {value} is no rate; write USD per million tokens, 0 or more"
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
    return value.is_finite() and 0 <= value <= LARGEST_USD_PER_MTOK


def _is_clock(text: str | None) -> bool:
    if text is None or text == "24:00":
        return True
    return len(text) == 5 and text[2] == ":" and text[:2].isdecimal() and text[:2] < "24" and text[3:] in ("00", "30")


def _distinguishes(name: ModelName) -> bool:
    """Whether a spelling means one variant of the model, which the plain model must not be priced by."""
    return any(key not in ("date", "version", "channel", "region") for key in name.modifiers)


def look_up_key(name: str) -> str:
    """Return what names that mean the same have in common: neither case, nor dots or dashes, tell them apart."""
    return squash(name.strip().lower())


# -------------------------------------------------------------------- rows


def _cells(one: Row, document: PricingBook, latest: date, gone: set[str]) -> Iterator[list[str]]:
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


def latest_day(document: PricingBook, today: date) -> date:
    """Return the day a book's age is counted from; far in the past where it does not say."""
    found = as_of(document)
    return today - timedelta(days=36_500) if found == date.max else found


def provider_entry(document: PricingBook, provider: str) -> ProviderEntry | None:
    """Return a provider's entry by its name or an alias."""
    return document.providers.get(provider) or document.providers.get(document.provider_aliases.get(provider, ""))
