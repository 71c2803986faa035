"""What the booked events cost at list price: stage `pricing`.

Here: the price list as a table, the price of each event, and the events that no price list knows. Not here: looking a
rate up or multiplying it (`tokenledger_dagster/pricing`).
"""

import dagster as dg

from assets.common import on_change, table_asset, table_options, table_result
from resources import Engine, LedgerHome, Metrics

# the list is a file of the checkout, nothing upstream can say that it changed
LOOKED_AT_DAILY = on_change() | dg.AutomationCondition.cron_tick_passed("@daily")


@dg.asset(**{**table_options("prices", []), "automation_condition": LOOKED_AT_DAILY})
def price_list(home: LedgerHome, engine: Engine, metrics: Metrics) -> dg.MaterializeResult:
    """The committed rate table; its data version is the snapshot that every price names."""
    from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
    from tokenledger_dagster.pricing.rate_table import RateTable

    snapshot = RateTable.load(CONFIG_DIRECTORY / "rates.csv").snapshot_id
    result = table_result("prices", home, engine, metrics, price_snapshot_id=snapshot)
    return result._replace(data_version=dg.DataVersion(snapshot))


# behind the duplicates too: where records are missing or doubled, a blocking check there keeps prices from being made
event_costs = table_asset("event_costs", ["events/booked", "events/duplicates", "pricing/price_list"])
unpriced = table_asset("unpriced", ["pricing/event_costs"])
ASSETS = [price_list, event_costs, unpriced]
