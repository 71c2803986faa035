"""The manifest's own key table, and a connection that only reads it: what a report on unchanged logs needs.

Here: keys and versions.  Not here: making or changing a manifest (``ingest.manifest``), what the tables hold
(``manifest.sql``).  Light on purpose: it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

MANIFEST_VERSION = "5"
BOOKING_VERSION = "1"
"""Raised when a rule of booking changes: the past is then booked anew from the stored records."""


def get_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A value of the manifest's own key table, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Sets a value of the manifest's own key table."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )
