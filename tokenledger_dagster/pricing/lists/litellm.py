"""LiteLLM's `model_prices_and_context_window.json` as rate rows.

Here: that file's fields: prices in USD per token, a suffix for each tier and service, the same model under many keys.
Not here: what any list has (`converted.py`). The file has no dates, and says of itself that unknown fields are to be
ignored.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.context import channels
from tokenledger_dagster.pricing.lists.converted import (
    Converted,
    Fields,
    Offers,
    Prices,
    Unusable,
    channel_of,
    decode,
    fields_of,
    nano,
    number,
    priced,
    tokens,
)
from tokenledger_dagster.pricing.rates import STANDARD, UNIT_COLUMNS

SOURCE = "litellm"

_MODES = frozenset({"chat", "responses", "completion"})
_NO_MODELS = frozenset({"sample_spec", "fallback_generalizations"})
_UNITS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
}
_PARENTS = {"cache_read": "input", "cache_write_5m": "input", "cache_write_1h": "cache_write_5m"}
_CONTEXTS = {
    None: STANDARD,
    "batches": "processing=batch",
    "flex": "service_tier=flex",
    "priority": "service_tier=priority",
}
_FIELD = re.compile(rf"({'|'.join(_UNITS)})(?:_above_([1-9][0-9]{{0,5}})k_tokens)?(?:_(batches|flex|priority))?")
_OLD_CACHE_READ = "input_cost_per_token_cache_hit"
_FAST = "speed=fast"
_PER_TOKEN = 15
"""From USD per token to nano-USD per million tokens: six places for the million, nine for nano."""
_LARGEST_FACTOR = 100
MIN_NAME = 85
"""Certainty from which on a key is known to name a model."""

_Rates = dict[str, dict[int, dict[str, int]]]
"""Nano-USD per million tokens by context, then by the tokens above which they hold, then by unit."""


def deprecations(content: bytes, observed: date, *, name: str = "LiteLLM price list") -> dict[str, date]:
    """Return the UTC day on which makers withdraw their models, by canonical model; the latest that is told.

    Raises:
        PriceListError: the file is no price list.
    """
    found: dict[str, date] = {}
    for key, value in decode(content, name).items():
        entry = value if isinstance(value, dict) else {}
        model = resolve_model(str(key).rpartition("/")[2], "", observed.isoformat())
        channel = channel_of(SOURCE, str(entry.get("litellm_provider", "")))
        if model.maker is None or model.confidence < MIN_NAME or channels("maker").get(model.maker) != channel:
            continue
        told = str(entry.get("deprecation_date", ""))
        try:
            day = date.fromisoformat(told)
        except ValueError:
            continue
        if day.isoformat() != told:  # a number, not a day
            continue
        found[model.model] = max(day, found.get(model.model, day))
    return found


def rows(content: bytes, observed: date, *, name: str = "LiteLLM price list") -> Converted:
    """Return LiteLLM's prices as rate rows (`rates.COLUMNS`; nano-USD per million tokens, no dates).

    Args:
        content: the file's bytes.
        observed: UTC day on which they were first seen; moving names are resolved by it.
        name: what an error calls the file.

    Raises:
        PriceListError: the bytes are not a JSON object.
    """
    entries = decode(content, name)
    offers = Offers(SOURCE, content, observed, name)
    for key in entries:
        offers.read(_take, entries, key)
    return offers.converted()


def _take(offers: Offers, entries: Fields, key: str) -> None:
    if key in _NO_MODELS:
        raise Unusable("not_a_model")
    entry = fields_of(entries.only(key))
    mode = entry.get("mode")
    if not isinstance(mode, str) or mode not in _MODES:
        raise Unusable("other_mode")
    prefix, slash, rest = key.partition("/")
    provider = entry.get("litellm_provider") or (prefix if slash else "")
    channel = channel_of(SOURCE, provider) if isinstance(provider, str) else None
    if channel is None:
        raise Unusable("unmapped_provider")
    prices, notes = _prices(entry)
    bare = rest if slash and channel_of(SOURCE, prefix) == channel else key
    offers.add(key, bare, channel, prices, notes)


def _prices(entry: Fields) -> tuple[dict[str, Prices], list[str]]:
    """What an entry costs by context, and what there is to note.

    Raises:
        Unusable: `no_price`, `bad_rate`, `bad_tier`, `more_than_one_tier`.
    """
    rates = _rates(entry)
    thresholds = sorted({start for tiers in rates.values() for start in tiers if start})
    if len(thresholds) > 1:
        raise Unusable("more_than_one_tier")
    if not _has_price(rates[STANDARD]):
        raise Unusable("no_price")
    prices: dict[str, Prices] = {}
    for context, tiers in rates.items():
        if _has_price(tiers):
            if context != STANDARD:
                _complete(tiers, prices[STANDARD])
            tier = max(tiers)
            prices[context] = priced(tiers[0], tiers[tier], tier or None)
    notes = ["variant_without_price"] if len(prices) < len(rates) else []
    if any(given.get("reasoning") not in (None, 0, given.get("output")) for given in rates[STANDARD].values()):
        notes.append("reasoning_rate_differs")
    if entry.get("off_peak_pricing"):
        notes.append("off_peak_not_kept")
    multipliers = entry.get("provider_specific_entry")
    if isinstance(multipliers, Fields) and "fast" in multipliers:
        factor = number(multipliers["fast"])
        if factor is not None and 0 < factor <= _LARGEST_FACTOR:
            prices[_FAST] = prices[STANDARD].times(factor)
        else:
            notes.append("bad_multiplier")
    return prices, notes


def _rates(entry: Fields) -> _Rates:
    rates: _Rates = {STANDARD: {0: {}}}
    for field, value in entry.items():
        match = _FIELD.fullmatch(field)
        if match and (rate := nano(value, _PER_TOKEN)) is not None:
            unit, thousands, service = match.groups()
            tiers = rates.setdefault(_CONTEXTS[service], {0: {}})
            tiers.setdefault(int(thousands or 0) * 1000, {})[_UNITS[unit]] = rate
    standard = rates[STANDARD]
    if (rate := nano(entry.get(_OLD_CACHE_READ), _PER_TOKEN)) is not None:
        standard[0].setdefault("cache_read", rate)
    for start, band in _bands(entry.get("tiered_pricing")):
        given = {unit: nano(band.get(field), _PER_TOKEN) for field, unit in _UNITS.items()}
        standard.setdefault(start, {}).update((unit, rate) for unit, rate in given.items() if rate is not None)
    return rates


def _bands(value: object) -> list[tuple[int, Fields]]:
    """The rows of `tiered_pricing`, each with the tokens from which it holds; they follow on each other from 0."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unusable("bad_tier")
    bands = [fields_of(band, "bad_tier") for band in value]
    spans = [_span(band.get("range")) for band in bands]
    ordered = sorted(zip(spans, bands, strict=True), key=lambda one: one[0])
    end = 0
    for (start, stop), _ in ordered:
        if start != end:
            raise Unusable("bad_tier")
        end = stop
    return [(start, band) for (start, _), band in ordered]


def _span(bounds: object) -> tuple[int, int]:
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise Unusable("bad_tier")
    start, stop = (tokens(bound) for bound in bounds)
    if start is None or stop is None or start >= stop:
        raise Unusable("bad_tier")
    return start, stop


def _complete(tiers: dict[int, dict[str, int]], standard: Prices) -> None:
    """Adds to a variant's rates those that only the standard context has apart.

    A read costs what it does there, as in LiteLLM itself, but not more than input; a write keeps its ratio to input:
    so have it the price lists that name both (compared on 2026-11-20).
    """
    named = {unit for given in tiers.values() for unit, rate in given.items() if rate}
    for tier, given in tiers.items():
        rates = dict(zip(UNIT_COLUMNS, standard.high if tier and standard.high else standard.low, strict=True))
        for unit, parent in _PARENTS.items():
            if unit in named or "input" not in given or not rates["input"] or rates[unit] == rates[parent]:
                continue
            ratio = Fraction(rates[unit], rates["input"])
            given[unit] = min(rates[unit], given["input"]) if unit == "cache_read" else round(ratio * given["input"])


def _has_price(tiers: dict[int, dict[str, int]]) -> bool:
    return {"input", "output"} <= tiers[0].keys()
