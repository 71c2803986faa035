"""The unified ledger of models and providers: stage `ledger`.

Here: the benchmark seed, the ledger of a home, how own requests went, and which models nobody beats. Not here: rows,
prices, dominance (`tokenledger_dagster/models`), what a home adds (`tokenledger_dagster/exports/model_ledger`).
"""

from typing import Any

import dagster as dg

from assets.common import OWNERS, figures, fresh, on_change, table_options, table_result
from resources import Engine, LedgerHome, Metrics

DAILY = on_change() | dg.AutomationCondition.cron_tick_passed("@daily")
"""Prices are those of the day."""


@dg.asset(
    key=["ledger", "model_seed"],
    group_name="ledger",
    kinds={"csv"},
    owners=OWNERS,
    code_version="1",
    automation_condition=DAILY,
)
def model_seed(home: LedgerHome) -> dg.MaterializeResult:
    """The benchmark table `config/models.csv` in long form: one row per benchmark and model, missing values told."""
    from tokenledger_dagster.exports.model_ledger import write_seed

    made = write_seed(home.open())
    return _result(made.counts, made.digest, made.duration_ms, is_new=made.is_new)


@dg.asset(**table_options("runtime_metrics", ["events/cliproxyapi", "events/booked"]))
def runtime_metrics(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """From the proxy's files and what was booked of them; a ledger without any has no rows."""
    from tokenledger_dagster.exports.model_ledger import write_runtime

    with engine.connect() as connection:
        made = write_runtime(home.open(), home.environ, connection)
    return table_result("runtime_metrics", home, engine, metrics, **made.counts)


@dg.asset(
    **{
        **table_options(
            "unified_model_provider_ledger", ["ledger/model_seed", "ledger/runtime_metrics", "pricing/price_list"]
        ),
        "automation_condition": DAILY,
    }
)
def unified_model_provider_ledger(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """Beside the models of the benchmark table, those that this ledger has usage of."""
    from tokenledger_dagster.exports.model_ledger import write_ledger

    with engine.connect() as connection:
        made = write_ledger(home.open(), connection)
    return table_result("unified_model_provider_ledger", home, engine, metrics, **made.counts)


@dg.asset(
    **table_options("unified_model_provider_pareto", ["ledger/unified_model_provider_ledger"]),
    freshness_policy=fresh(8, 30),
)
def unified_model_provider_pareto(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """With a picture of cost and quality: the line is the frontier."""
    from tokenledger_dagster.exports.pareto_chart import pareto_markdown

    result = table_result("unified_model_provider_pareto", home, engine, metrics)
    chart = dg.MetadataValue.md(pareto_markdown(home.open()))
    return result._replace(metadata={**(result.metadata or {}), "chart": chart})


def _result(counts: dict[str, int], digest: str, duration_ms: int, *, is_new: bool) -> dg.MaterializeResult:
    numbers: dict[str, Any] = figures(rows=counts["rows"], duration_ms=duration_ms, hits=float(not is_new))
    return dg.MaterializeResult(data_version=dg.DataVersion(digest), metadata={**counts, **numbers})


ASSETS = [model_seed, runtime_metrics, unified_model_provider_ledger, unified_model_provider_pareto]
