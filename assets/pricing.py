"""What the booked events cost at list price: stage `pricing`.

Here: the price list as a table, the price of each event, and the events that no price list knows. Not here: looking a
rate up or multiplying it (`tokenledger_dagster/pricing`).
"""

from assets.common import table_asset

price_list = table_asset("prices", [])
event_costs = table_asset("event_costs", ["events/booked", "pricing/price_list"])
unpriced = table_asset("unpriced", ["pricing/event_costs"])
ASSETS = [price_list, event_costs, unpriced]
