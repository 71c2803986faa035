"""What other programs read: stage `exports`.

Here: the analyst's database, the UI snapshot and the summary of the run. Not here: what is in them
(`tokenledger_dagster/exports`).
"""

import time
from pathlib import Path

import dagster as dg

from assets.common import ASSET_OF_TABLE, OWNERS, figures, fresh, key, on_change
from assets.run_facts import write_run_summary
from resources import Engine, LedgerHome, Metrics, RunOptions
from tokenledger_dagster.ingest.fingerprints import document_digest

# every other table stands behind these, so that a change reaches the database once, when all of it has arrived
LAST_TABLES = [name for name in ASSET_OF_TABLE.values() if name.startswith(("usage/", "ledger/"))]
SUMMARISED = ["exports/warehouse", "exports/ui_snapshot"]


@dg.asset(
    key=["exports", "warehouse"],
    group_name="exports",
    deps=[key(name) for name in LAST_TABLES],
    description="The analyst's database `tokenledger.duckdb`.\n\nReplaced as a whole, so no reader waits or is broken.",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_change(),
    freshness_policy=fresh(1.5, 7),
)
def warehouse(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """Every public table in one file; the list of runs has no asset of its own, since each run makes it longer."""
    from tokenledger_dagster.exports.tables import build
    from tokenledger_dagster.exports.warehouse import publish

    with engine.connect() as connection:
        build("runs", connection, home.open(), home.zone)
    made = publish(home.open(), metrics=metrics.backend())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.digest),
        metadata={
            **figures(rows=made.row_count, duration_ms=made.duration_ms, hits=float(made.cache_hit)),
            "bytes": made.bytes,
            "tables": dg.MetadataValue.json(made.tables),
            "path": dg.MetadataValue.path(str(made.path)),
        },
    )


@dg.asset(
    key=["exports", "ui_snapshot"],
    group_name="exports",
    deps=[key("usage/monthly"), key("usage/models")],
    description="The UI snapshot `ui-snapshot.json`: the month in figures, for status bars and editor extensions.",
    kinds={"json"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_change(),
    freshness_policy=fresh(1.5, 7),
)
def ui_snapshot(home: LedgerHome, engine: Engine, options: RunOptions) -> dg.MaterializeResult:
    """Made from the manifest's sums, in the shape of the v1 contract, with the suggestions of its month."""
    from tokenledger_dagster.exports.suggestions import keep_suggestions
    from tokenledger_dagster.exports.ui_snapshot import write_snapshot
    from tokenledger_dagster.usage.aggregates import open_aggregates
    from tokenledger_dagster.usage.read_suggestions import snapshot_with_suggestions

    started, place, settings = time.perf_counter(), home.open(), home.settings
    with open_aggregates(place, home.zone, enabled=not options.no_cache) as kept:
        made = kept.snapshot(options.month or settings.month, options.snapshot_mode, settings.snapshot_top_n)
    with engine.connect() as connection:
        made = snapshot_with_suggestions(made, place, keep_suggestions(place, connection, home.zone, made.month))
    path = write_snapshot(place, made)
    if options.ui_snapshot_path:
        write_snapshot(place, made, Path(options.ui_snapshot_path))
    numbers = figures(
        rows=len(made.top_models),
        duration_ms=round((time.perf_counter() - started) * 1000),
        tokens=made.totals.tokens,
        usd=made.totals.list_price_usd,
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(document_digest(made, "suggestions_path")),
        metadata={**numbers, "month": made.month, "mode": made.mode, "path": dg.MetadataValue.path(str(path))},
    )


@dg.asset(
    key=["exports", "pipeline_summary"],
    group_name="exports",
    deps=[key(name) for name in SUMMARISED],
    description="The last run, stage by stage: `orchestrate-latest-summary.json`.",
    kinds={"json"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_change(),
    freshness_policy=fresh(1.5, 7),
)
def pipeline_summary(context: dg.AssetExecutionContext, home: LedgerHome, options: RunOptions) -> dg.MaterializeResult:
    """Told from the events of this very run; `tokenledger orchestrate` completes it when the last check is done."""
    started = time.perf_counter()
    summary, path = write_run_summary(context.instance, context.run.run_id, home, options)
    numbers = figures(rows=summary.checks.passed, duration_ms=round((time.perf_counter() - started) * 1000))
    return dg.MaterializeResult(metadata={**numbers, "path": dg.MetadataValue.path(str(path))})


@dg.asset(
    key=["exports", "bundle"],
    group_name="exports",
    deps=[key("exports/pipeline_summary")],
    description="Every published document in one file, `bundle/artifacts.zip`, with an index and SHA-256 of each.",
    kinds={"file"},
    owners=OWNERS,
    code_version="1",
)
def bundle(home: LedgerHome) -> dg.MaterializeResult:
    """For a build server to keep; `tokenledger orchestrate` writes it once more when the run's summary is complete."""
    from tokenledger_dagster.exports.bundle import write_bundle

    started = time.perf_counter()
    made = write_bundle(home.open())
    included = [one for one in made.index.artifacts if one.is_included]
    numbers = figures(rows=len(included), duration_ms=round((time.perf_counter() - started) * 1000))
    listed = [{"path": one.path, "bytes": one.bytes} for one in included]
    return dg.MaterializeResult(
        metadata={**numbers, "artifacts": dg.MetadataValue.json(listed), "path": dg.MetadataValue.path(str(made.path))}
    )


ASSETS = [warehouse, ui_snapshot, pipeline_summary, bundle]
