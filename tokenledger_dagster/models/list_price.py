"""The list price of a named model at one moment, as a row of the unified ledger states it, or why there is none.

Here: which rate is this model's own. Not here: which rates there are (`pricing/rate_table.py`), what a request costs.

A price is taken only for a model recognised at 85 or more, in just the context that the name asks for: a model in fast
mode never carries the standard price, and no model that of a relative.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.pricing.context import channel_for, channel_of_provider, provider_for, requested_context

if TYPE_CHECKING:
    from tokenledger_dagster.models.names import ModelName
    from tokenledger_dagster.pricing.rate_table import RateTable
    from tokenledger_dagster.pricing.rates import Rate

MIN_CONFIDENCE = 85
"""From here on a name says which model it is."""


class ListPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs, USD per million tokens; all None where that is not known."""

    provider: str | None = None
    model: str | None = None
    input: Decimal | None = None
    output: Decimal | None = None
    cache_write: Decimal | None = None
    cache_read: Decimal | None = None
    tool_input: Decimal | None = None
    """None where tools cost as input does; only a pricing book prices them apart."""
    tool_output: Decimal | None = None
    step_tokens: int | None = None
    """Prompt tokens above which the next two hold for all tokens."""
    step_input: Decimal | None = None
    step_output: Decimal | None = None
    channel: str | None = None
    context: str | None = None
    list_basis: str | None = None
    confidence: int | None = None
    source: str | None = None
    source_version: str | None = None
    note: str = ""
    """Why there is none."""


def list_price(
    table: RateTable, name: ModelName, at_us: int, client: str = "", billed_by: str | None = None
) -> ListPrice:
    """Return what a model costs at a moment, microseconds since 1970, UTC.

    Args:
        table: the rates.
        name: the model as it was recognised.
        at_us: the moment.
        client: the client that uses it; empty = the maker's own list.
        billed_by: the pricing book's key of whoever bills it; None = whoever the name or the client tells.
    """
    provider = billed_by or provider_for(client, name)
    # a name that the pricing book has is certain, whatever the rules make of it
    priced = table.named(provider, name)
    if priced.confidence < MIN_CONFIDENCE:
        return ListPrice(note="the name does not say for certain which model it is")
    channel = (billed_by and channel_of_provider(billed_by)) or channel_for(client, name, None)
    context = requested_context(client, None, None, name.modifiers)
    rate = table.resolve(channel, priced.model, context, at_us, provider)
    if rate is None:
        return ListPrice(note=f"no list price of {priced.model} on channel {channel}")
    if rate.priced_context != context:
        return ListPrice(note=f"{priced.model} has no list price in context {context}")
    return _stated(rate, provider)


def _stated(rate: Rate, provider: str) -> ListPrice:
    has_step = rate.tier_from_tokens is not None
    return ListPrice(
        provider=provider,
        model=rate.model,
        input=_usd(rate.input),
        output=_usd(rate.output),
        cache_write=_usd(rate.cache_write_5m),
        cache_read=_usd(rate.cache_read),
        tool_input=_usd(rate.tool_input) if rate.tool_input != rate.input else None,
        tool_output=_usd(rate.tool_output) if rate.tool_output != rate.output else None,
        step_tokens=rate.tier_from_tokens,
        step_input=_usd(rate.input_high) if has_step else None,
        step_output=_usd(rate.output_high) if has_step else None,
        channel=rate.channel or None,
        context=rate.priced_context,
        list_basis=rate.list_basis,
        confidence=rate.confidence,
        source=rate.source,
        source_version=rate.source_version or None,
    )


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)
