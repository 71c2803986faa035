"""When things run, and in which process: jobs, schedules, the sensors that answer changes, executors.

Here: selections and switches, all off until somebody turns them on. Not here: the conditions of single assets
(`assets/common.py`), and how a change of the logs is seen (`ingest/fingerprints.py`).
"""

import json
import math
import os
import time
from collections.abc import Set
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.bench import perf_gate
from assets.retention import retain
from checks import claims, expectations, goldens
from resources import LedgerHome
from tokenledger_dagster.ingest.fingerprints import log_digests
from tokenledger_dagster.settings import is_automatic

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    # a process of its own costs each step seconds and none of the steps needs one
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor.configured(
        {
            "max_concurrent": os.cpu_count() or 1,
            # a forked server that has already imported the slow things halves what a step costs
            "start_method": {"forkserver": {"preload_modules": ["tokenledger_dagster.definitions", "pandas"]}},
        },
        name="forkserver",
    ),
}
"""By the value of TOKENLEDGER_EXECUTOR."""

AUTOMATIC = is_automatic()
"""One switch for the schedules and `on_change`; each is turned on and off in the UI as well."""

EVERYTHING = dg.AssetSelection.all(include_sources=True)
QUALITY = dg.AssetSelection.checks(*claims.CHECKS, *expectations.CHECKS)
GOLDENS = dg.AssetSelection.checks(*goldens.CHECKS)
USUAL = EVERYTHING - QUALITY - GOLDENS
"""All but the checks that take seconds: they have jobs of their own."""
INFERENCE = USUAL & dg.AssetSelection.groups("inference")
"""Estimates: no figure depends on them, and making them costs seconds where it is on."""
PIPELINE = USUAL - dg.AssetSelection.assets("exports/bundle") - INFERENCE
"""What a change of logs or prices can change."""
TABLES = USUAL & dg.AssetSelection.groups("sources", "events", "pricing", "usage", include_sources=True)
LEDGER = USUAL & (
    dg.AssetSelection.groups("ledger").upstream(include_self=True)
    - dg.AssetSelection.groups("usage", "reconcile", "exports")
)
PRICING = USUAL & dg.AssetSelection.groups("sources", "events", "pricing", "reconcile", include_sources=True)
SNAPSHOT = USUAL & (
    dg.AssetSelection.assets("exports/ui_snapshot").upstream(include_self=True)
    | dg.AssetSelection.groups("sources", include_sources=True)
)

orchestrate = dg.define_asset_job(
    "orchestrate",
    selection=PIPELINE,
    description="Everything: read the logs, build and check every table, publish. `tokenledger orchestrate` runs it.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=TABLES,
    description="Read the logs, build and check the tables, publish nothing.",
)
orchestrate_ui = dg.define_asset_job(
    "orchestrate_ui",
    selection=SNAPSHOT,
    description="Read the logs and publish the UI snapshot: nothing that no status bar needs.",
)
refresh_ledger = dg.define_asset_job(
    "refresh_ledger",
    selection=LEDGER,
    description="The unified ledger alone: models, list prices, latencies of own requests, and who is beaten by none.",
)
reconcile = dg.define_asset_job(
    "reconcile",
    selection=PRICING,
    description="Read the logs, price them, and hold prices against usage: what has none, which sources disagree.",
)
pricing_ci = dg.define_asset_job(
    "pricing_ci",
    selection=PRICING,
    # a request without a price fails the run: this is the gate
    config={"resources": {"options": {"config": {"on_unpriced": "error"}}}},
    description="The pricing gate: read the logs, price them, lint and audit the book, reconcile; fails on usage "
    "without a price.",
)


quality = dg.define_asset_job(
    "quality",
    selection=QUALITY,
    description="Every published total recomputed by an independent path, and the expectation suites.",
)
golden_checks = dg.define_asset_job(
    "goldens",
    selection=GOLDENS,
    description="The bundled sample, made anew, gives the locked figures.",
)
inference = dg.define_asset_job(
    "inference",
    selection=INFERENCE,
    description="What embeddings say of the tables as they are: estimates, or how inference is turned on.",
)
do_all_next = dg.define_asset_job(
    "do_all_next",
    selection=EVERYTHING,
    description="Everything there is, and all that it publishes in one file.",
)


@dg.job(name="bench", description="The gate of speed: what reading logs costs, as ratios to a reference.")
def bench() -> None:
    """Takes about a minute."""
    perf_gate()


@dg.job(name="retention", description="Tells what the home no longer needs, and removes it where `apply` is set.")
def retention() -> None:
    """Nothing is removed unless the run's configuration says so."""
    retain()


LOOK_EVERY_SECONDS = 5
"""As often as Dagster's daemon looks at any sensor; a look is a `stat` of every log file."""
RUN_AT_MOST_EVERY_SECONDS = 15
"""A process for a run costs seconds of processor time: an agent that writes all day must not keep a core busy."""
RETRY_AFTER_SECONDS = 3600
"""The same logs mostly give the same failure; an hour later a disk may have room again."""
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.sensor(
    name="on_change",
    job=orchestrate,
    minimum_interval_seconds=LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING if AUTOMATIC else dg.DefaultSensorStatus.STOPPED,
    description="Runs what a change in the logs reaches, within seconds. Off until you turn it on.",
)
def on_change(context: dg.SensorEvaluationContext, home: LedgerHome) -> dg.SensorResult | dg.SkipReason:
    """One run at a time; what changes meanwhile is found by the look after it."""
    now, before = log_digests(home.open(), home.environ), _looked_before(context.cursor)
    asked_for = dg.RunsFilter(job_name=orchestrate.name, tags={"dagster/sensor_name": "on_change"})
    last = next(iter(context.instance.get_run_records(asked_for, limit=1)), None)
    status = last.dagster_run.status if last else None
    age = time.time() - last.create_timestamp.timestamp() if last else math.inf
    if reason := reason_to_wait(status, age, changed=before != now):
        return dg.SkipReason(reason)
    changed = {client for client, digest in now.items() if before.get(client) != digest}
    selection = None
    # before the first run nothing is there, and after a failed one nobody knows what is
    if before and changed and status == dg.DagsterRunStatus.SUCCESS and context.repository_def is not None:
        selection = reached(context.repository_def.asset_graph, changed)
    return dg.SensorResult(run_requests=[dg.RunRequest(asset_selection=selection)], cursor=json.dumps(now))


def reached(graph: "BaseAssetGraph[Any]", clients: Set[str]) -> list[dg.AssetKey]:
    """Keys of the logs of some clients and of all that `orchestrate` makes of them, in order."""
    found: set[dg.AssetKey] = set()
    sources = [node for node in graph.asset_nodes if node.group_name == "sources"]
    new = {node.key for node in sources if node.metadata.get("client") in clients}
    while new:
        found |= new
        new = {child for one in new for child in graph.get(one).child_keys} - found
    return sorted(one for one in found - {dg.AssetKey(["exports", "bundle"])} if one.path[0] != "inference")


def _looked_before(cursor: str | None) -> dict[str, str]:
    """Digests by client of the logs for which a run was asked last; none where another version kept the cursor."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def reason_to_wait(last: dg.DagsterRunStatus | None, age: float, *, changed: bool) -> str:
    """Why no run is wanted now; empty where one is.

    Args:
        last: state of the last run that the sensor asked for, None before the first.
        age: seconds since that run was asked for.
        changed: whether the logs are not those of that run.
    """
    over = last is None or last in FINISHED
    if not over and age < RETRY_AFTER_SECONDS:
        return "The run of the last change is not over yet."
    # a run that is not over by now was killed with the machine, and nobody will say so
    if not changed and over and last != dg.DagsterRunStatus.FAILURE:
        return "No log changed."
    rest = RUN_AT_MOST_EVERY_SECONDS if changed else RETRY_AFTER_SECONDS
    return f"The last run began less than {rest} seconds ago." if age < rest else ""


by_condition = dg.AutomationConditionSensorDefinition(
    "by_condition",
    target=EVERYTHING,
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=60,
    description="Observes the logs every quarter of an hour and runs only the assets that a change reaches, stage by "
    "stage. Off until you turn it on; `on_change` is faster.",
)

_STATUS = dg.DefaultScheduleStatus.RUNNING if AUTOMATIC else dg.DefaultScheduleStatus.STOPPED
SCHEDULES = [
    dg.ScheduleDefinition(name=name, job=job, cron_schedule=cron, default_status=_STATUS, description=about)
    for name, job, cron, about in (
        # not at the full hour, when everybody's machines start everything
        ("hourly", orchestrate, "7 * * * *", "Everything once an hour, also where no sensor saw a change."),
        ("daily_reconcile", reconcile, "17 3 * * *", "Prices held against usage once a day, at 03:17 UTC."),
        ("weekly_ledger", refresh_ledger, "27 4 * * 1", "The unified ledger anew on Mondays at 04:27 UTC."),
    )
]
JOBS: list[Any] = [
    *(orchestrate, orchestrate_ui, refresh, refresh_ledger, reconcile, pricing_ci),
    *(quality, golden_checks, bench, retention, inference, do_all_next),
]
SENSORS = [on_change, by_condition]
