"""Published totals against the same totals by an independent path, all in one step, when everything is published.

Here: the step. Not here: the claims (`tokenledger_dagster/governance/claims.py`).

None of them blocks: they are made when everything is published, in a job of their own, and a blocking check that a run
does not make would hold back by_condition for ever. A claim that fails fails its run.
"""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.common import key
from checks.common import ASSETS_OF, result_of
from resources import Engine, LedgerHome
from tokenledger_dagster.governance.claims import CLAIMS, inspect_claim
from tokenledger_dagster.governance.outcome import Inspection

DAILY: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed("@daily")
"""With a condition of its own a check is not made along with every change of its asset."""
ASSET_OF = {**ASSETS_OF, "pipeline_summary": ["exports/pipeline_summary"]}
SPECS = [
    dg.AssetCheckSpec(claim.name, asset=key(asset), description=claim.description, automation_condition=DAILY)
    for claim in CLAIMS.values()
    for asset in ASSET_OF[claim.table]
]


@dg.multi_asset_check(name="claim_checks", specs=SPECS, can_subset=True)
def claim_checks(
    context: dg.AssetCheckExecutionContext, home: LedgerHome, engine: Engine
) -> Iterator[dg.AssetCheckResult]:
    """Each claim that was asked for; the events are summed once for all of them."""
    from tokenledger_dagster.governance.quality import page_path, record_claims

    started, found = time.perf_counter(), {}
    with engine.connect() as connection:
        look = Inspection(home.open(), connection, home.zone)
        for check_key in sorted(context.selected_asset_check_keys):
            found[check_key] = inspect_claim(check_key.name, look)
    record_claims(look.home, found.values(), time.perf_counter() - started)
    docs = page_path(look.home)
    yield from (result_of(outcome, check_key, docs=docs) for check_key, outcome in found.items())
    fail_on([outcome.name for outcome in found.values() if not outcome.passed])


def fail_on(names: list[str]) -> None:
    """Fail the step, and so the run: a check alone fails none unless it blocks."""
    if names:
        raise dg.Failure(f"{', '.join(names)}: see the results of these checks", allow_retries=False)


CHECKS = [claim_checks]
