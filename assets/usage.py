"""Usage and cost summed by day, week, month, session, project, model, client and 5-hour block: stage `usage`.

Here: one asset per table. Not here: how events are grouped (`tokenledger_dagster/exports`).
"""

import dagster as dg

from assets.common import table_asset, table_options, table_result
from resources import Engine, LedgerHome, Metrics

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
ASSETS = [daily, *(table_asset(f"usage_{name}", COSTS) for name in NAMES)]
