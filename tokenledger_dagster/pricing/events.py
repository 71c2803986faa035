"""The price of one event: channel, context, rate and the rules on when a rate may be used at all.

Many events are priced by `resolve.py` and `price_events.sql` with the same numbers; plans are `economics.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tokenledger_dagster.models.names import UNKNOWN, ModelName
from tokenledger_dagster.pricing.context import billing_provider, channel_for, requested_context
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import MAKER_CONFIDENCE_CAP, MIN_CONFIDENCE, ListBasis, Rate, price_nano

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


class Lookup(NamedTuple):
    """Everything a rate is looked up by, but for the time."""

    channel: str
    context: str
    provider: str
    name: ModelName
    """The event's own, or what the pricing book calls it."""

    @property
    def is_usable(self) -> bool:
        """Whether the name is certain enough to be priced."""
        return self.name.confidence >= MIN_CONFIDENCE

    @property
    def reason(self) -> str:
        """Why a request has no price, where no rate is found."""
        if self.is_usable:
            return "no_rate"
        # a family or a router names something, only not one model
        reserved = self.name.rule.startswith("reserved.") and self.name.model != UNKNOWN
        return "low_confidence" if reserved else "unknown_model"

    def rate(self, table: RateTable, ts_us: int) -> Rate | None:
        """Return the rate at a time, None where there is none that may be used."""
        if not self.is_usable:
            return None
        return table.resolve(self.channel, self.name.model, self.context, ts_us, self.provider)


def look_up(
    table: RateTable,
    *,
    client: str,
    name: ModelName,
    message_id: str | None,
    speed: str | None = None,
    service_tier: str | None = None,
    upstream: str | None = None,
) -> Lookup:
    """Return what a request's rate is looked up by; see ``price_event`` for the arguments."""
    channel = channel_for(client, name, message_id, upstream)
    context = requested_context(client, speed, service_tier, name.modifiers)
    if table.book is None:
        return Lookup(channel, context, "", name)
    provider = billing_provider(client, name, message_id, upstream)
    return Lookup(channel, context, provider, table.named(provider, name))


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
    tool_input: int = 0,
    tool_output: int = 0,
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
        tool_input: prompt tokens the client reports apart, for tools.
        tool_output: the same of completions.
        upstream: who served the request, where the log names them.
        is_sum: whether these are several requests together, of which none is known to cross a tier.

    Returns:
        The price; `list_price_nano` is 0 when every counter is 0, whatever the model.
    """
    found = look_up(
        table,
        client=client,
        name=name,
        message_id=message_id,
        speed=speed,
        service_tier=service_tier,
        upstream=upstream,
    )
    counts = (input, cache_read, cache_write_5m, cache_write_1h, output)
    return found_price(found, found.rate(table, ts_us), counts, (tool_input, tool_output), is_sum=is_sum)


def found_price(
    found: Lookup, rate: Rate | None, counts: tuple[int, ...], tools: tuple[int, int], *, is_sum: bool
) -> Pricing:
    """Return the price of counters (in the order of `Rate.units` and `tool_units`) at a rate that was looked up."""
    channel, context, confidence = found.channel, found.context, found.name.confidence
    if rate is None:
        priced = 0 if not any((*counts, *tools)) else None
        reason = None if priced == 0 else found.reason
        return Pricing(priced, None, confidence if found.is_usable else 0, None, context, channel, reason)
    basis, confidence = judged(confidence, rate)
    nano = price_nano(rate, *counts, tool_input=tools[0], tool_output=tools[1], is_sum=is_sum)
    if nano > _INT64_MAX:
        return Pricing(None, basis, confidence, rate.priced_context, context, channel, "overflow")
    return Pricing(nano, basis, confidence, rate.priced_context, context, channel, None)


def judged(name_confidence: int, rate: Rate) -> tuple[ListBasis, int]:
    """Return on whose list a price stands and how certain it is, from the certainty of name and rate."""
    confidence = min(name_confidence, rate.confidence)
    return "maker" if confidence <= MAKER_CONFIDENCE_CAP else rate.list_basis, confidence


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

    Nano-USD of input, cache read, 5-minute write, 1-hour write, output, tool input and tool output; None where they
    have no price. Empty where sums would not do: a rate that is no whole number of nano-USD a token, for each request
    is rounded, or one whose tier begins at none of `steps`. The prompts lie above `step` of them, and on none.
    """
    found = look_up(table, client=client, name=name, message_id=message_id, speed=speed, service_tier=service_tier)
    rate = found.rate(table, ts_us)
    if rate is None:
        return None
    tier = rate.tier_from_tokens
    if tier is not None and tier not in steps:
        return ()
    high = tier is not None and step > steps.index(tier)
    units = (*rate.units(high=high), *rate.tool_units(high=high))
    return () if any(unit % _MTOK for unit in units) else tuple(unit // _MTOK for unit in units)


def sum_of(units: tuple[int, ...], counters: Sequence[int]) -> int:
    """Return the price in nano-USD of requests whose counters (`contracts.record.Counters`) are summed.

    `units` are the `token_prices` of all of them.
    """
    fresh, read, five, hour, output, tool_input, tool_output = units
    return (
        counters[0] * fresh
        + counters[3] * read
        + (counters[2] - counters[6]) * five
        + counters[6] * hour
        + counters[1] * output
        + counters[4] * tool_input
        + counters[5] * tool_output
    )
