"""What was read from the logs, and which of it counts: stage `events`.

Here: one asset per client that reads its new log lines into the lake, then the booked events, the duplicates and the
list of log files as tables. Not here: any rule of reading or booking (`tokenledger_dagster/ingest`, `clients`).
"""

import time
from collections.abc import Callable

import dagster as dg
import msgspec

from assets.common import OWNERS, figures, key, on_change, table_asset, table_options, table_result
from assets.landing import LANDED_BEFORE
from assets.sources import noun
from resources import Engine, LedgerHome, Metrics, RunOptions
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.summaries import IngestSummary
from tokenledger_dagster.ingest.fingerprints import ClientTotals, client_totals

CLIENT_EVENTS = [f"events/{noun(client)}" for client in clients()]
PROGRESS_EVERY_SECONDS = 2.0
WAIT_SECONDS = 600.0
"""Steps in processes of their own take turns by the home's lock: it dies with its holder, a pool's slot does not."""


def client_events(client: str) -> dg.AssetsDefinition:
    """The asset that reads one client's logs; a client without logs has no rows, and that is no failure."""

    @dg.asset(
        key=["events", noun(client)],
        group_name="events",
        deps=[["sources", f"{noun(client)}_logs"], *map(key, LANDED_BEFORE.get(client, []))],
        description=f"Usage records of {client} in the lake.\n\nReads what is new in its logs; nothing is ever lost.",
        kinds={"python", "parquet"},
        owners=OWNERS,
        code_version=str(clients()[client].parser_version),
        automation_condition=on_change(),
        metadata={"client": client},
    )
    def read_logs(
        context: dg.AssetExecutionContext, home: LedgerHome, options: RunOptions, metrics: Metrics
    ) -> dg.MaterializeResult:
        from tokenledger_dagster.ingest.sync import SyncOptions, sync

        place = home.open()
        wanted = SyncOptions(
            only=(client,),
            no_cache=options.no_cache,
            zone=home.zone,
            host=home.settings.host,
            wait_seconds=WAIT_SECONDS,
        )
        summary = sync(place, home.environ, wanted, metrics.backend(), progress_log(context))
        for problem in summary.problems:
            context.log.warning(problem)
        return client_result(summary, client_totals(place, client))

    return read_logs


def client_result(summary: IngestSummary, total: ClientTotals) -> dg.MaterializeResult:
    """What a client's asset shows of its sync and of all that the ledger holds of the client."""
    cache = summary.cache
    shown = figures(
        rows=total.records,
        duration_ms=summary.duration_ms,
        tokens=total.total_tokens,
        usd=total.list_price_usd,
        hits=cache.hit / (cache.hit + cache.miss) if cache.miss else 1.0,
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(total.digest),
        metadata={
            **shown,
            "events": total.events,
            "ingest_summary": dg.MetadataValue.json(msgspec.to_builtins(summary)),
        },
    )


@dg.asset(**table_options("events", CLIENT_EVENTS))
def booked(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """The journals become Parquet segments first: only now have their hashes been checked."""
    from tokenledger_dagster.ingest.compaction import compact

    done = compact(home.open(), WAIT_SECONDS)
    return table_result(
        "events", home, engine, metrics, journals_compacted=done.journals, segments_written=done.segments_written
    )


def progress_log(context: dg.AssetExecutionContext) -> Callable[[int, int, int, int], None]:
    """A line of progress every few seconds: each one is a write to Dagster's own storage."""
    last = time.monotonic()

    def line(files: int, all_files: int, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"read {files:,} of {all_files:,} files, {done >> 20:,} of {total >> 20:,} MB")

    return line


log_files = table_asset("sources", CLIENT_EVENTS)
# a duplicate's evidence names its log and the event that it repeats
duplicates = table_asset("duplicates", ["events/booked", "events/log_files"])
ASSETS = [*(client_events(client) for client in clients()), log_files, booked, duplicates]
