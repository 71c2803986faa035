"""From the prices of a list, whoever publishes it, to rate rows.

Here: decoding untrusted JSON, exact money, what an unpriced unit costs, which model an entry stands for, and which of
several entries of one model counts. Not here: a list's own fields (`litellm.py`, `models_dev.py`) and where lists are
kept (`store.py`). Rates are whole nano-USD per million tokens; no float is ever made of one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import Any

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.rules import read_config
from tokenledger_dagster.pricing.context import channels, requested_context
from tokenledger_dagster.pricing.generate_match import MIN_NAME_CONFIDENCE
from tokenledger_dagster.pricing.rates import COLUMNS, STANDARD, STRICT_CONTEXT, UNIT_COLUMNS, Units

CONFIDENCE = 80
"""Of every row: the lists say what a model costs, not since when."""
MOST_ENTRIES = 100_000
"""Of one list; the real ones have a few thousand."""

_LIMIT_NANO = 10_000 * 10**9
"""A rate above 10,000 USD per million tokens is no price of anything."""
_LONGEST_NUMBER = 100
_MOST_TOKENS = 10**9
_LONGEST_KEY = 200
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_EXACT = Context(prec=2 * _LONGEST_NUMBER, rounding=ROUND_HALF_EVEN)
_REMEDY = "fetch the list anew from its publisher"
_FREE_ENDINGS = (":free", "-free")
_URGENCIES = ("speed=", "processing=", "service_tier=")


class PriceListError(TokenLedgerError):
    """A price list, or what is kept of one, cannot be used; the message names the file and the remedy."""


class Unusable(Exception):  # noqa: N818 - not a fault: an entry that is passed over, its reason the message
    """One entry of a list gives no rate; caught where entries are counted."""


class Converted(msgspec.Struct, frozen=True):
    """What a list gives."""

    rows: list[list[str]]
    """Rate rows in the order of `rates.COLUMNS`, sorted."""
    source_version: str
    """First 12 hex digits of the content's SHA-256, `@`, the UTC day it was first seen."""
    skipped: dict[str, int]
    """Entries that gave no row, by reason. Together with the keys that rows name they are all entries of the list."""
    notes: dict[str, int]
    """What rows do not say, by kind: `ambiguous` counts (channel, model, context), the others entries."""


class Prices(msgspec.Struct, frozen=True):
    """Rates of one context, nano-USD per million tokens."""

    low: Units
    high: Units | None = None
    """Of a whole request whose prompt exceeds `tier_from_tokens`."""
    tier_from_tokens: int | None = None

    @property
    def text(self) -> tuple[int, int]:
        """The two rates without which there is no price: input and output."""
        return self.low[0], self.low[4]

    def times(self, factor: Decimal) -> Prices:
        """Return every rate multiplied, rounded half-even once."""
        return Prices(_scaled(self.low, factor), self.high and _scaled(self.high, factor), self.tier_from_tokens)


class Fields(dict[str, Any]):
    """A JSON object; `repeated` holds the names that stand in it more than once."""

    repeated: frozenset[str] = frozenset()

    def only(self, name: str) -> object:
        """Return what stands under a name.

        Raises:
            Unusable: two things do.
        """
        if name in self.repeated:
            raise Unusable("duplicate_key")
        return self[name]


def decode(content: bytes, name: str) -> Fields:
    """Return a list's JSON object. Numbers stay the text they were written as; `nano` reads them.

    Raises:
        PriceListError: not UTF-8, not JSON, nested too deeply, or not an object; `name` stands first in the message.
    """
    try:
        text = content.decode("utf-8-sig")
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_fields)
    except UnicodeDecodeError as error:
        raise PriceListError(f"{name}: byte {error.start} is not UTF-8; {_REMEDY}") from error
    except json.JSONDecodeError as error:
        raise PriceListError(f"{name}: is not JSON (line {error.lineno}, column {error.colno}); {_REMEDY}") from error
    except RecursionError as error:
        raise PriceListError(f"{name}: is nested too deeply for a price list; {_REMEDY}") from error
    if not isinstance(found, Fields):
        raise PriceListError(f"{name}: is not a JSON object of models; {_REMEDY}")
    return found


def fields_of(value: object, reason: str = "not_an_object") -> Fields:
    """Return an object of the list.

    Raises:
        Unusable: it is something else, or says one thing twice.
    """
    if not isinstance(value, Fields):
        raise Unusable(reason)
    if value.repeated:
        raise Unusable("duplicate_key")
    return value


def nano(value: object, exponent: int) -> int | None:
    """Return a price as nano-USD per million tokens, None where the list gives none (null).

    Args:
        value: the number as it was written.
        exponent: power of ten from the list's unit to nano-USD per million tokens: 15 from USD per token, 9 from USD
            per million tokens.

    Raises:
        Unusable: `bad_rate`: no number, negative, not finite, above 10,000 USD, or above 0 and lost in rounding.
    """
    if value is None:
        return None
    amount = number(value)
    if amount is None or amount < 0:
        raise Unusable("bad_rate")
    scaled = amount.scaleb(exponent, _EXACT)
    if scaled > _LIMIT_NANO:
        raise Unusable("bad_rate")
    whole = _whole(scaled)
    if amount and not whole:
        raise Unusable("bad_rate")
    return whole


def number(value: object) -> Decimal | None:
    """Return a finite number of the list exactly, None for anything else."""
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER or not _NUMBER.fullmatch(value):
        return None
    return _EXACT.create_decimal(value)


def tokens(value: object) -> int | None:
    """Return a number of tokens, None for anything but a whole one from 0 to a billion."""
    amount = number(value)
    if amount is None or not 0 <= amount <= _MOST_TOKENS or amount != int(amount):
        return None
    return int(amount)


def priced(low: Mapping[str, int], high: Mapping[str, int], tier_from_tokens: int | None) -> Prices:
    """Return the rates of one context from those that a list gives, by unit.

    A unit that is absent or 0 is not priced apart: reads and 5-minute writes cost what input does, 1-hour writes what
    5-minute ones do. Above the tier a unit without a rate of its own keeps the one below it, and one that has a rate
    only there is not priced apart either.

    Args:
        low: rates by the names of `rates.UNIT_COLUMNS`, input and output among them.
        high: the same above the tier.
        tier_from_tokens: None for no tier; then `high` is not looked at.
    """
    if tier_from_tokens is None:
        return Prices(_units(low, None))
    return Prices(_units(low, None), _units(high, low), tier_from_tokens)


@lru_cache(maxsize=4096)
def channel_of(source: str, provider: str) -> str | None:
    """Return our channel for a list's own provider (`config/price_list_channels.csv`), None for an unmapped one."""
    return next((channel for pattern, channel in _patterns(source) if fnmatchcase(provider, pattern)), None)


class Offers:
    """Gathers the prices of one list's entries, and at the end one row for each (channel, model, context)."""

    def __init__(self, source: str, content: bytes, observed: date, name: str) -> None:
        self._source = source
        self._version = f"{hashlib.sha256(content).hexdigest()[:12]}@{observed.isoformat()}"
        self._day = observed.isoformat()
        self._name = name
        self._entries = 0
        self._skipped: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._found: dict[tuple[str, str, str], list[_Offer]] = {}
        self._keys: set[str] = set()

    def read(self, take: Callable[..., None], *arguments: object) -> None:
        """Calls `take(self, *arguments)` for one entry, and counts the entry where it turns out unusable.

        Raises:
            PriceListError: there are more entries than any list has.
        """
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise PriceListError(f"{self._name}: has more than {MOST_ENTRIES} entries; {_REMEDY}")
        try:
            take(self, *arguments)
        except Unusable as reason:
            self._skipped[str(reason)] += 1

    def add(self, key: str, bare: str, channel: str, prices: Mapping[str, Prices], notes: Iterable[str] = ()) -> None:
        """Takes the prices of one entry.

        Args:
            key: the list's own key, unique in it.
            bare: the key without what names its channel.
            channel: ours.
            prices: by context, `standard` among them.
            notes: what the entry says beside its rates, counted if it is taken.

        Raises:
            Unusable: `bad_key`, `unknown_model`, `other_variant`, `zero_rate` or `free_with_price`.
        """
        if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
            raise Unusable("bad_key")
        name = resolve_model(bare, "", self._day)
        if name.confidence < MIN_NAME_CONFIDENCE or name.maker is None:
            raise Unusable("unknown_model")
        modifiers = {**name.modifiers, "channel": channel}
        if modifiers.get("variant", "free") != "free" or "tier" in modifiers:
            # a router's variant or one tier of a model has a price of its own, which is not the model's
            raise Unusable("other_variant")
        if bare.lower().endswith(_FREE_ENDINGS):
            modifiers["variant"] = "free"
        standard = prices[STANDARD]
        if not all(standard.text):
            if any((*standard.low, *(standard.high or ()))) or "variant" not in modifiers:
                raise Unusable("zero_rate")
        elif "variant" in modifiers:
            raise Unusable("free_with_price")
        self._notes.update(notes)
        self._keys.add(key)
        rank = (bare != name.model, -name.confidence, len(key), key)
        own = "yes" if channels("maker").get(name.maker) == channel else ""
        base = requested_context("", None, None, modifiers)
        for context, rates in self._in_contexts(base, prices):
            self._found.setdefault((channel, name.model, context), []).append(_Offer(rank, key, own, rates))

    def converted(self) -> Converted:
        """Return the rows, and what was passed over."""
        rows = []
        named = set()
        for place, offers in self._found.items():
            best = min(offers, key=lambda offer: offer.rank)
            named.add(best.key)
            self._notes["ambiguous"] += any(offer.prices != best.prices for offer in offers)
            rows.append(self._row(place, best))
        self._skipped["same_model_again"] += len(self._keys - named)
        return Converted(sorted(rows), self._version, _counted(self._skipped), _counted(self._notes))

    def _in_contexts(self, base: str, prices: Mapping[str, Prices]) -> Iterator[tuple[str, Prices]]:
        parts = [part for part in base.split(";") if part != STANDARD]
        for context, rates in prices.items():
            if context == STANDARD:
                yield base, rates
            elif STRICT_CONTEXT in parts or base.startswith(_URGENCIES):
                self._notes["variant_of_a_variant"] += 1
            elif not all(rates.text):
                self._notes["variant_without_price"] += 1
            else:
                yield ";".join([context, *parts]), rates

    def _row(self, place: tuple[str, str, str], offer: _Offer) -> list[str]:
        prices = offer.prices
        cells = dict.fromkeys(COLUMNS, "")
        cells.update(zip(("channel", "model", "context"), place, strict=True))
        cells.update(zip(UNIT_COLUMNS, map(str, prices.low), strict=True))
        if prices.tier_from_tokens is not None and prices.high is not None:
            cells.update(tier_from_tokens=str(prices.tier_from_tokens), tier_inclusive="false")
            cells.update((f"{unit}_high", str(rate)) for unit, rate in zip(UNIT_COLUMNS, prices.high, strict=True))
        cells.update(own_channel=offer.own_channel, price_list_model=offer.key, source=self._source)
        cells.update(source_version=self._version, status="active", confidence=str(CONFIDENCE))
        return list(cells.values())


class _Offer(msgspec.Struct, frozen=True):
    """One entry's rates for a (channel, model, context), and its place among the others."""

    rank: tuple[bool, int, int, str]
    key: str
    own_channel: str
    prices: Prices


@cache
def _patterns(source: str) -> tuple[tuple[str, str], ...]:
    rows = read_config("price_list_channels.csv")
    return tuple((row["key"], row["channel"]) for row in rows if row["list"] == source)


def _fields(pairs: list[tuple[str, Any]]) -> Fields:
    found = Fields(pairs)
    if len(found) < len(pairs):
        found.repeated = frozenset(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return found


def _units(given: Mapping[str, int], below: Mapping[str, int] | None) -> Units:
    def rate(unit: str, parent: int) -> int:
        if below is None:
            return given.get(unit) or parent
        # a unit that is priced above the tier only is a slip of the list's
        return (given.get(unit) or below[unit]) if below.get(unit) else parent

    input_rate = rate("input", 0)
    write = rate("cache_write_5m", input_rate)
    return input_rate, rate("cache_read", input_rate), write, rate("cache_write_1h", write), rate("output", 0)


def _scaled(units: Units, factor: Decimal) -> Units:
    first, second, third, fourth, fifth = (_whole(_EXACT.multiply(Decimal(unit), factor)) for unit in units)
    return first, second, third, fourth, fifth


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN, _EXACT))


def _counted(counter: Counter[str]) -> dict[str, int]:
    return {reason: counter[reason] for reason in sorted(counter) if counter[reason]}
