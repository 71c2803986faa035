"""The one code location: everything Dagster is told about, listed and merged.

Here: lists. Not here: anything else; importing this module reads no file and opens nothing.
"""

import os

import dagster as dg

from assets import events, exports, inference, landing, ledger, pricing, reconcile, sources, usage
from checks import claims, expectations, goldens
from checks import exports as export_checks
from checks import inference as inference_checks
from checks import tables as table_checks
from resources import default_resources
from tokenledger_dagster.automation import EXECUTORS, JOBS, SCHEDULES, SENSORS

defs = dg.Definitions(
    assets=[
        *sources.ASSETS,
        *landing.ASSETS,
        *events.ASSETS,
        *pricing.ASSETS,
        *usage.ASSETS,
        *reconcile.ASSETS,
        *ledger.ASSETS,
        *inference.ASSETS,
        *exports.ASSETS,
    ],
    asset_checks=[
        *table_checks.CHECKS,
        *inference_checks.CHECKS,
        *export_checks.CHECKS,
        *claims.CHECKS,
        *expectations.CHECKS,
        *goldens.CHECKS,
    ],
    resources=default_resources(),
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    executor=EXECUTORS.get(os.environ.get("TOKENLEDGER_EXECUTOR", ""), EXECUTORS["in_process"]),
)
