"""Usage and cost summed by day, week, month, session, project, model, client and 5-hour block: stage `usage`.

Here: one asset per table, and one for the aggregates that are kept. Not here: how events are grouped
(`tokenledger_dagster/exports`), what is kept (`tokenledger_dagster/usage`).
"""

from typing import Any

import dagster as dg

from assets.common import OWNERS, figures, key, on_change, table_asset, table_options, table_result
from resources import Engine, LedgerHome, Metrics, RunOptions

# what has no price is known before anything is summed: every usage table says how much that is
COSTS = ["pricing/event_costs", "pricing/unpriced"]


@dg.asset(**table_options("usage_daily", COSTS))
def daily(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """The table, with a chart of the last days for who would rather look than read."""
    from tokenledger_dagster.exports.charts import daily_chart

    result = table_result("usage_daily", home, engine, metrics)
    chart = dg.MetadataValue.md(daily_chart(home.open()))
    return result._replace(metadata={**(result.metadata or {}), "chart": chart})


NAMES = ("weekly", "monthly", "sessions", "projects", "models", "clients", "blocks")


@dg.asset(
    key=["usage", "aggregate_cache"],
    group_name="usage",
    deps=[key(name) for name in ("pricing/event_costs", "usage/daily", *(f"usage/{name}" for name in NAMES))],
    description="Aggregates of each month below `cache/aggregates/`: costs, and where it pays the UI snapshot.\n\n"
    "A month is computed again only where its requests, prices or plans are others; `--no-cache` leaves it aside.",
    kinds={"json"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_change(),
)
def aggregate_cache(home: LedgerHome, options: RunOptions, metrics: Metrics) -> dg.MaterializeResult:
    """Hits, misses and what was thrown away, as the pipeline summary tells them."""
    from tokenledger_dagster.usage.aggregates import fill

    month = options.month or home.settings.month
    made = fill(home.open(), home.zone, month=month, enabled=not options.no_cache, metrics=metrics.backend())
    looked_up = made.hit_count + made.miss_count
    numbers = figures(
        rows=made.months,
        duration_ms=made.duration_ms,
        tokens=made.total_tokens,
        usd=made.list_price_usd,
        hits=made.hit_count / looked_up if looked_up else 0.0,
    )
    told: dict[str, Any] = {
        name: getattr(made, name) for name in ("enabled", "hit_count", "miss_count", "invalidate_count", "problem")
    }
    path = dg.MetadataValue.path(made.cache_path)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.digest), metadata={**numbers, **told, "cache_path": path}
    )


ASSETS = [daily, *(table_asset(f"usage_{name}", COSTS) for name in NAMES), aggregate_cache]
