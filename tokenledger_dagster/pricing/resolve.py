"""Rates for many events at once: one row per distinct key, for `price_events.sql` to multiply.

A million events share a few thousand keys, so rates are looked up once per key in Python and the arithmetic is done
by DuckDB. Which rate a key has is `rate_table.py`; whether a mapping is good enough to be priced is decided by the
caller, who leaves the keys of unusable names out (see `rates.MIN_CONFIDENCE`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tokenledger_dagster.pricing.rate_table import RateTable

PRICE_EVENTS_SQL = Path(__file__).with_name("price_events.sql")


class RateKey(msgspec.Struct, frozen=True):
    """What decides an event's rate; `bucket` is that of `RateTable.bucket`, in SQL `price_inputs.sql`."""

    channel: str
    model: str
    requested_context: str
    bucket: int
    provider: str = ""
    """The pricing book's key of whoever billed; empty where no book is asked."""


class ResolvedRate(msgspec.Struct, frozen=True):
    """One row of the relation `resolved_rates`: a key, then the rate it has (nano-USD per million tokens)."""

    channel: str
    model: str
    requested_context: str
    bucket: int
    provider: str
    rate_channel: str
    priced_context: str
    tier_from_tokens: int | None
    tier_inclusive: bool
    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    input_high: int
    cache_read_high: int
    cache_write_5m_high: int
    cache_write_1h_high: int
    output_high: int
    tool_input: int
    tool_output: int
    tool_input_high: int
    tool_output_high: int
    list_basis: str
    confidence: int
    source: str
    source_version: str
    status: str
    layer: str


_FROM_RATE = tuple(
    name for name in ResolvedRate.__struct_fields__ if name not in RateKey.__struct_fields__ and name != "rate_channel"
)


def resolve_distinct(table: RateTable, keys: Iterable[RateKey]) -> list[ResolvedRate]:
    """Return one row per distinct key that has a rate, in the order first seen; the others stay unpriced."""
    rows = []
    for key in dict.fromkeys(keys):
        start = table.bucket_start_us(key.channel, key.model, key.bucket)
        rate = table.resolve(key.channel, key.model, key.requested_context, start, key.provider)
        if rate is None:
            continue
        rate_fields = {field: getattr(rate, field) for field in _FROM_RATE}
        rows.append(ResolvedRate(**msgspec.structs.asdict(key), rate_channel=rate.channel, **rate_fields))
    return rows


def price_events_sql() -> str:
    """Return the statement that prices the relation `events` with the relation `resolved_rates`."""
    return PRICE_EVENTS_SQL.read_text(encoding="utf-8")


def resolved_rates_ddl() -> str:
    """Return the statement that creates an empty `resolved_rates` table with the columns of `ResolvedRate`."""
    types = {int: "BIGINT", str: "VARCHAR", bool: "BOOLEAN"}
    columns = ", ".join(
        f"{field.name} {types.get(field.type, 'BIGINT')}" for field in msgspec.structs.fields(ResolvedRate)
    )
    return f"CREATE TEMP TABLE resolved_rates ({columns})"
