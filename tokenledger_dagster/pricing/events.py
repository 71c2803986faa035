"""The price of one event: channel, context, rate and the rules on when a rate may be used at all.

Many events are priced by `resolve.py` and `price_events.sql` with the same numbers; plans and totals are the ledger's.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tokenledger_dagster.models.names import UNKNOWN, ModelName
from tokenledger_dagster.pricing.context import channel_for, requested_context
from tokenledger_dagster.pricing.rates import MAKER_CONFIDENCE_CAP, ListBasis, RateTable, price_nano

MIN_CONFIDENCE = 60
"""Below this a name is a guess and is not priced; from here to 84 only as the maker's list price."""

_INT64_MAX = 2**63 - 1
_MTOK = 1_000_000


class Pricing(msgspec.Struct, frozen=True):
    """What one event costs at list price, or why it has no price."""

    list_price_nano: int | None
    """Nano-USD, None when unpriced."""
    list_basis: ListBasis | None
    price_confidence: int
    """The smaller of the name's and the rate's confidence, 0-100."""
    priced_context: str | None
    requested_context: str
    channel: str
    reason: str | None
    """Why there is no price: `unknown_model`, `low_confidence`, `no_rate`, `overflow`; None when priced."""


def price_event(
    table: RateTable,
    *,
    client: str,
    name: ModelName,
    ts_us: int,
    message_id: str | None,
    speed: str | None,
    service_tier: str | None,
    input: int,
    cache_read: int,
    cache_write_5m: int,
    cache_write_1h: int,
    output: int,
    upstream: str | None = None,
    is_sum: bool = False,
) -> Pricing:
    """Return the list price of one request.

    Args:
        table: the rates to price with.
        client: the program that wrote the log.
        name: the resolved model name.
        ts_us: time of the request, microseconds since the epoch, UTC.
        message_id: the provider's message id, where the log has one.
        speed: logged speed (`fast`, `standard`), if any.
        service_tier: logged service tier (`priority`, `flex`, `batch`, ...), if any.
        input: prompt tokens neither read from nor written to the cache.
        cache_read: tokens read from the cache.
        cache_write_5m: tokens written for five minutes.
        cache_write_1h: tokens written for an hour.
        output: completion tokens, reasoning included.
        upstream: who served the request, where the log names them.
        is_sum: whether these are several requests together, of which none is known to cross a tier.

    Returns:
        The price; `list_price_nano` is 0 when every counter is 0, whatever the model.
    """
    channel = channel_for(client, name, message_id, upstream)
    context = requested_context(client, speed, service_tier, name.modifiers)
    usable = name.confidence >= MIN_CONFIDENCE
    rate = table.resolve(channel, name.model, context, ts_us) if usable else None
    counts = (input, cache_read, cache_write_5m, cache_write_1h, output)
    if rate is None:
        priced = 0 if not any(counts) else None
        reason = None if priced == 0 else _reason(name)
        return Pricing(priced, None, name.confidence if usable else 0, None, context, channel, reason)
    confidence = min(name.confidence, rate.confidence)
    basis = "maker" if confidence <= MAKER_CONFIDENCE_CAP else rate.list_basis
    nano = price_nano(rate, *counts, is_sum=is_sum)
    if nano > _INT64_MAX:
        return Pricing(None, basis, confidence, rate.priced_context, context, channel, "overflow")
    return Pricing(nano, basis, confidence, rate.priced_context, context, channel, None)


def token_prices(
    table: RateTable,
    *,
    client: str,
    name: ModelName,
    ts_us: int,
    message_id: str | None,
    speed: str | None,
    service_tier: str | None,
    steps: tuple[int, ...],
    step: int,
) -> tuple[int, ...] | None:
    """Return what one token costs, for requests whose prices are summed.

    Nano-USD of input, cache read, 5-minute write, 1-hour write and output; None where they have no price. Empty where
    sums would not do: a rate that is no whole number of nano-USD a token, for each request is rounded, or one whose
    tier begins at none of `steps`. The prompts lie above `step` of them, and on none.
    """
    if name.confidence < MIN_CONFIDENCE:
        return None
    context = requested_context(client, speed, service_tier, name.modifiers)
    rate = table.resolve(channel_for(client, name, message_id), name.model, context, ts_us)
    if rate is None:
        return None
    tier = rate.tier_from_tokens
    if tier is not None and tier not in steps:
        return ()
    units = rate.units(high=tier is not None and step > steps.index(tier))
    return () if any(unit % _MTOK for unit in units) else tuple(unit // _MTOK for unit in units)


def sum_of(units: tuple[int, ...], counters: Sequence[int]) -> int:
    """Return the price in nano-USD of requests whose counters (`contracts.record.Counters`) are summed.

    `units` are the `token_prices` of all of them.
    """
    fresh, read, five, hour, output = units
    return (
        (counters[0] + counters[4]) * fresh
        + counters[3] * read
        + (counters[2] - counters[6]) * five
        + counters[6] * hour
        + (counters[1] + counters[5]) * output
    )


def _reason(name: ModelName) -> str:
    if name.confidence >= MIN_CONFIDENCE:
        return "no_rate"
    # a family or a router names something, only not one model
    return "low_confidence" if name.rule.startswith("reserved.") and name.model != UNKNOWN else "unknown_model"
