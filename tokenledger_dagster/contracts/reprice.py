"""What accepting another price snapshot changes, schema version 1: old, new and why, by model and month.

Here: the shape. Not here: working it out, or accepting it (`pricing.reprice`). Amounts are list prices in USD; months
are UTC months, in which fees are spread and prices are labelled.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

REPRICE_SCHEMA_VERSION = 1


class Repriced(msgspec.Struct, frozen=True, kw_only=True):
    """One model in one month, context and reason."""

    month: str
    client: str
    provider: str
    model: str
    requested_context: str
    events: int
    """Requests whose price changes."""
    total_tokens: int
    old_usd: Decimal
    """What they cost now; requests without a price count 0."""
    new_usd: Decimal
    difference_usd: Decimal
    newly_priced: int
    """Requests that had no price."""
    newly_unpriced: int
    reason: str
    """`new_rate`, `rate_changed`, `rate_removed`, `name_changed`, `context_priced`."""
    old_rate: str
    """Where the old rate came from, with its figures; empty for none."""
    new_rate: str


class FeeChange(msgspec.Struct, frozen=True, kw_only=True):
    """Another monthly fee of the pricing book, which holds for past months too; `plans.yaml` knows dated ones."""

    provider: str
    old_usd_month: Decimal
    new_usd_month: Decimal


class RepriceTotals(msgspec.Struct, frozen=True, kw_only=True):
    """All rows together."""

    events: int
    old_usd: Decimal
    new_usd: Decimal
    difference_usd: Decimal
    newly_priced: int
    newly_unpriced: int


class RepriceReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document that `tokenledger pricing reprice` prints."""

    schema_version: int = REPRICE_SCHEMA_VERSION
    generated_at: str
    old_snapshot_id: str
    new_snapshot_id: str
    accepted: bool
    """Whether the new snapshot is now the one in force."""
    events_looked_at: int
    """Requests of models whose rates differ; the others were not looked at."""
    months: list[str]
    """UTC months that change."""
    rows: list[Repriced]
    totals: RepriceTotals
    fees: list[FeeChange] = []
    problem: str | None = None
    """Why today's prices cannot be used."""
