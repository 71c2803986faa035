"""The report document (contract section 11, ``report``).

Here: its shape and schema version.  Not here: how rows are summed (``usage.report``) or printed (``cli.output``).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

REPORT_SCHEMA_VERSION = 1


class Sums(msgspec.Struct, kw_only=True):
    """Tokens and USD of a selection."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    tool_input_tokens: int = 0
    tool_output_tokens: int = 0
    total_tokens: int = 0
    """The six counters above."""
    list_price_usd: Decimal | None = None
    """Sum over priced events; null where none has a price."""
    effective_cost_usd: Decimal | None = None
    """What they cost: list price, or reported cost where that is declared; where a plan carries them, a share of its
    fee. Null where nothing is known of the cost of any."""


class ModelRow(Sums, kw_only=True):
    """One canonical model within a row."""

    model: str
    model_raw: list[str]
    """Every name the logs gave it."""


class Totals(Sums, kw_only=True):
    """A selection's sums with its counts."""

    unpriced_tokens: int = 0
    unpriced_count: int = 0
    event_count: int = 0
    session_count: int = 0
    """Not additive: a session active on two days counts once in their sum."""
    cache_write_1h_tokens: int = 0
    """Part of ``cache_write_tokens``."""
    reasoning_tokens: int = 0
    """Part of ``output_tokens``."""
    web_search_requests: int = 0
    estimated_tokens: int = 0
    """Tokens of ``total_tokens`` that nobody counted; ``--no-estimates`` leaves them out."""
    variable_cost_usd: Decimal | None = None
    """Part of ``effective_cost_usd`` that the requests themselves cost."""
    subscription_allocated_usd: Decimal = Decimal(0)
    """Part of it that is a share of plans' fees."""
    idle_subscription_usd: Decimal = Decimal(0)
    """Fees of plans that no request carries, by day; only in rows by time and in the totals of a whole period."""
    total_cost_usd: Decimal | None = None
    """Effective cost and idle fees."""


class Row(Totals, kw_only=True):
    """One row of a report."""

    key: str
    client: str | None = None
    """Where the row is of one client: its name."""
    project: str | None = None
    """For sessions: the working folder."""
    models: list[ModelRow] = []


class Report(msgspec.Struct, kw_only=True):
    """A report."""

    schema_version: int = REPORT_SCHEMA_VERSION
    generated_at: str
    kind: str
    timezone: str
    filters: dict[str, Any]
    rows: list[Row]
    totals: Totals
