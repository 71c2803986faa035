"""What the assets of all stages share: names, conditions of automation, column schemas, metadata.

Here: the same words and figures everywhere, so that the UI plots one asset like the other. Not here: any asset, any
figure's computation.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import dagster as dg

from resources import Engine, LedgerHome, Metrics
from tokenledger_dagster.contracts.tables import TABLES, column_rows

OWNERS = ["team:ledger"]
ASSET_OF_TABLE = {
    "sources": "events/log_files",
    "events": "events/booked",
    "duplicates": "events/duplicates",
    "prices": "pricing/price_list",
    "event_costs": "pricing/event_costs",
    "unpriced": "pricing/unpriced",
    "subscriptions": "pricing/subscriptions",
    "runtime_metrics": "ledger/runtime_metrics",
    "unified_model_provider_ledger": "ledger/unified_model_provider_ledger",
    "unified_model_provider_pareto": "ledger/unified_model_provider_pareto",
    "usage_daily": "usage/daily",
    "usage_weekly": "usage/weekly",
    "usage_monthly": "usage/monthly",
    "usage_sessions": "usage/sessions",
    "usage_projects": "usage/projects",
    "usage_models": "usage/models",
    "usage_clients": "usage/clients",
    "usage_blocks": "usage/blocks",
}
"""Public table -> key of the asset that builds it; `runs` is built by `exports/warehouse`."""


def key(text: str) -> dg.AssetKey:
    """The asset key written as stage/noun."""
    return dg.AssetKey(text.split("/"))


def fresh(warn_days: float, fail_days: float) -> dg.FreshnessPolicy:
    """Told as stale in the UI when it was not made for so long; nothing fails by it."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(days=fail_days), warn_window=timedelta(days=warn_days))


def on_change() -> dg.AutomationCondition:
    """Run when a dependency has a new data version, the code has a new one, or nothing was made yet.

    A changed data version is true for one tick only: it is remembered until a run was asked for or made. A failed run
    is tried again on the hour, neither never nor at every tick. Nothing runs on what a blocking check has refused.
    """
    condition = dg.AutomationCondition
    wanted = (
        condition.any_deps_match(condition.data_version_changed())
        | condition.code_version_changed()
        | condition.missing().newly_true()
        | (condition.execution_failed() & condition.cron_tick_passed("@hourly"))
    ).since(condition.newly_requested() | condition.newly_updated())
    return (
        wanted
        & ~condition.in_progress()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & condition.all_deps_blocking_checks_passed()
    ).with_label("an input or the code changed")


def column_schema(table: str) -> dg.TableSchema:
    """The columns of a public table as the UI shows them."""
    columns = [
        dg.TableColumn(
            row.name,
            row.type,
            description=row.description,
            constraints=dg.TableColumnConstraints(nullable=row.nullable, other=list(row.constraints)),
        )
        for row in column_rows(TABLES[table])
    ]
    return dg.TableSchema(columns=columns)


def figures(
    *, rows: int, duration_ms: int, tokens: int | None = None, usd: Decimal | None = None, hits: float | None = None
) -> dict[str, Any]:
    """The numeric metadata under the keys that every asset uses; a figure an asset cannot have is left out."""
    found: dict[str, Any] = {"dagster/row_count": rows, "duration_ms": duration_ms}
    if tokens is not None:
        found["total_tokens"] = tokens
    if usd is not None:
        # Dagster plots floats; the exact figure is in the table
        found["list_price_usd"] = float(usd)
    if hits is not None:
        found["cache_hit_ratio"] = float(hits)
    return found


def table_result(
    table: str, home: LedgerHome, engine: Engine, metrics: Metrics, **metadata: Any
) -> dg.MaterializeResult:
    """Build one public table, or find that it is up to date, and report it."""
    from tokenledger_dagster.exports.tables import build

    with engine.connect() as connection:
        built = build(table, connection, home.open(), home.zone, metrics=metrics.backend())
    numbers = figures(
        rows=built.row_count,
        duration_ms=built.duration_ms,
        tokens=built.total_tokens,
        usd=built.list_price_usd,
        hits=float(built.cache_hit),
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(built.digest),
        metadata={**numbers, "path": dg.MetadataValue.path(str(built.path)), **metadata},
    )


def table_asset(table: str, deps: list[str], *, code_version: str = "1") -> dg.AssetsDefinition:
    """The asset that builds one public table and does nothing else."""

    @dg.asset(**table_options(table, deps, code_version=code_version))
    def build_table(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
        return table_result(table, home, engine, metrics)

    return build_table


def table_options(table: str, deps: list[str], *, code_version: str = "1") -> dict[str, Any]:
    """Arguments of `@asset` for a public table; `deps` are keys written as stage/noun."""
    own = key(ASSET_OF_TABLE[table])
    return {
        "key": own,
        "group_name": own.path[0],
        "deps": [key(name) for name in deps],
        "description": TABLES[table].description,
        "kinds": {"duckdb", "parquet"},
        "owners": OWNERS,
        "code_version": code_version,
        "automation_condition": on_change(),
        "metadata": {"dagster/column_schema": column_schema(table), "dagster/table_name": table},
    }
