"""Coverage of usage by prices, checking it, and mending the price book; contract section 6, schema version 1.

Here: the shapes. Not here: how usage is judged (`pricing.coverage`), how a book is patched (`pricing.apply`), or where
files are written (`pricing.reconcile`). Counts are of requests that need a price: those that count tokens and that a
client did not make up itself. Days are UTC; amounts are USD, rates USD per million tokens.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

RECONCILE_SCHEMA_VERSION = 1


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged."""

    events: int
    tokens: int


class MissingModel(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one model, channel and context that have no price."""

    model: str
    """Canonical id, or the name as logged; as the book calls it, where it knows it."""
    model_raw: list[str]
    """Every name that the logs gave it."""
    count: int
    tokens: int
    reason: str
    """`unknown_model`, `low_confidence` (a router or a family), `no_rate`."""
    first_day: str
    last_day: str
    context: str
    channel: str
    """Provider id of the price lists under which a rate was looked for."""


class ModelSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """What an unpriced model might be another name of; never priced by, unless a person says so."""

    model: str
    alias_of: str
    confidence: int
    """1 to 59: below whatever may be priced."""
    why: str
    """What speaks for it, and what of the name it leaves out."""


class ProviderSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which provider of the book might be meant by one that it does not have."""

    alias_of: str
    confidence: int
    why: str


class ReportedCost(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reported_cost"):
    """What logs say that requests cost, beside the list price that they were booked at."""

    client: str
    model: str
    reported_usd: Decimal
    computed_usd: Decimal
    difference_percent: Decimal
    """By how much the computed sum is more than the reported one, two places."""
    event_count: int
    """Requests with both."""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="price_source"):
    """A rate of a booked model that two sources put differently."""

    provider: str | None
    """Whoever bills, where the pricing book is one of the two; null between price lists."""
    channel: str
    model: str
    context: str
    unit: str
    """`input`, `cache_read`, `cache_write_5m`, `cache_write_1h`, `output`, the same with `_high` above a tier that both
    have, or `tier`."""
    ours: str
    """The source that prices: `book`, `price_list` (built in), or the name of an imported list."""
    theirs: str
    ours_usd_per_mtok: Decimal
    """Of `tier` the tokens above which it holds, 0 where there is none."""
    theirs_usd_per_mtok: Decimal
    difference_percent: Decimal | None
    """By how much theirs is more than ours; null where ours is 0."""
    day: str
    """UTC day on which they were compared: the last one on which the model was booked."""
    event_count: int
    """Requests of the model on that channel, whatever their context."""


class CoverageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What of a month's usage has a price."""

    schema_version: int = RECONCILE_SCHEMA_VERSION
    generated_at: str
    month: str
    timezone: str
    """Zone in which the month is cut."""
    pricing: str | None
    """The user's pricing book, null where there is none."""
    totals: UsageTotals
    priced_count: int
    unpriced_count: int
    unpriced_tokens: int
    missing_providers: list[str]
    """Billers without an entry in the book and without a channel in any price list."""
    missing_models_by_provider: dict[str, list[MissingModel]]
    suggested_provider_aliases: dict[str, ProviderSuggestion]
    suggested_model_aliases_by_provider: dict[str, list[ModelSuggestion]]
    reported_vs_computed: list[ReportedCost]
    """Most different first."""


class PricingCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether everything has a price; neither nulls nor zeros are one."""

    passed: bool
    month: str
    priced_count: int
    unpriced_count: int
    details: list[str]
    """`provider:model (events=N)`, the context between where it is not the standard one."""


class ApplySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Names of what a patch brings: providers, `provider:model`, `provider:alias`."""

    providers_added: list[str] = []
    models_added: list[str] = []
    aliases_added: list[str] = []
    models_skipped_existing: list[str] = []
    # additive
    models_filled: list[str] = []
    """Entries of the book that had no rate at all, and have one now."""
    models_overwritten: list[str] = []
    """Existing rates replaced, as was asked for."""
    models_without_rates: list[str] = []
    """Of those added: entries whose rates are unknown; they stay unpriced."""
    aliases_skipped_existing: list[str] = []
    fields_added: list[str] = []
    """What the book did not say of a provider, as `provider.field`; a monthly fee changes costs of all its months."""


class PricingApply(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a patch does to the book."""

    changed: bool
    """Whether it says something that the book does not; in a dry run, would."""
    wrote_pricing: bool
    metadata_updated: bool
    summary: ApplySummary


class ReconcileArtifacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where files were written."""

    patch_path: str
    unpriced_events_path: str
    backup_path: str | None


class PricingReconcileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One reconciliation of prices with usage."""

    schema_version: int = RECONCILE_SCHEMA_VERSION
    generated_at: str
    pricing: str
    """The user's pricing book, whether it exists or not."""
    month_filter: str
    workdir: str
    """The run's own folder."""
    allow_unpriced: bool
    dry_run: bool
    write_backup: bool
    allow_overwrite_model_rates: bool
    accept_suggestions: bool = False
    artifacts: ReconcileArtifacts
    coverage: CoverageReport
    """Before the patch."""
    pricing_apply: PricingApply
    pricing_check: PricingCheck
    """With the book as patched, in a dry run in memory."""
    disagreements: list[Disagreement | ReportedCost]


class UnpricedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `unpriced-events.reconcile.jsonl`."""

    event_id: str
    timestamp: str
    client: str
    provider: str
    model: str
    model_raw: str | None
    session_id: str
    usage: dict[str, int]
    """The six counters."""
    channel: str
    requested_context: str
    reason: str
