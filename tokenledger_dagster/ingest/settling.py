"""Making the booked state complete row by row, for whatever looks at single events.

Here: settling the packs of a home under the writer lock.  Not here: how a pack is settled (``ingest.bookkeeping``).
Reports and snapshots are answered from cells and need none of this.
"""

from __future__ import annotations

import sqlite3

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import accepted, bookkeeping, overridden
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import connect, get_meta, set_meta, transaction, writer_lock
from tokenledger_dagster.ingest.zones import Zone

_WAIT_SECONDS = 600.0


def settle(home: Home) -> None:
    """Makes ``records`` and ``events`` of the manifest hold every record and event; does nothing where they do.

    Raises TokenLedgerError where another process writes all the time, SegmentDamagedError where a journal is damaged.
    """
    connection = connect(home, read_only=True)
    try:
        if not has_packs(connection):
            return
    finally:
        connection.close()
    with writer_lock(home, _WAIT_SECONDS) as held:
        if not held:
            raise TokenLedgerError(f"{home.lock_path}: another process writes this ledger; try again when it is done")
        connection = connect(home)
        try:
            settle_packs(home, connection)
        finally:
            connection.close()


def settle_packs(home: Home, connection: sqlite3.Connection) -> None:
    """The same for who holds the writer lock already."""
    if has_packs(connection):
        prices = accepted.standing(home, connection)
        zone, overrides = Zone(get_meta(connection, "zone") or "UTC"), overridden.booked(connection)
        ledger = Ledger(connection, zone, prices.snapshot.table, home.lake, overrides)
        key = overridden.key_of(overrides)
        with transaction(connection):
            accepted.accept(home, connection, prices.snapshot)
            if get_meta(connection, "booking_key") == key and not prices.is_lost:
                bookkeeping.settle(ledger, ledger.packs.every())
            else:  # sums that were added by other rules or prices cannot be taken back by these
                bookkeeping.rebook(connection, ledger)
                set_meta(connection, "booking_key", key)


def has_packs(connection: sqlite3.Connection) -> bool:
    """Whether some records stand in packs only."""
    return connection.execute("SELECT 1 FROM packs LIMIT 1").fetchone() is not None
