"""What is only told for a moment, written down before the logs are looked at: stage `sources`.

Here: one asset per feeder that has to be asked. Not here: how it is asked and what is kept (`landing/` of the library).
"""

import time

import dagster as dg

from assets.common import OWNERS, figures
from resources import LandingProxy, LedgerHome
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.landing.cliproxyapi import landed_state

LANDED_EVERY = "*/15 * * * *"
"""As often as the logs are observed; a queue that forgets sooner needs `tokenledger proxy land --every`."""


@dg.asset(
    key=["sources", "cliproxyapi_landing"],
    group_name="sources",
    description="Records of a CLIProxyAPI's usage queue, landed as JSON Lines.\n\nDoes nothing without an address.",
    kinds={"json"},
    owners=OWNERS,
    code_version="1",
    automation_condition=dg.AutomationCondition.cron_tick_passed(LANDED_EVERY)
    | dg.AutomationCondition.missing().newly_true(),
)
def cliproxyapi_landing(
    context: dg.AssetExecutionContext, home: LedgerHome, proxy: LandingProxy
) -> dg.MaterializeResult:
    """A proxy that cannot be reached is told and stops nothing: reading what was landed before goes on."""
    started, place, landed = time.monotonic(), home.open(), 0
    told = {"outcome": "no address configured"}
    if proxy.address:
        try:
            summary = proxy.land(place)
            landed, told = summary.landed, {"outcome": "landed", "summary": encode_json(summary).decode()}
        except (TokenLedgerError, OSError) as problem:
            context.log.warning(str(problem))
            told = {"outcome": "not landed", "problem": str(problem)}
    shown = figures(rows=landed, duration_ms=round((time.monotonic() - started) * 1000))
    return dg.MaterializeResult(data_version=dg.DataVersion(landed_state(place)), metadata={**shown, **told})


LANDED_BEFORE = {"cliproxyapi": ["sources/cliproxyapi_landing"]}
"""What is landed before a client's logs are read."""
ASSETS = [cliproxyapi_landing]
