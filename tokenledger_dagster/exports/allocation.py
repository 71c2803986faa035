"""What published events cost under declared plans: fees spread over quarter hours, and within these over requests.

Here: the steps around ``plan_atoms.sql`` and ``plan_costs.sql``.  Not here: the arithmetic of fees
(``pricing.economics``), list prices (``exports.costs``).  A quarter hour's cost is the one that reports are answered
with, so that both agree to the nano-USD.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.exports.engine import literal, load, sql
from tokenledger_dagster.pricing.economics import Atom, AtomCost, PlanMonth, economics
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.effective import Declared, Effective

if TYPE_CHECKING:
    import duckdb

_EPOCH = date(1970, 1, 1)
_SLOTS_A_DAY = 86_400_000_000 // SLOT_US
_COLUMNS = (
    "atom_no BIGINT, variable_nano HUGEINT, variable_by VARCHAR, allocated_nano HUGEINT, pricing_mode VARCHAR, "
    "subscription VARCHAR, method VARCHAR, median_nano HUGEINT"
)
_MONTH_COLUMNS = (
    "subscription VARCHAR, plan VARCHAR, provider VARCHAR, pricing_mode VARCHAR, weight_method VARCHAR, "
    "period_start DATE, period_end DATE, segment_start DATE, segment_end DATE, is_complete BOOLEAN, seats BIGINT, "
    "fee_nano BIGINT, allocated_nano BIGINT, idle_nano BIGINT, list_nano BIGINT, overage_nano BIGINT, "
    "event_count BIGINT, total_tokens BIGINT, unpriced_tokens BIGINT, leverage DECIMAL(18, 9), "
    "utilisation DECIMAL(18, 9), flags VARCHAR[]"
)


def spread(cursor: duckdb.DuckDBPyConnection, priced: str, events: Path, declared: Declared, today: date) -> str:
    """The query of ``event_costs`` with fees spread, over a query that tells list prices alone.

    Args:
        cursor: where relations are made.
        priced: query of the rows of whole UTC months in token mode.
        events: Parquet file of the events.
        declared: plans in force.
        today: the last UTC day that plans are paid for.
    """
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE priced_rows AS {priced}")
    cursor.execute(sql("plan_atoms", events=literal(events)))
    found = cursor.execute("SELECT * EXCLUDE (atom_no) FROM plan_atoms ORDER BY atom_no").fetchall()
    atoms = [Atom._make(row) for row in found]
    costs, months = economics(atoms, declared.plans, declared.catalogue, today)
    reported = {name for name, terms in declared.plans.providers.items() if terms.cost_source == "reported"}
    at = _by_day(months)
    rows = [_row(number, *pair, at, reported) for number, pair in enumerate(zip(atoms, costs, strict=True))]
    load(cursor, "atom_costs", _COLUMNS, list(zip(*rows, strict=True)))
    return sql("plan_costs")


def subscriptions(cursor: duckdb.DuckDBPyConnection, found: Effective | None) -> str:
    """The query of the table ``subscriptions``; no rows where nothing is declared."""
    months = [] if found is None else found.months
    rows = [
        (
            *(getattr(month, name) for name in ("subscription", "plan", "provider", "mode", "weight_method")),
            *(getattr(month, name) for name in ("period_start", "period_end", "segment_start", "segment_end")),
            *(getattr(month, name) for name in ("is_complete", "seats", "fee_nano", "allocated_nano", "idle_nano")),
            *(getattr(month, name) for name in ("list_nano", "overage_nano", "event_count", "total_tokens")),
            month.unpriced_tokens,
            month.leverage,
            month.utilisation,
            list(month.flags),
        )
        for month in months
    ]
    load(cursor, "plan_months", _MONTH_COLUMNS, list(zip(*rows, strict=True)))
    return sql("subscriptions")


def today() -> date:
    """The UTC day."""
    return datetime.now(UTC).date()


def _by_day(months: list[PlanMonth]) -> dict[str, tuple[list[date], list[PlanMonth]]]:
    found: dict[str, tuple[list[date], list[PlanMonth]]] = {}
    for month in months:
        starts, mine = found.setdefault(month.subscription, ([], []))
        starts.append(month.segment_start)
        mine.append(month)
    return found


def _row(
    number: int,
    atom: Atom,
    cost: AtomCost,
    months: dict[str, tuple[list[date], list[PlanMonth]]],
    reported: set[str],
) -> tuple[Any, ...]:
    method, median = "tokens", None
    is_carried = cost.subscription is not None and atom.billing_kind != "overage"
    if cost.subscription is not None:
        starts, mine = months[cost.subscription]
        day = _EPOCH + timedelta(days=atom.slot // _SLOTS_A_DAY)
        month = mine[bisect_right(starts, day) - 1]
        method, median = month.weight_method, month.median_nano_per_mtok
    if is_carried:
        by = "nothing"
    elif atom.is_reported and atom.provider in reported:
        by = "reported"
    else:
        by = "list" if cost.variable_nano == atom.list_nano else "share"
    return (
        number, cost.variable_nano, by, cost.allocated_nano, cost.mode, cost.subscription, method, median or 0
    )  # fmt: skip
