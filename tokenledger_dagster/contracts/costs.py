"""CostBreakdown, schema version 1: what a selection cost, by provider and model (contract section 4).

Here: its shape. Not here: its figures (`usage.breakdown`). Identities that hold to the nano-USD: total = variable +
allocated + idle; the providers' totals add up to it, and so do the models'.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tokenledger_dagster.contracts.suggestions import Suggestion

COSTS_SCHEMA_VERSION = 1
IDLE = "(idle subscription)"
"""Name of the model row that stands for fees no request carries."""


class CostShare(msgspec.Struct, frozen=True, kw_only=True):
    """One provider or model."""

    name: str
    tokens: int
    mtok: Decimal
    variable_cost_usd: Decimal
    subscription_allocated_usd: Decimal
    total_cost_usd: Decimal
    """With a provider's idle fees; those are a row of their own among the models."""
    blended_usd_per_mtok: Decimal
    session_count: int
    tool_share: Decimal
    """Tool tokens over all tokens."""
    # additive
    idle_subscription_usd: Decimal = Decimal(0)
    list_price_usd: Decimal = Decimal(0)
    unpriced_tokens: int = 0
    pricing_modes: list[str] = []
    comparable: bool = True
    """Whether effective cost may be compared with another row's; list price always may."""
    not_comparable_reasons: list[str] = []


class PlanShare(msgspec.Struct, frozen=True, kw_only=True):
    """One plan's fee, of the whole segment, also where the period asked for holds a part of it."""

    subscription: str
    provider: str
    pricing_mode: str
    weight_method: str
    segment_start: str
    segment_end: str
    fee_usd: Decimal
    allocated_usd: Decimal
    idle_usd: Decimal
    list_price_usd: Decimal
    leverage: Decimal | None
    utilisation: Decimal | None
    is_complete: bool
    flags: list[str]


class CostBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    schema_version: int = COSTS_SCHEMA_VERSION
    generated_at: str
    timezone: str
    filters: dict[str, Any]
    variable_cost_usd: Decimal
    subscription_allocated_usd: Decimal
    idle_subscription_usd: Decimal
    monthly_total_usd: Decimal
    """Of the selection's period, whatever its length."""
    list_price_usd: Decimal
    blended_usd_per_mtok: Decimal
    total_tokens: int
    total_mtok: Decimal
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    tool_input_tokens: int
    tool_output_tokens: int
    session_count: int
    skipped_unpriced_count: int
    unpriced_tokens: int
    provider_breakdown: list[CostShare]
    model_breakdown: list[CostShare]
    suggestions: list[str] = []
    # additive
    list_usd_per_mtok: Decimal = Decimal(0)
    blended_usd_per_mtok_without_cache_reads: Decimal = Decimal(0)
    """Total over all tokens but cache reads, which are most of an agent's tokens and hide the rest."""
    comparable: bool = True
    not_comparable_reasons: list[str] = []
    subscriptions: list[PlanShare] = []
    """Plans with a fee in the period; only where the selection is of a period alone."""
    suggestion_details: list[Suggestion] = []
    """What `suggestions` are the texts of, in the same order."""
