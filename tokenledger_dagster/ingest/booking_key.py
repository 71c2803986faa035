"""The key of everything booked figures depend on besides the records and their prices.

Here: the one digest over booking's version and the committed rules and names.  Not here: what happens when it
changes (``ingest.sync``, ``ingest.settling``).
"""

from __future__ import annotations

import hashlib
import os

from tokenledger_dagster.ingest.meta import BOOKING_VERSION
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY

_PRICES = ("rates.csv", "speed_multipliers.csv", "price_list_channels.csv")
"""Prices change only when somebody accepts them (``ingest.accepted``)."""
_BENCHMARKS = ("models.csv", "models_sources.csv", "pareto")
"""Beginnings of the names of files that say how good a model is, which no booked figure depends on."""


def booking_key() -> str:
    """Stands for everything booked figures depend on besides records and prices: rules and names."""
    digest = hashlib.blake2b(BOOKING_VERSION.encode(), digest_size=8)
    for name in sorted(os.listdir(CONFIG_DIRECTORY)):
        if name.endswith(".csv") and name not in _PRICES and not name.startswith(_BENCHMARKS):
            with open(os.path.join(CONFIG_DIRECTORY, name), "rb") as handle:
                digest.update(name.encode() + hashlib.blake2b(handle.read()).digest())
    return digest.hexdigest()
