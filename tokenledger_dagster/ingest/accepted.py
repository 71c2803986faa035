"""The price snapshot that a ledger has accepted, and whether another one waits.

A change of prices (an edited book, a newer price list, an imported one) never changes a booked price by itself: it
waits until somebody accepts it (`pricing.reprice`). A snapshot that prices all booked models as before is accepted
silently. Here: reading, accepting without any change, telling that one waits. Not here: what would change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.meta import get_meta, set_meta
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.context import billing_provider, channels
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import BOOK_COLUMNS
from tokenledger_dagster.pricing.snapshots import Snapshot, by_id, current, keep
from tokenledger_dagster.usage.declared import BOOK_FEES

KEY = "price_snapshot"
"""Key of the manifest's meta table: id of the accepted snapshot."""
WAITING = "prices of models in this ledger have changed; `tokenledger pricing reprice` shows what that changes"
"""What a person is told while a snapshot waits."""
_STAY = "(prices stay as they were accepted; before the first time the built-in list's are used)"
_ABOUT = {"price_list_model", "source", "source_version"}
"""Cells that change no price."""
_PRICING = [place for place, name in enumerate(BOOK_COLUMNS) if name not in _ABOUT]


class Standing(msgspec.Struct, frozen=True):
    """How a ledger's prices stand."""

    snapshot: Snapshot
    """The one to price with."""
    waiting: Snapshot | None = None
    """Today's, where it would change prices of booked models and nobody has accepted it yet."""
    problem: str = ""
    """Why today's cannot be used, or what became of the accepted one; empty where all is well."""
    is_lost: bool = False
    """Whether the accepted snapshot is gone, so that all prices have to be made anew from today's."""


def standing(home: Home, connection: sqlite3.Connection | None) -> Standing:
    """Return how the prices of a ledger stand; changes nothing.  Without a manifest nothing was accepted yet."""
    accepted_id = None if connection is None else get_meta(connection, KEY)
    try:
        now = current(home)
    except TokenLedgerError as error:
        return _without(home, accepted_id, f"{error} {_STAY}")
    if problem := _usable(now):
        return _without(home, accepted_id, problem)
    if connection is None or accepted_id is None or accepted_id == now.snapshot_id:
        return Standing(now)
    found = _kept(home, accepted_id)
    if found is None:
        problem = f"{home.prices}: the accepted price snapshot {accepted_id} is gone; all prices are made anew"
        return Standing(now, problem=problem, is_lost=True)
    if not touched(found.table, now.table, connection) and not fees_changed(found, now, connection):
        return Standing(now)
    return Standing(found, waiting=now)


def accept(home: Home, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Take a snapshot as the one to price with, and keep it; call inside a transaction or alone."""
    if get_meta(connection, KEY) != snapshot.snapshot_id or not (home.prices / f"{snapshot.snapshot_id}.json").exists():
        keep(home, snapshot)
        set_meta(connection, KEY, snapshot.snapshot_id)
        if fees := _fees(snapshot):
            set_meta(connection, BOOK_FEES, msgspec.json.encode(fees).decode())
        else:
            connection.execute("DELETE FROM meta WHERE key = ?", (BOOK_FEES,))


def touched(before: RateTable, after: RateTable, connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of the booked models whose rates differ between two tables, in any channel or context."""
    found: set[int] = set()
    same: dict[tuple[str, str], bool] = {}
    for number, client, upstream, name in booked_models(connection):
        # a message id may name another biller than the client's own
        for provider in {billing_provider(client, name, None, upstream), *channels("message_prefix").values()}:
            names = before.named(provider, name), after.named(provider, name)
            key = (names[0].model, names[1].model)
            if key not in same:
                same[key] = _rows(before, key[0]) == _rows(after, key[1])
            # also of a request without a rate it is kept how certain its name is
            if not same[key] or names[0] != names[1]:
                found.add(number)
    return found


def fees_changed(before: Snapshot, after: Snapshot, connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return old and new monthly fee of the book, USD, by provider, of those that have booked requests."""
    fees = [_fees(one) for one in (before, after)]
    booked = {provider for (provider,) in connection.execute("SELECT DISTINCT provider FROM models")}
    return {
        name: (fees[0].get(name, "0"), fees[1].get(name, "0"))
        for name in sorted((fees[0].keys() | fees[1].keys()) & booked)
        if fees[0].get(name) != fees[1].get(name)
    }


def _fees(snapshot: Snapshot) -> dict[str, str]:
    found = {} if snapshot.book is None else snapshot.book.subscriptions()
    return {name: str(fee) for name, fee in found.items()}


def booked_models(connection: sqlite3.Connection) -> Iterator[tuple[int, str, str | None, ModelName]]:
    """Yield number, client, upstream and resolved name of every model that anything was booked under."""
    query = "SELECT model_no, client, upstream, model, maker, modifiers, rule, confidence FROM models"
    for number, client, upstream, model, maker, modifiers, rule, confidence in connection.execute(query).fetchall():
        name = ModelName(model, maker, msgspec.json.decode(modifiers, type=dict[str, str]), rule, confidence)
        yield number, client, upstream, name


def _rows(table: RateTable, model: str) -> list[tuple[object, ...]]:
    """Everything that decides a model's prices, in one order."""
    found: list[tuple[object, ...]] = []
    for layer in table.layers:
        for (whose, name), rows in layer.rows.items():
            if name == model:
                found += [(layer.name, whose, *(row[place] for place in _PRICING if place < len(row))) for row in rows]
    return sorted(map(tuple, found), key=repr)


def _without(home: Home, accepted_id: str | None, problem: str) -> Standing:
    """Today's prices cannot be used: those accepted go on, else the built-in list."""
    found = None if accepted_id is None else _kept(home, accepted_id)
    return Standing(found or current(None), problem=problem, is_lost=accepted_id is not None and found is None)


def _usable(snapshot: Snapshot) -> str:
    try:
        snapshot.check()
    except TokenLedgerError as error:
        return f"{error} {_STAY}"
    return ""


def _kept(home: Home, snapshot_id: str) -> Snapshot | None:
    try:
        found = by_id(home, snapshot_id)
        if found is not None:
            found.check()
    except TokenLedgerError:
        return None
    return found
