"""The unified ledger, its Pareto view and runtime metrics: rows, and the tables whose columns these are.

Here: shapes. Not here: how a row is made (`models/unified.py`, `models/frontier.py`, `models/runtime.py`), and the
files (`models/artifacts.py`). Rates are USD per million tokens; an empty value means not known and never 0.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tokenledger_dagster.contracts.columns import (
    Column,
    Table,
    count_column,
    percent_column,
    text_column,
    usd_column,
)

OBJECTIVES = ("cost+quality", "cost+quality+latency")
"""Objective sets of the Pareto view."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `unified_model_provider_ledger`; the fields are the columns in order."""

    ledger_row_id: int
    source_model: str
    source_model_slug: str
    inferred_provider: str | None
    provider_mapping_rule: str
    provider_mapping_confidence: int
    canonical_model_guess: str | None
    model_mapping_rule: str
    model_mapping_confidence: int
    pricing_provider: str | None
    pricing_model: str | None
    pricing_subscription_usd_month: Decimal | None
    pricing_input_usd_per_mtok: Decimal | None
    pricing_output_usd_per_mtok: Decimal | None
    pricing_cache_write_usd_per_mtok: Decimal | None
    pricing_cache_read_usd_per_mtok: Decimal | None
    pricing_tool_input_usd_per_mtok: Decimal | None
    pricing_tool_output_usd_per_mtok: Decimal | None
    benchmark_input_usd_per_mtok: Decimal | None
    benchmark_output_usd_per_mtok: Decimal | None
    benchmark_rows_total: int
    benchmark_rows_non_missing: int
    benchmark_rows_missing: int
    benchmark_prior_rows_total: int
    benchmark_prior_rows_non_missing: int
    benchmark_prior_rows_missing: int
    benchmark_distinct_total: int
    benchmark_distinct_non_missing: int
    pricing_vs_benchmark_input_delta: Decimal | None
    pricing_vs_benchmark_output_delta: Decimal | None
    # additive
    maker: str | None
    modifiers: str
    is_canonical: bool
    pricing_channel: str | None
    pricing_context: str | None
    pricing_list_basis: str | None
    pricing_confidence: int | None
    pricing_source: str | None
    pricing_source_version: str | None
    pricing_as_of: str
    pricing_note: str
    long_context_from_tokens: int | None
    long_context_input_usd_per_mtok: Decimal | None
    long_context_output_usd_per_mtok: Decimal | None
    benchmark_quality_name: str
    benchmark_quality_score: Decimal | None
    is_in_use: bool


def _delta(name: str, description: str) -> Column:
    return Column(name, "DECIMAL(18,9)", description, nullable=True)


def _rate(name: str, description: str) -> Column:
    return usd_column(name, f"USD per million tokens: {description}; null = not known.", null=True)


UNIFIED_LEDGER = Table(
    "unified_model_provider_ledger",
    "Models of the benchmark seed (in a live build also those in use) with maker, list price and benchmark priors.",
    (
        Column("ledger_row_id", "BIGINT", "From 1 on, in the order of slugs.", minimum=1),
        text_column("source_model", "Model as the benchmark table or the log names it."),
        text_column("source_model_slug", "The same in small letters, digits and dashes; tells rows apart."),
        text_column(
            "inferred_provider", "Key of the pricing book for whoever makes the model; null = abstained.", null=True
        ),
        text_column("provider_mapping_rule", "Rule by which the maker was recognised."),
        percent_column("provider_mapping_confidence", "Certainty of the maker, 0-100."),
        text_column("canonical_model_guess", "Canonical model id; null where no rule names one model.", null=True),
        text_column("model_mapping_rule", "Least certain rule by which the model was recognised."),
        percent_column("model_mapping_confidence", "Certainty of the model, 0-100; prices are looked up from 85 on."),
        text_column("pricing_provider", "Key of the pricing book under which the price was found.", null=True),
        text_column("pricing_model", "Model id of the rate that was found.", null=True),
        usd_column(
            "pricing_subscription_usd_month",
            "Monthly fee that the pricing book states for the provider, USD.",
            null=True,
        ),
        _rate("pricing_input_usd_per_mtok", "prompt tokens outside caches, below any long-context step"),
        _rate("pricing_output_usd_per_mtok", "completion tokens"),
        _rate(
            "pricing_cache_write_usd_per_mtok",
            "tokens written to a cache for 5 minutes; as input where not priced apart",
        ),
        _rate("pricing_cache_read_usd_per_mtok", "prompt tokens read from a cache; as input where not priced apart"),
        _rate("pricing_tool_input_usd_per_mtok", "tool input, where the pricing book states it"),
        _rate("pricing_tool_output_usd_per_mtok", "tool output, where the pricing book states it"),
        _rate("benchmark_input_usd_per_mtok", "input price that the benchmark table states"),
        _rate("benchmark_output_usd_per_mtok", "output price that the benchmark table states"),
        count_column("benchmark_rows_total", "Rows of the benchmark table."),
        count_column("benchmark_rows_non_missing", "Of these, with a value for the model."),
        count_column("benchmark_rows_missing", "Of these, without one."),
        count_column("benchmark_prior_rows_total", "Rows that are no prices."),
        count_column("benchmark_prior_rows_non_missing", "Of these, with a value for the model."),
        count_column("benchmark_prior_rows_missing", "Of these, without one."),
        count_column("benchmark_distinct_total", "Distinct benchmark names."),
        count_column("benchmark_distinct_non_missing", "Of these, with a value for the model."),
        _delta(
            "pricing_vs_benchmark_input_delta", "List price less the benchmark table's, input, USD per million tokens."
        ),
        _delta("pricing_vs_benchmark_output_delta", "The same, output."),
        text_column("maker", "Who made the model; null = abstained.", null=True),
        text_column("modifiers", "What the name says beyond the model, as effort=high;speed=fast; empty = nothing."),
        Column("is_canonical", "BOOLEAN", "True for one row of each provider and model: join usage to these."),
        text_column("pricing_channel", "Price list's provider id of the rate.", null=True),
        text_column("pricing_context", "Context of the rate: standard, speed=fast, ...", null=True),
        text_column("pricing_list_basis", "channel, or maker where the channel has no price of its own.", null=True),
        Column("pricing_confidence", "INTEGER", "Certainty of the rate, 0-100.", nullable=True, minimum=0, maximum=100),
        text_column("pricing_source", "Where the rate was taken from.", null=True),
        text_column("pricing_source_version", "Version of that source.", null=True),
        text_column("pricing_as_of", "Moment whose rate this is, RFC 3339, UTC."),
        text_column("pricing_note", "Why there is no price; empty where there is one."),
        count_column(
            "long_context_from_tokens", "Prompt tokens above which all tokens pay the step's rates.", null=True
        ),
        _rate("long_context_input_usd_per_mtok", "input above the step"),
        _rate("long_context_output_usd_per_mtok", "output above the step"),
        text_column("benchmark_quality_name", "Benchmark and harness of the quality that the Pareto view compares."),
        _delta("benchmark_quality_score", "The model's figure there, percent; null = none published."),
        Column("is_in_use", "BOOLEAN", "True where the ledger that built this has usage of the model."),
    ),
    ("ledger_row_id",),
)


class ParetoRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `unified_model_provider_pareto`; the fields are the columns in order."""

    ledger_row_id: int
    provider: str | None
    model: str | None
    objectives: str
    is_frontier: bool
    front_rank: int | None
    n_dominated_by: int | None
    dominated_by_example: str | None
    pareto_score: Decimal | None
    quality_component: Decimal | None
    cost_component: Decimal | None
    latency_component: Decimal | None
    blended_cost_usd_per_mtok: Decimal | None
    runtime_latency_ms: int | None
    runtime_quality_score: Decimal | None
    benchmark_quality_score: Decimal | None
    eligibility: str
    runtime_source_path: str | None
    # additive
    source_model: str
    quality_name: str
    quality: Decimal | None
    cost_basis: str
    cost_usd: Decimal | None
    latency_basis: str | None
    latency: Decimal | None
    frontier_probability: Decimal | None
    weight_win_share: Decimal | None
    blended_cost_without_cache_reads_usd_per_mtok: Decimal | None
    runtime_requests: int | None


PARETO = Table(
    "unified_model_provider_pareto",
    "Which models nobody beats in cost, quality and latency: one row per ledger row and objective set.",
    (
        Column("ledger_row_id", "BIGINT", "Row of the unified ledger.", minimum=1),
        text_column("provider", "Key of the pricing book for whoever makes the model; null = abstained.", null=True),
        text_column("model", "Canonical model id; null = abstained.", null=True),
        text_column("objectives", "What is compared.", allowed=OBJECTIVES),
        Column("is_frontier", "BOOLEAN", "True where no other eligible row is as good in all and better in one."),
        Column("front_rank", "BIGINT", "1 = frontier, 2 = the frontier without it, ...; null = not eligible.", True, 1),
        count_column("n_dominated_by", "Rows that dominate it; null = not eligible.", null=True),
        text_column("dominated_by_example", "Source model of one of them, on the frontier; null = none.", null=True),
        usd_column("pareto_score", "Weighted sum of the components, 0-100; null = not eligible.", null=True),
        usd_column("quality_component", "Quality between its bounds, 0-1.", null=True),
        usd_column("cost_component", "Cost between its bounds by its logarithm, 0-1, 1 = cheap.", null=True),
        usd_column("latency_component", "Latency likewise, 1 = fast; null where it is not compared.", null=True),
        usd_column("blended_cost_usd_per_mtok", "USD per million tokens at list price, for the usage mix.", null=True),
        count_column("runtime_latency_ms", "Median latency of own requests, milliseconds; null = too few.", null=True),
        usd_column("runtime_quality_score", "Quality that the runtime snapshot states, percent.", null=True),
        usd_column("benchmark_quality_score", "Quality that the benchmark states, percent.", null=True),
        text_column("eligibility", "eligible, or missing: and the objectives that have no figure."),
        text_column("runtime_source_path", "Where runtime figures were taken from.", null=True),
        text_column("source_model", "Model as the ledger's row names it."),
        text_column("quality_name", "Benchmark and harness that quality was taken from."),
        usd_column("quality", "Quality that is compared, percent; null = none.", null=True),
        text_column("cost_basis", "Unit of the cost compared.", allowed=("usd_per_mtok", "usd_per_task")),
        usd_column("cost_usd", "Cost that is compared; null = none.", null=True),
        text_column(
            "latency_basis", "Unit of the latency compared.", null=True, allowed=("s_per_task", "ms_per_request")
        ),
        usd_column("latency", "Latency that is compared; null = none.", null=True),
        usd_column(
            "frontier_probability",
            "Share of 2,000 samples of the benchmark's tasks with the row on the frontier; null = size not known.",
            null=True,
        ),
        usd_column("weight_win_share", "Share of all weightings at which its score is the best.", null=True),
        usd_column(
            "blended_cost_without_cache_reads_usd_per_mtok",
            "USD per million tokens at list price for the mix without its cache reads.",
            null=True,
        ),
        count_column("runtime_requests", "Own requests that the runtime latency was measured on.", null=True),
    ),
    ("objectives", "ledger_row_id"),
)


class RuntimeMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `runtime_metrics`; the fields are the columns in order."""

    provider: str
    model: str
    requests: int
    failures: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    ttft_p50_ms: int | None
    quality_score: Decimal | None
    source_path: str
    # additive
    latency_samples: int = 0
    ttft_samples: int = 0


RUNTIME_METRICS = Table(
    "runtime_metrics",
    "How requests through CLIProxyAPI went, by provider and model: latency, time to first token, failures.",
    (
        text_column("provider", "Key of the pricing book for whoever served the requests."),
        text_column("model", "Canonical model id."),
        count_column("requests", "Requests, failed ones too."),
        count_column("failures", "Of these, failed; that is availability, not quality."),
        count_column(
            "latency_p50_ms", "Median latency of answered requests, milliseconds; null = not measured.", null=True
        ),
        count_column("latency_p95_ms", "Latency that 95 % of answered requests kept to, milliseconds.", null=True),
        count_column("ttft_p50_ms", "Median time to the first token, milliseconds; null = not measured.", null=True),
        usd_column("quality_score", "Quality that the snapshot's source states, percent; null = none.", null=True),
        text_column("source_path", "File or folder the records were read from."),
        count_column("latency_samples", "Answered requests whose latency was measured."),
        count_column("ttft_samples", "Answered requests whose time to the first token was measured."),
    ),
    ("provider", "model"),
)
