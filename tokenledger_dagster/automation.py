"""When things run, and in which process: jobs, the sensors that answer changes, executors.

Here: selections and switches, all off until somebody turns them on. Not here: the conditions of single assets
(`assets/common.py`), and how a change of the logs is seen (`ingest/fingerprints.py`).
"""

import math
import os
import time

import dagster as dg

from resources import LedgerHome
from tokenledger_dagster.ingest.fingerprints import all_logs_digest

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

EVERYTHING = dg.AssetSelection.all(include_sources=True)
TABLES = dg.AssetSelection.groups("sources", "events", "pricing", "usage", include_sources=True)
LEDGER = dg.AssetSelection.groups("ledger").upstream(include_self=True) - dg.AssetSelection.groups(
    "usage", "reconcile", "exports"
)
PRICING = dg.AssetSelection.groups("sources", "events", "pricing", "reconcile", include_sources=True)

orchestrate = dg.define_asset_job(
    "orchestrate",
    selection=EVERYTHING,
    description="Everything: read the logs, build and check every table, publish. `tokenledger orchestrate` runs it.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=TABLES,
    description="Read the logs, build and check the tables, publish nothing.",
)


refresh_ledger = dg.define_asset_job(
    "refresh_ledger",
    selection=LEDGER,
    description="The unified ledger alone: models, list prices, latencies of own requests, and who is beaten by none.",
)


pricing_ci = dg.define_asset_job(
    "pricing_ci",
    selection=PRICING,
    # a request without a price fails the run: this is the gate
    config={"resources": {"options": {"config": {"on_unpriced": "error"}}}},
    description="The pricing gate: read the logs, price them, lint and audit the book, reconcile; fails on usage "
    "without a price.",
)


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
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Runs `orchestrate` within seconds of a change in the logs. Off until you turn it on.",
)
def on_change(context: dg.SensorEvaluationContext, home: LedgerHome) -> dg.SensorResult | dg.SkipReason:
    """One run at a time; what changes meanwhile is found by the look after it."""
    digest = all_logs_digest(home.open(), home.environ)
    asked_for = dg.RunsFilter(job_name=orchestrate.name, tags={"dagster/sensor_name": "on_change"})
    last = next(iter(context.instance.get_run_records(asked_for, limit=1)), None)
    status = last.dagster_run.status if last else None
    age = time.time() - last.create_timestamp.timestamp() if last else math.inf
    if reason := reason_to_wait(status, age, changed=context.cursor != digest):
        return dg.SkipReason(reason)
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=digest)


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

JOBS = [orchestrate, refresh, refresh_ledger, pricing_ci]
SENSORS = [on_change, by_condition]
