"""When things run, and in which process: jobs, the sensor that answers changes, executors.

Here: selections and switches, all off until somebody turns them on. Not here: the conditions of single assets
(`assets/common.py`).
"""

import os

import dagster as dg

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
on_change = dg.AutomationConditionSensorDefinition(
    "on_change",
    target=EVERYTHING,
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=60,
    description="Observes the logs and runs what their changes reach. Off until you turn it on.",
)

JOBS = [orchestrate, refresh]
SENSORS = [on_change]
