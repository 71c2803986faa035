"""models.dev's `api.json` as rate rows.

Here: that file's fields: providers, their models, prices in USD per million tokens. Not here: what any list has
(`converted.py`). The file has no dates and one price for cache writes of any length.
"""

from __future__ import annotations

from datetime import date

from tokenledger_dagster.pricing.lists.converted import (
    Converted,
    Fields,
    Offers,
    Unusable,
    channel_of,
    decode,
    fields_of,
    nano,
    priced,
    tokens,
)
from tokenledger_dagster.pricing.rates import STANDARD

SOURCE = "models.dev"

_PLAN_ENDING = "-coding-plan"
"""Providers that stand for a subscription: their models cost nothing apart, which is no price."""
_UNITS = {
    "input": "input",
    "cache_read": "cache_read",
    "cache_write": "cache_write_5m",
    "output": "output",
    "reasoning": "reasoning",
}
_PER_MTOK = 9
"""From USD per million tokens to nano-USD per million tokens."""
_OLD_TIER = "context_over_200k"
_OLD_TIER_TOKENS = 200_000


def rows(content: bytes, observed: date, *, name: str = "models.dev price list") -> Converted:
    """Return models.dev's prices as rate rows (`rates.COLUMNS`; nano-USD per million tokens, no dates).

    Args:
        content: the file's bytes.
        observed: UTC day on which they were first seen; moving names are resolved by it.
        name: what an error calls the file.

    Raises:
        PriceListError: the bytes are not a JSON object.
    """
    providers = decode(content, name)
    offers = Offers(SOURCE, content, observed, name)
    for provider in providers:
        offers.read(_take_provider, providers, provider)
    return offers.converted()


def _take_provider(offers: Offers, providers: Fields, provider: str) -> None:
    models = fields_of(providers.only(provider)).get("models")
    if not isinstance(models, Fields):
        raise Unusable("not_an_object")
    for model in models:
        offers.read(_take, provider, models, model)


def _take(offers: Offers, provider: str, models: Fields, model: str) -> None:
    cost = fields_of(models.only(model)).get("cost")
    if provider.endswith(_PLAN_ENDING) and (cost is None or not any(_text(fields_of(cost)))):
        raise Unusable("plan_without_price")
    channel = channel_of(SOURCE, provider)
    if channel is None:
        raise Unusable("unmapped_provider")
    if cost is None:
        raise Unusable("no_price")
    given = fields_of(cost)
    if None in _text(given):
        raise Unusable("no_price")
    low = _rates(given)
    notes = ["reasoning_rate_differs"] if low.get("reasoning", 0) not in (0, low["output"]) else []
    above, high = _tier(given)
    offers.add(f"{provider}/{model}", model, channel, {STANDARD: priced(low, high, above)}, notes)


def _tier(cost: Fields) -> tuple[int | None, dict[str, int]]:
    """The tokens above which other rates hold, and these.

    `context_over_200k` counts only in a file from before there was `tiers`: today it repeats tiers of any size.

    Raises:
        Unusable: `more_than_one_tier`, `bad_tier`, `bad_rate`.
    """
    tiers = cost.get("tiers")
    if tiers is None or tiers == []:
        old = cost.get(_OLD_TIER)
        return (None, {}) if old is None else (_OLD_TIER_TOKENS, _rates(fields_of(old, "bad_tier")))
    if not isinstance(tiers, list):
        raise Unusable("bad_tier")
    if len(tiers) > 1:
        raise Unusable("more_than_one_tier")
    tier = fields_of(tiers[0], "bad_tier")
    bound = fields_of(tier.get("tier"), "bad_tier")
    above = tokens(bound.get("size"))
    if not above or bound.get("type", "context") != "context":
        raise Unusable("bad_tier")
    return above, _rates(tier)


def _rates(given: Fields) -> dict[str, int]:
    found = {unit: nano(given.get(field), _PER_MTOK) for field, unit in _UNITS.items()}
    return {unit: rate for unit, rate in found.items() if rate is not None}


def _text(cost: Fields) -> tuple[int | None, int | None]:
    return nano(cost.get("input"), _PER_MTOK), nano(cost.get("output"), _PER_MTOK)
