"""Expectation suites over the published database, a check per suite, all in one step.

Here: the step. Not here: what is expected (`config/expectations`), and by whom it is judged
(`tokenledger_dagster/governance/expectations.py`). Great Expectations takes seconds to import: it is when a suite runs.
"""

from collections.abc import Iterator

import dagster as dg

from assets.common import key
from checks.claims import DAILY, fail_on
from checks.common import result_of
from resources import Engine, LedgerHome
from tokenledger_dagster.governance.expectation_suites import SUITES
from tokenledger_dagster.governance.outcome import Inspection

ABOUT = {
    "completeness": "Every request is in every view, under its whole key; else reports leave usage out.",
    "distribution": "Figures are such as usage can have; else something is counted or priced wrongly.",
    "freshness": "What is published is as new as the ledger, and the ledger as the logs; else reports are out of date.",
}
SPECS = [
    dg.AssetCheckSpec(
        f"expected_{suite}", asset=key("exports/warehouse"), description=ABOUT[suite], automation_condition=DAILY
    )
    for suite in SUITES
]


@dg.multi_asset_check(name="expectation_checks", specs=SPECS, can_subset=True)
def expectation_checks(
    context: dg.AssetCheckExecutionContext, home: LedgerHome, engine: Engine
) -> Iterator[dg.AssetCheckResult]:
    """Each suite that was asked for; without Great Expectations it is skipped, and that is said."""
    from tokenledger_dagster.governance.expectations import outcome, run_suite
    from tokenledger_dagster.governance.quality import page_path, record_suite

    failed = []
    with engine.connect() as connection:
        look = Inspection(home.open(), connection, home.zone)
        for check_key in sorted(context.selected_asset_check_keys):
            result = run_suite(check_key.name.removeprefix("expected_"), look)
            record_suite(look.home, result)
            yield result_of(outcome(result), check_key, docs=page_path(look.home))
            failed += [] if result.passed else [check_key.name]
    fail_on(failed)


CHECKS = [expectation_checks]
