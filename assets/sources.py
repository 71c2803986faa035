"""The agents' own logs, observed and never written: stage `sources`.

Here: one observable source per client whose data version is the digest of its files' paths, sizes and times, so that
a log that did not change makes nothing downstream run. Not here: reading a log (`assets/events.py`).
"""

import dagster as dg

from resources import LedgerHome
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest.fingerprints import log_files

OBSERVED_EVERY = "*/15 * * * *"


def noun(client: str) -> str:
    """What a client is called in asset keys."""
    return client.removesuffix("-code").replace("-", "_")


def log_source(client: str) -> dg.SourceAsset:
    """The observable source of one client; without logs on this machine it observes nothing and stays quiet."""

    @dg.observable_source_asset(
        key=["sources", f"{noun(client)}_logs"],
        group_name="sources",
        description=f"Log files of {client} on this machine.\n\nObserved by path, size and time; never written.",
        tags={"dagster/kind/json": ""},
        metadata={"client": client},
        automation_condition=dg.AutomationCondition.cron_tick_passed(OBSERVED_EVERY),
    )
    def observe(home: LedgerHome) -> dg.ObserveResult:
        found = log_files(home.open(), home.environ, client)
        return dg.ObserveResult(
            data_version=dg.DataVersion(found.digest), metadata={"files": found.files, "bytes": found.bytes}
        )

    return observe


ASSETS = [log_source(client) for client in clients()]
