"""Effective costs of everything that was booked, under the plans a person has declared.

Here: the manifest's quarter hours as atoms of `pricing.economics`, and the plans that are in force: `plans.yaml`, and
for providers it does not name the monthly fees of the pricing book. Not here: the arithmetic (`pricing.economics`), and
reports (`usage.report`).
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster import home_files
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.pricing.economics import Atom, AtomCost, PlanMonth, economics, idle_by_day
from tokenledger_dagster.pricing.plan_types import Catalogue, Plans
from tokenledger_dagster.pricing.plans import book_subscription, load_catalogue, load_plans
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.declared import BOOK_FEES, is_declared

_SQL = Path(__file__).with_name("atoms.sql")
_EPOCH = date(1970, 1, 1)
_SLOTS_A_DAY = 86_400_000_000 // SLOT_US

AtomKey = tuple[int, int, int, int]
"""Slot, session, model, whether estimated, as the manifest numbers them."""


class Effective(NamedTuple):
    """What was booked, and what it cost."""

    atoms: dict[AtomKey, Atom]
    costs: dict[AtomKey, AtomCost]
    months: list[PlanMonth]

    def idle_days(self) -> dict[int, int]:
        """Idle nano-USD of all plans by UTC day, days since 1970."""
        found: dict[int, int] = {}
        for month in self.months:
            for day, nano in idle_by_day(month).items():
                number = (day - _EPOCH).days
                found[number] = found.get(number, 0) + nano
        return found

    def idle_by_provider(self, first: int, last: int) -> dict[str, int]:
        """Idle nano-USD by provider over some UTC days, both ends included, days since 1970."""
        found: dict[str, int] = {}
        for month in self.months:
            nano = sum(nano for day, nano in idle_by_day(month).items() if first <= (day - _EPOCH).days <= last)
            if nano:
                found[month.provider] = found.get(month.provider, 0) + nano
        return found


class Declared(NamedTuple):
    """The plans in force and the prices that they have."""

    plans: Plans
    catalogue: Catalogue


def effective(connection: sqlite3.Connection, home: str, today: date | None = None) -> Effective | None:
    """Return effective costs by quarter hour, None where nothing is declared: then cost is the list price.

    From here on the connection reads one state of the ledger.

    Args:
        connection: the manifest.
        home: root of the ledger's home.
        today: the last UTC day that plans are paid for; None is the clock's.

    Raises:
        PlansError: `plans.yaml` cannot be used.
    """
    if not is_declared(connection, home):
        return None
    if not connection.in_transaction:
        # whoever reads further must read the same state of the ledger: these costs know no other quarter hours
        connection.execute("BEGIN")
    keys: list[AtomKey] = []
    atoms: list[Atom] = []
    for session, model, *values in connection.execute(_SQL.read_text("utf-8")):
        atom = Atom._make((*values[:7], bool(values[7]), bool(values[8]), *values[9:]))
        keys.append((atom.slot, session, model, int(atom.is_estimated)))
        atoms.append(atom)
    found = declared(connection, home, _first_days(atoms))
    costs, months = economics(atoms, found.plans, found.catalogue, today or datetime.now(UTC).date())
    return Effective(dict(zip(keys, atoms, strict=True)), dict(zip(keys, costs, strict=True)), months)


def declared(connection: sqlite3.Connection, home: str, first_days: dict[str, date]) -> Declared:
    """Return the plans in force.

    Args:
        connection: the manifest, which knows the fees of the accepted pricing book.
        home: root of the ledger's home.
        first_days: first UTC day with requests by provider, from whose month on a book's fee is paid.

    Raises:
        PlansError: `plans.yaml` cannot be used.
    """
    catalogue = load_catalogue()
    plans = load_plans(Path(home) / home_files.PLANS, catalogue)
    named = {one.provider for one in plans.subscriptions} | plans.providers.keys()
    fees: dict[str, str] = json.loads(get_meta(connection, BOOK_FEES) or "{}")
    implied = tuple(
        book_subscription(provider, Decimal(fee), first_days[provider])
        for provider, fee in fees.items()
        if provider not in named and provider in first_days
    )
    return Declared(msgspec.structs.replace(plans, subscriptions=(*plans.subscriptions, *implied)), catalogue)


def declared_key(connection: sqlite3.Connection, home: str) -> str:
    """Stands for everything that is declared; empty for nothing.  Raises PlansError."""
    if not is_declared(connection, home):
        return ""
    plans = load_plans(Path(home) / home_files.PLANS, load_catalogue())
    return f"{plans.digest} {get_meta(connection, BOOK_FEES)}"


def _first_days(atoms: list[Atom]) -> dict[str, date]:
    slots: dict[str, int] = {}
    for atom in atoms:
        slots[atom.provider] = min(slots.get(atom.provider, atom.slot), atom.slot)
    # a log with a broken clock must not make decades of fees
    return {name: max(_EPOCH, _EPOCH + timedelta(days=slot // _SLOTS_A_DAY)) for name, slot in slots.items()}
