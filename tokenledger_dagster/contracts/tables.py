"""Every public table: its columns, their meaning, units and bounds.  The one truth; all other forms follow from it.

Here: the tables of the analyst database and of ``TOKENLEDGER_HOME/tables``, in the order they are built.  Not here:
how they are computed (``exports``), how they are checked (``governance``), and the lake's own records
(``contracts.record_table``).  All times are naive UTC; all money is USD with nine places; a day, week or month is one
of the zone in ``timezone``.
"""

from __future__ import annotations

from tokenledger_dagster.contracts.columns import (
    Column,
    ColumnRow,
    Table,
    arrow_schema,
    column_rows,
    comment_statements,
    create_statement,
    markdown,
    pandera_schema,
)
from tokenledger_dagster.contracts.columns import count_column as _count
from tokenledger_dagster.contracts.columns import percent_column as _percent
from tokenledger_dagster.contracts.columns import text_column as _text
from tokenledger_dagster.contracts.columns import time_column as _time
from tokenledger_dagster.contracts.columns import usd_column as _usd
from tokenledger_dagster.contracts.ledger import PARETO, RUNTIME_METRICS, UNIFIED_LEDGER

__all__ = [
    "COUNTERS",
    "TABLES",
    "USAGE_TABLES",
    "Column",
    "ColumnRow",
    "Table",
    "arrow_schema",
    "column_rows",
    "comment_statements",
    "create_statement",
    "markdown",
    "pandera_schema",
]


_COUNTERS = (
    _count("input_tokens", "Prompt tokens neither read from nor written to a cache."),
    _count("output_tokens", "Completion tokens, reasoning included."),
    _count("cache_write_tokens", "Tokens written to a cache, for 5 minutes or 1 hour."),
    _count("cache_read_tokens", "Prompt tokens read from a cache."),
    _count("tool_input_tokens", "Tool input tokens, only where the client reports them apart from the others."),
    _count("tool_output_tokens", "Tool output tokens, only where the client reports them apart from the others."),
)
COUNTERS = tuple(column.name for column in _COUNTERS)
"""The six disjoint counters that ``total_tokens`` is the sum of."""
_TOTAL = _count("total_tokens", "Tokens: the sum of the six disjoint counters.")
_PARTS = (
    _count("cache_write_1h_tokens", "Tokens written to a cache for 1 hour; part of cache_write_tokens."),
    _count("reasoning_tokens", "Reasoning tokens; part of output_tokens."),
    _count("web_search_requests", "Web searches the request made."),
)

_CLIENT = _text("client", "Program that wrote the log: claude-code, codex, ...")
_PROVIDER = _text("provider", "Key of the pricing book for whoever serves and bills the request: claude, codex, ...")
_MAKER = _text("maker", "Who made the model: anthropic, openai, ...; null where the name does not tell.", null=True)
_MODEL = _text("model", "Canonical model id.")
_MODEL_RAW = _text("model_raw", "Model as the log named it; null where it named none.", null=True)
_CHANNEL = _text("channel", "Price list's provider id the rate was looked up under.")
_SESSION = _text("session_id", "Session that owns the event.")
_PROJECT = _text("project", "Working folder the session began in; null where the log tells none.", null=True)
_ZONE = _text("timezone", "IANA name of the zone in which days, weeks and months are cut.")

_EVIDENCE = (
    _text("source_id", "Stable id of the log's content line; survives moves and archiving."),
    _text("source_path", "Path of the log when it was last read."),
    _text("source_encoding", "How the log is packed: plain, gzip, zstd, utf16, or sqlite for a database."),
    _count("byte_offset", "Where the record stands in the uncompressed log, bytes from its start."),
    _count("byte_length", "Length of the record, bytes."),
    _text("record_sha256", "SHA-256 of the record's bytes, hex."),
    Column("parser_version", "INTEGER", "Version of the adapter that read the record.", minimum=1),
)

_LOCATOR = _text(
    "source_locator",
    "Where the record stands in a source without lines: JSON pointer, or table, key and columns; else null.",
    null=True,
)

_SUMS = (
    *_COUNTERS,
    _TOTAL,
    *_PARTS,
    _usd("list_price_usd", "USD at list price, summed over the events that have a price."),
    _usd("effective_cost_usd", "USD: variable plus allocated subscription; equal to the list price in token mode."),
    _count("unpriced_tokens", "Tokens of events without a list price."),
    _count("unpriced_count", "Events without a list price."),
    _count("event_count", "Requests booked."),
    _count("session_count", "Distinct sessions; not additive."),
    _count("estimated_tokens", "Tokens of total_tokens that no provider counted."),
)
_SPAN = (_time("first_time", "First event"), _time("last_time", "Last event"))


def _usage(name: str, description: str, keys: tuple[Column, ...], key: tuple[str, ...]) -> Table:
    return Table(name, description, (*keys, *_SUMS), key)


_EVENTS = Table(
    "events",
    "Booked usage: one row per request, each counted once however often its record was logged or copied.",
    (
        Column("schema_version", "INTEGER", "Version of the event contract.", minimum=1),
        _text("event_id", "128-bit id of the request, hex; the same on every machine and from every copy."),
        _time("timestamp", "Time of the request, the earliest of its copies"),
        _CLIENT,
        _PROVIDER,
        _MAKER,
        _MODEL,
        _MODEL_RAW,
        _text("modifiers", "What the model's name said beyond its identity (date, effort, region, ...), JSON object."),
        _text("mapping_rule", "Least certain rule by which the model was recognised."),
        _percent("mapping_confidence", "Certainty of the canonical model, 0-100."),
        _CHANNEL,
        _SESSION,
        _text("parent_session_id", "Session this one was started from.", null=True),
        _text("agent_id", "Subagent that made the request.", null=True),
        Column("is_sidechain", "BOOLEAN", "True for a subagent's request."),
        _PROJECT,
        _text("cwd", "Working folder of the request itself.", null=True),
        _text("git_branch", "Git branch at the time.", null=True),
        _text("client_version", "Version of the client.", null=True),
        _text("service_tier", "Service tier as logged: standard, priority, batch, ...", null=True),
        _text("speed", "Speed as logged: standard, fast.", null=True),
        *_COUNTERS,
        _TOTAL,
        *_PARTS,
        _text("message_id", "Provider's message id.", null=True),
        _text("request_id", "Provider's request id.", null=True),
        _usd("reported_cost_usd", "Cost the log itself states, USD; null = not stated.", null=True),
        Column("is_estimated", "BOOLEAN", "True where the counters were estimated by the client."),
        Column("flags", "VARCHAR[]", "What was mended or doubtful in the record."),
        _text("host", "Machine whose log was read.", null=True),
        _text("raw_usage", "The log's own usage object, numbers and enums only, JSON.", null=True),
        *_EVIDENCE,
        _LOCATOR,
        _text("upstream", "Who served the request, as the log names them; null = not told.", null=True),
        _text("billing_kind", "api, included or overage where the log tells; null = not told.", null=True),
        _text("account_hash", "Stands for the account that was billed; null = not told.", null=True),
        _count("latency_ms", "Milliseconds to the end of the answer; null = not told.", null=True),
        _count("ttft_ms", "Milliseconds to the first token; null = not told.", null=True),
        _text("status", "ok or error where the log tells; null = not told.", null=True),
    ),
    ("timestamp", "event_id"),
)

_DUPLICATES = Table(
    "duplicates",
    "Usage records that were not booked, each with the rule that says why and the event it repeats.",
    (
        _count("record_no", "Number of the record in the lake."),
        _text("rule", "Rule by which the record is no event of its own: claude.stream_copy, codex.repeated_total, ..."),
        _text("owner_event_id", "Event the record repeats; null where no booked event owns it.", null=True),
        _CLIENT,
        _text("session_id", "Session the record names."),
        _time("timestamp", "Time the record names"),
        _MODEL_RAW,
        *_COUNTERS,
        _TOTAL,
        _text("message_id", "Provider's message id.", null=True),
        _text("request_id", "Provider's request id.", null=True),
        *_EVIDENCE,
        _LOCATOR,
    ),
    ("record_no",),
)

_EVENT_COSTS = Table(
    "event_costs",
    "What each booked event costs; one row per event, null where no rate is known (never a guess).",
    (
        _text("event_id", "Event this is the cost of."),
        _time("timestamp", "Time of the request"),
        _CLIENT,
        _PROVIDER,
        _MODEL,
        _CHANNEL,
        _count("total_tokens", "Tokens of the event."),
        _usd("list_price_usd", "What the channel charges for the request, USD; null = no rate known.", null=True),
        _usd(
            "variable_cost_usd",
            "What the request itself cost, USD: list or reported price, 0 where a plan carries it; null = not known.",
            null=True,
        ),
        _usd("subscription_allocated_usd", "Share of a plan's fee, USD; 0 where no plan carries it."),
        _usd("effective_cost_usd", "Variable plus allocated, USD; null = not known.", null=True),
        _text("list_basis", "Whose price list: the channel's or the maker's.", null=True, allowed=("channel", "maker")),
        _text(
            "pricing_mode",
            "How cost was derived.",
            allowed=("token", "subscription_derived", "subscription_manual"),
        ),
        _text("price_snapshot_id", "Price snapshot under which the events of its UTC month have their prices."),
        _percent("price_confidence", "The smaller of the name's and the rate's certainty, 0-100."),
        _text("requested_context", "What changes the price of the same model: speed, tier, batch, endpoint."),
        _text("priced_context", "Context the rate was found under; null = no rate known.", null=True),
        _text(
            "unpriced_reason",
            "Why there is no price.",
            null=True,
            allowed=("unknown_model", "low_confidence", "no_rate", "overflow"),
        ),
        _text("rate_layer", "Layer of the rate: book, price_list, or an imported list; null = no rate.", null=True),
        _text("rate_model", "Model that the rate was looked up under; null = no rate known.", null=True),
        _text("rate_source", "Where the rate was taken from; null = no rate known.", null=True),
        _text("subscription", "Plan that carries the request, or whose overage it is; null = none.", null=True),
        _usd("standard_list_price_usd", "List price without speed, tier or batch, USD; null = not known.", null=True),
    ),
    ("timestamp", "event_id"),
)

_GRAIN = (_CLIENT, _PROVIDER, _MAKER, _MODEL)

_USAGE_DAILY = _usage(
    "usage_daily",
    "Usage and cost by local day, client, provider and model.",
    (Column("day", "DATE", "Local day in `timezone`."), _ZONE, *_GRAIN),
    ("day", "client", "provider", "model", "maker"),
)
_USAGE_WEEKLY = _usage(
    "usage_weekly",
    "Usage and cost by ISO week (from Monday), client, provider and model.",
    (
        _text("week", "ISO week in `timezone`, as 2026-W08."),
        Column("week_start", "DATE", "Monday of the week."),
        _ZONE,
        *_GRAIN,
    ),
    ("week", "client", "provider", "model", "maker"),
)
_USAGE_MONTHLY = _usage(
    "usage_monthly",
    "Usage and cost by calendar month, client, provider and model.",
    (_text("month", "Calendar month in `timezone`, as 2026-02."), _ZONE, *_GRAIN),
    ("month", "client", "provider", "model", "maker"),
)
_USAGE_SESSIONS = _usage(
    "usage_sessions",
    "Usage and cost by session and provider.",
    (
        _SESSION,
        _CLIENT,
        _PROVIDER,
        _PROJECT,
        *_SPAN,
        Column("models", "VARCHAR[]", "Canonical models used, sorted."),
    ),
    ("client", "session_id", "provider"),
)
_USAGE_PROJECTS = _usage(
    "usage_projects",
    "Usage and cost by project, client and provider.",
    (_PROJECT, _CLIENT, _PROVIDER, *_SPAN, Column("models", "VARCHAR[]", "Canonical models used, sorted.")),
    ("project", "client", "provider"),
)
_USAGE_MODELS = _usage(
    "usage_models",
    "Usage and cost by model, client and provider.",
    (_MODEL, _MAKER, _CLIENT, _PROVIDER, *_SPAN),
    ("model", "maker", "client", "provider"),
)
_USAGE_CLIENTS = _usage(
    "usage_clients", "Usage and cost by client and provider.", (_CLIENT, _PROVIDER, *_SPAN), ("client", "provider")
)
_USAGE_BLOCKS = _usage(
    "usage_blocks",
    "Usage and cost by 5-hour block, client and provider; blocks follow each other over all clients' events.",
    (
        _time("block_start", "Start of the block: the hour of its first event"),
        _time("block_end", "End of the block, exclusive, 5 hours after its start"),
        _CLIENT,
        _PROVIDER,
        *_SPAN,
    ),
    ("block_start", "client", "provider"),
)

_RATE_UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_PRICES = Table(
    "prices",
    "The rates that list prices come from: USD per million tokens by layer, channel, model, context and time.",
    (
        _text("channel", "Price list's provider id; null in the pricing book.", null=True),
        _MODEL,
        _text("context", "Pricing context: standard, speed=fast, processing=batch, ..."),
        Column("valid_from", "DATE", "First UTC day of the rate; null = from the beginning.", nullable=True),
        Column("valid_to", "DATE", "First UTC day the rate no longer holds; null = open.", nullable=True),
        _text("tod_from", "UTC time of day from which the rate holds, HH:MM; null = all day.", null=True),
        _text("tod_to", "UTC time of day until which the rate holds, exclusive; null = all day.", null=True),
        _count("tier_from_tokens", "Prompt tokens above which the whole request pays the _high rates.", null=True),
        Column("tier_inclusive", "BOOLEAN", "True where exactly that many prompt tokens already do.", nullable=True),
        *(_usd(f"{unit}_usd_per_mtok", f"USD per million {unit} tokens.") for unit in _RATE_UNITS),
        *(
            _usd(f"{unit}_high_usd_per_mtok", f"USD per million {unit} tokens above the tier.", null=True)
            for unit in _RATE_UNITS
        ),
        Column("is_own_channel", "BOOLEAN", "True where the channel is the maker's own."),
        _text("price_list_model", "The price list's own id of the model."),
        _text("source", "Where the rate was taken from."),
        _text("source_version", "Version of that source; null for a page with a date.", null=True),
        _text(
            "status",
            "active, or scheduled where the price list announced the rate for later.",
            allowed=("active", "scheduled"),
        ),
        _percent("confidence", "Certainty of the rate, 0-100."),
        _text("price_snapshot_id", "Price snapshot that the row is part of."),
        _text("layer", "book, price_list (built in), or an imported list; asked in this order."),
        _text("provider", "Pricing book's key of whoever bills; null outside the book.", null=True),
        *(
            _usd(f"{unit}_usd_per_mtok", f"USD per million {unit} tokens; null = as input or output.", null=True)
            for unit in ("tool_input", "tool_output", "tool_input_high", "tool_output_high")
        ),
    ),
    ("layer", "provider", "channel", "model", "context", "valid_from", "tod_from", "status"),
)

_SUBSCRIPTIONS = Table(
    "subscriptions",
    "What became of every plan's fee: one row per plan and part of a billing period within a UTC calendar month.",
    (
        _text("subscription", "Name of the plan as declared."),
        _text("plan", "Id in the shipped catalogue of plans; null where the fee was entered.", null=True),
        _PROVIDER,
        _text("pricing_mode", "How its fee is known.", allowed=("subscription_derived", "subscription_manual")),
        _text(
            "weight_method", "What the fee was spread in proportion to.", allowed=("list_price", "tokens", "requests")
        ),
        _text("month", "UTC calendar month, as 2026-02."),
        Column("period_start", "DATE", "First day of the billing period."),
        Column("period_end", "DATE", "First day after the billing period."),
        Column("segment_start", "DATE", "First day of the period's part in this month."),
        Column("segment_end", "DATE", "First day after it."),
        Column("is_complete", "BOOLEAN", "True where that part is over."),
        _count("seats", "Seats paid for."),
        _usd("fee_usd", "Fee of these days, USD."),
        _usd("allocated_usd", "Part of the fee that requests carry, USD."),
        _usd("idle_usd", "Part of the fee that no request carries, USD."),
        _usd("list_price_usd", "List price of what the plan carried, USD: what it would have cost by the token."),
        _usd("overage_usd", "Cost of requests beyond the plan, USD."),
        _usd("leverage", "List price over fee; null without a fee.", null=True),
        _usd("utilisation", "List price over what the vendor includes; null where that is not known.", null=True),
        _count("event_count", "Requests that the plan carried."),
        _count("total_tokens", "Their tokens."),
        _count("unpriced_tokens", "Tokens among them without a list price."),
        Column("flags", "VARCHAR[]", "fee_unknown, weights_estimated, weights_by_tokens, weights_by_requests."),
    ),
    ("segment_start", "subscription"),
)

_UNPRICED = Table(
    "unpriced",
    "Booked usage that has no list price, by model and reason; what a person or a newer price list has to supply.",
    (
        _CLIENT,
        _PROVIDER,
        _MODEL,
        _MODEL_RAW,
        _CHANNEL,
        _text("requested_context", "What changes the price of the same model: speed, tier, batch, endpoint."),
        _text(
            "unpriced_reason",
            "Why there is no price.",
            allowed=("unknown_model", "low_confidence", "no_rate", "overflow"),
        ),
        _count("event_count", "Requests without a price."),
        _count("unpriced_tokens", "Tokens without a price."),
        *_SPAN,
    ),
    ("client", "provider", "model", "model_raw", "channel", "requested_context", "unpriced_reason"),
)

_SOURCES = Table(
    "sources",
    "Every log ever read, also those that are gone; their events stay.",
    (
        _text("source_id", "Stable id of the log's content line; survives moves and archiving."),
        _CLIENT,
        _text("path", "Path of the log when it was last seen."),
        _text("status", "Whether the log is still there.", allowed=("present", "missing")),
        _text("encoding", "How the log is packed: plain, gzip, zstd, utf16, or sqlite for a database."),
        _count("size_bytes", "Size of the file, bytes."),
        _count("read_offset", "Bytes read of its uncompressed content."),
        _count("record_count", "Usage records read from it."),
        _count("skipped_count", "Lines passed over, for any reason."),
        _count("quarantined_count", "Bad records, kept by position and hash."),
        _time("first_seen", "When the log was first read"),
        _time("last_seen", "When the log was last read"),
    ),
    ("source_id",),
)

_RUNS = Table(
    "runs",
    "Pipeline runs that ended before this table was built.",
    (
        _text("run_id", "Id of the run."),
        _time("generated_at", "When its summary was written"),
        _count("duration_ms", "Duration, milliseconds."),
        _text("month_filter", "Month the run was asked for; null = the latest.", null=True),
        _text("on_unpriced", "What unpriced usage did: skip or error.", allowed=("skip", "error")),
        _count("records_scanned", "Usage records newly read."),
        Column(
            "events_emitted", "BIGINT", "Events by which the ledger grew; negative where copies turned out to be one."
        ),
        _count("checks_passed", "Checks that passed.", null=True),
        _count("checks_failed", "Checks that failed.", null=True),
        _count("checks_warned", "Checks that warned.", null=True),
        Column("failed_names", "VARCHAR[]", "Names of the checks that failed."),
    ),
    ("generated_at", "run_id"),
)

USAGE_TABLES: tuple[str, ...] = (
    "usage_daily",
    "usage_weekly",
    "usage_monthly",
    "usage_sessions",
    "usage_projects",
    "usage_models",
    "usage_clients",
    "usage_blocks",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _EVENTS,
        _DUPLICATES,
        _EVENT_COSTS,
        _USAGE_DAILY,
        _USAGE_WEEKLY,
        _USAGE_MONTHLY,
        _USAGE_SESSIONS,
        _USAGE_PROJECTS,
        _USAGE_MODELS,
        _USAGE_CLIENTS,
        _USAGE_BLOCKS,
        _PRICES,
        _SUBSCRIPTIONS,
        _UNPRICED,
        RUNTIME_METRICS,
        UNIFIED_LEDGER,
        PARETO,
        _SOURCES,
        _RUNS,
    )
}
"""Every public table, in the order they are built."""
