"""What the booked events cost: stage `pricing`.

Here: the book and the price lists, the price of each event, plans and their fees, the events without a price, and what
other prices would change. Not here: looking a rate up or multiplying it (`tokenledger_dagster/pricing`).
"""

import time
from typing import Any

import dagster as dg

from assets.common import OWNERS, figures, key, on_change, table_asset, table_options, table_result
from resources import Engine, LedgerHome, Metrics
from tokenledger_dagster.ingest.fingerprints import document_digest

# books and lists are files that nothing upstream speaks for
LOOKED_AT_DAILY = on_change() | dg.AutomationCondition.cron_tick_passed("@daily")
SOURCE: dict[str, Any] = {
    "group_name": "pricing",
    "owners": OWNERS,
    "code_version": "1",
    "automation_condition": LOOKED_AT_DAILY,
}


@dg.asset(key=["pricing", "book"], kinds={"json"}, **SOURCE)
def book(home: LedgerHome) -> dg.MaterializeResult:
    """The user's pricing book `pricing.json`, which comes before every price list; optional."""
    from tokenledger_dagster.pricing.standing import book_figures

    started = time.perf_counter()
    found = book_figures(home.open())
    numbers = figures(rows=found.models, duration_ms=round((time.perf_counter() - started) * 1000))
    told: dict[str, Any] = {
        "providers": found.providers,
        "aliases": found.aliases,
        "updated_at": found.updated_at or "never",
    }
    told |= {
        "problem": found.problem or "none",
        "source": found.source or "none",
        "path": dg.MetadataValue.path(found.path),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(found.digest or "none"), metadata={**numbers, **told})


def imported_list(name: str, source: str) -> dg.AssetsDefinition:
    """The asset of a public price list that can be imported; it shows what was, and fetches nothing by itself."""

    @dg.asset(
        key=["pricing", name],
        kinds={"json"},
        description=f"The price list of {source}, as imported last by `tokenledger pricing import {source}`.\n\n"
        "Behind the book and the built-in list; its raw bytes and its rates are kept by their SHA-256.",
        **SOURCE,
    )
    def price_source(home: LedgerHome) -> dg.MaterializeResult:
        from tokenledger_dagster.pricing.standing import imported

        started = time.perf_counter()
        found = imported(home.open(), source)
        rows = found.rows if found is not None else 0
        numbers = figures(rows=rows, duration_ms=round((time.perf_counter() - started) * 1000))
        told = {"origin": found.origin, "observed_at": str(found.observed_at)} if found is not None else {}
        version = dg.DataVersion(found.sha256 if found is not None else "none")
        return dg.MaterializeResult(data_version=version, metadata={**numbers, **told})

    return price_source


@dg.asset(
    **{
        **table_options("prices", ["pricing/book", "pricing/litellm", "pricing/models_dev"], code_version="2"),
        "automation_condition": LOOKED_AT_DAILY,
    }
)
def price_list(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """Every rate that is in force; its data version is the snapshot that the ledger has accepted."""
    from tokenledger_dagster.exports.costs import prices_of

    snapshot = prices_of(home.open()).snapshot.snapshot_id
    result = table_result("prices", home, engine, metrics, price_snapshot_id=snapshot)
    return result._replace(data_version=dg.DataVersion(snapshot))


@dg.asset(
    key=["pricing", "reprice"], deps=[key("pricing/price_list"), key("events/booked")], kinds={"sqlite"}, **SOURCE
)
def waiting_prices(home: LedgerHome) -> dg.MaterializeResult:
    """What accepting today's prices would change of what is booked; prices that change nothing are accepted here."""
    from tokenledger_dagster.pricing.reprice import reprice

    started = time.perf_counter()
    found = reprice(home.open())
    numbers = figures(rows=len(found.rows), duration_ms=round((time.perf_counter() - started) * 1000))
    told: dict[str, Any] = {
        "events": found.totals.events,
        "old_usd": float(found.totals.old_usd),
        "new_usd": float(found.totals.new_usd),
        "months": ", ".join(found.months) or "none",
        "old_snapshot_id": found.old_snapshot_id,
        "new_snapshot_id": found.new_snapshot_id,
    }
    shown = [dg.TableRecord({name: str(getattr(row, name)) for name in SHOWN}) for row in found.rows[:20]]
    if shown:
        told["changes"] = dg.MetadataValue.table(shown)
    return dg.MaterializeResult(data_version=dg.DataVersion(document_digest(found)), metadata={**numbers, **told})


SHOWN = (
    "month",
    "provider",
    "model",
    "requested_context",
    "reason",
    "events",
    "old_usd",
    "new_usd",
    "old_rate",
    "new_rate",
)

litellm = imported_list("litellm", "litellm")
models_dev = imported_list("models_dev", "models.dev")
# behind the duplicates too: where records are missing or doubled, a blocking check there keeps prices from being made
event_costs = table_asset("event_costs", ["events/booked", "events/duplicates", "pricing/price_list"])
unpriced = table_asset("unpriced", ["pricing/event_costs"])
subscriptions = table_asset("subscriptions", ["pricing/event_costs"])
ASSETS = [book, litellm, models_dev, price_list, waiting_prices, event_costs, unpriced, subscriptions]
