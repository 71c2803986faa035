"""Check of the program itself: the bundled sample, made anew, gives the locked figures.

Here: the check that the job `goldens` runs alone: it needs no asset, and no run of a ledger needs it. Not here: the
check of a ledger's own locked months, which stands beside its costs (`checks/tables.py`), and any figure.
"""

from collections.abc import Iterator

import dagster as dg

from assets.common import key
from checks.claims import DAILY, fail_on
from checks.common import ASSETS_OF, result_of
from resources import Engine, LedgerHome
from tokenledger_dagster.governance.invariants import INVARIANTS, Inspection, inspect

SPECS = [
    dg.AssetCheckSpec(invariant.name, asset=key(asset), description=invariant.description, automation_condition=DAILY)
    for invariant in INVARIANTS.values()
    if invariant.table == "sample"
    for asset in ASSETS_OF[invariant.table]
]


@dg.multi_asset_check(name="sample_checks", specs=SPECS, can_subset=True)
def sample_checks(
    context: dg.AssetCheckExecutionContext, home: LedgerHome, engine: Engine
) -> Iterator[dg.AssetCheckResult]:
    """A pass is remembered while program, sample and golden file are the same; a failure fails the run."""
    with engine.connect() as connection:
        look = Inspection(home.open(), connection, home.zone)
        found = {one: inspect(one.name, look) for one in sorted(context.selected_asset_check_keys)}
    yield from (result_of(outcome, one) for one, outcome in found.items())
    fail_on([outcome.name for outcome in found.values() if not outcome.passed])


CHECKS = [sample_checks]
