"""The overrides of model names that a ledger is booked with.

`overrides.yaml` is in force with the next sync: what was booked is then booked anew. A file that cannot be used changes
nothing, the last one that could stays in force. Here: which state of the file holds, and the key of booking that it is
part of. Not here: the file itself (`models/overrides.py`), rebooking (`ingest/sync.py`).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.booking_key import booking_key
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.meta import get_meta, set_meta

if TYPE_CHECKING:
    from tokenledger_dagster.models.overrides import Overrides

KEY = "model_overrides"
"""Key of the manifest's meta table: the overrides that figures were booked with."""


class Overridden(NamedTuple):
    """What a sync books with."""

    overrides: Overrides | None
    """None where there are none: most ledgers need not even load what reads them."""
    problem: str = ""
    """Why the file cannot be used; empty where all is well."""


def wanted(home: Home, connection: sqlite3.Connection) -> Overridden:
    """Return what the file says; where it cannot be used, what was booked with last."""
    if not os.path.lexists(home.overrides_path):
        return Overridden(None)
    from tokenledger_dagster.models.overrides import OverridesError, load_overrides

    try:
        return Overridden(load_overrides(home.overrides_path) or None)
    except OverridesError as error:
        return Overridden(booked(connection), f"{error} (names stay as they were booked)")


def booked(connection: sqlite3.Connection) -> Overrides | None:
    """Return the overrides that the figures of a manifest stand on."""
    text = get_meta(connection, KEY)
    if text is None:
        return None
    from tokenledger_dagster.models.overrides import decode

    return decode(text) or None


def booked_in(home: Home) -> Overrides | None:
    """Return the same of a home; none where nothing was booked yet. Raises ManifestError."""
    if not home.manifest_path.exists():
        return None
    with closing(connect(home, read_only=True)) as manifest:
        return booked(manifest)


def keep(connection: sqlite3.Connection, overrides: Overrides | None) -> None:
    """Record what figures are booked with from now on; call inside the transaction that books."""
    if overrides:
        set_meta(connection, KEY, overrides.encode())
    else:
        connection.execute("DELETE FROM meta WHERE key = ?", (KEY,))


def key_of(overrides: Overrides | None) -> str:
    """Stands for everything booked figures depend on besides records and prices: rules, names and overrides."""
    return booking_key() if overrides is None else f"{booking_key()} {overrides.digest}"


def key_in(home: Home) -> str:
    """Return the same for what a home is booked with. Raises ManifestError."""
    return key_of(booked_in(home))
