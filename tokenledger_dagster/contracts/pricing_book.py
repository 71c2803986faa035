"""The pricing book, schema version 1: what a person writes down about prices, as `pricing.json`.

Here: its shape and its JSON Schema.  Not here: whether its figures make sense (``pricing.lint``), or what they price
(``pricing.book``).  The readable core is `meta, provider_aliases, providers{subscription_usd_month, model_aliases,
models}` with six rates a model; everything else is additive and may be left out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

BOOK_SCHEMA_VERSION = 1

UNIT_FIELDS = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "tool_input_usd_per_mtok",
    "tool_output_usd_per_mtok",
)
"""Rates of one row, USD per million tokens."""

RowStatus = Literal["active", "scheduled"]
PARENT_FIELD = {
    "cache_write_usd_per_mtok": "input_usd_per_mtok",
    "cache_write_1h_usd_per_mtok": "cache_write_usd_per_mtok",
    "cache_read_usd_per_mtok": "input_usd_per_mtok",
    "tool_input_usd_per_mtok": "input_usd_per_mtok",
    "tool_output_usd_per_mtok": "output_usd_per_mtok",
}
"""Whose rate a unit pays that has none of its own."""


class Units(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """USD per million tokens; null or absent = not known, or not priced apart from its parent."""

    input_usd_per_mtok: Decimal | None = None
    output_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    """Five-minute cache writes; without one, the input rate."""
    cache_write_1h_usd_per_mtok: Decimal | None = None
    """One-hour cache writes; without one, the rate of five-minute writes."""
    cache_read_usd_per_mtok: Decimal | None = None
    """Without one, the input rate."""
    tool_input_usd_per_mtok: Decimal | None = None
    """Without one, the input rate."""
    tool_output_usd_per_mtok: Decimal | None = None
    """Without one, the output rate."""


class Tier(Units, frozen=True, kw_only=True, omit_defaults=True):
    """Rates of the whole request once its prompt exceeds a size; a unit left out keeps the rate below it."""

    above_tokens: int
    """Input, cache reads and cache writes together."""
    inclusive: bool = False
    """Whether a prompt of exactly that size pays these rates."""


class RateRow(Units, frozen=True, kw_only=True, omit_defaults=True):
    """Rates of a model in one context and stretch of time."""

    context: str = "standard"
    """`standard`, `speed=fast`, `processing=batch`, `service_tier=priority`, ... as `requested_context` spells them."""
    valid_from: str | None = None
    """First UTC day, YYYY-MM-DD; null = from the beginning."""
    valid_to: str | None = None
    """First UTC day on which it no longer holds; null = open."""
    tod_from: str | None = None
    """UTC time of day from which it holds, HH:MM on the half hour."""
    tod_to: str | None = None
    tier: Tier | None = None
    free: bool = False
    """Must be true where a rate of 0 is meant."""
    source: str | None = None
    """Where the figures stand: a page or a price list; null = the book's own."""
    checked: str | None = None
    """Day on which somebody looked there, YYYY-MM-DD."""
    observed_at: str | None = None
    """Day on which the book learnt of it, YYYY-MM-DD."""
    confidence: int = 100
    status: RowStatus = "active"
    """`scheduled`: announced for `valid_from`; prices nothing until somebody makes it `active`."""
    id: str | None = None
    supersedes: str | None = None
    """Id of the row that this one corrects, also for the past; a change is a new row with `valid_from` instead."""
    reason: str | None = None


class ModelEntry(RateRow, frozen=True, kw_only=True, omit_defaults=True):
    """A model: its rate row, and further ones for other contexts and times."""

    contexts: dict[str, RateRow] = {}
    """Rates in other contexts, by context."""
    rates: list[RateRow] = []
    """Rates at other times."""


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever serves and bills the requests."""

    subscription_usd_month: Decimal = Decimal(0)
    """Above 0: a plan of that fee carries the provider's requests (`plans.yaml` says it in more detail)."""
    model_aliases: dict[str, str] = {}
    """A name as logged -> a model of this provider, or of the price list."""
    models: dict[str, ModelEntry] = {}


class BookMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the book comes from, and when somebody last looked after it."""

    source: str | None = None
    updated_at: str | None = None
    """RFC 3339, UTC."""
    version: str | None = None


class PricingBook(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema_version: int = BOOK_SCHEMA_VERSION
    meta: BookMeta = BookMeta()
    provider_aliases: dict[str, str] = {}
    """Another name of a provider -> its key in `providers`."""
    providers: dict[str, ProviderEntry] = {}


def json_schema() -> dict[str, Any]:
    """JSON Schema of the book, as `config/pricing.schema.json` ships it."""
    schema = _numbers(msgspec.json.schema(PricingBook))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "TokenLedger pricing book", **schema}


def _numbers(node: Any) -> Any:
    """Amounts are JSON numbers of at least 0 in this document, not msgspec's decimal strings."""
    if isinstance(node, dict):
        if node.get("format") == "decimal":
            return {"type": "number", "minimum": 0, **({"default": 0} if "default" in node else {})}
        return {name: _numbers(value) for name, value in node.items()}
    return [_numbers(value) for value in node] if isinstance(node, list) else node
