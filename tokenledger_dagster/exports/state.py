"""What the booked state is, in one short key: equal keys mean that every table made from the lake would be equal.

Here: reading that key from the manifest.  Not here: what is built when it changes (``exports.tables``).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from functools import lru_cache
from pathlib import Path

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle

SQL = Path(__file__).parent / "sql"

Signature = tuple[tuple[int, int], tuple[int, int]]


_PRICES = frozenset({"prices", "price_months"})
"""Statements that tell of prices."""


def booked_state(home: Home) -> str:
    """Key of the booked state, prices included; nothing is read twice while the manifest does not change.

    It stands for single events, so those that are only columns become rows first, as they must for any table.

    Raises:
        ManifestError: the home holds no manifest.
    """
    return " ".join(_state_of(home))


def events_state(home: Home) -> str:
    """The same without prices: what the requests themselves are.

    Raises:
        ManifestError: the home holds no manifest.
    """
    return _state_of(home)[0]


def _state_of(home: Home) -> tuple[str, str]:
    settle(home)
    return _booked_state(str(home.root), _signature(home.manifest_path))


def source_rows(home: Home) -> list[tuple[str | int, ...]]:
    """Rows of the table ``sources``, times as microseconds since 1970.

    Raises:
        ManifestError: the home holds no manifest.
    """
    manifest = connect(home, read_only=True)
    try:
        return manifest.execute((SQL / "sources.sql").read_text("utf-8")).fetchall()
    finally:
        manifest.close()


# a million events take 0.4 s to sum: the assets of one run share the answer
@lru_cache(maxsize=8)
def _booked_state(root: str, signature: Signature) -> tuple[str, str]:
    """Keys of the requests and of their prices."""
    manifest = connect(Home(Path(root)), read_only=True)
    try:
        manifest.execute("BEGIN")
        return _digest(manifest, prices=False), _digest(manifest, prices=True)
    finally:
        manifest.close()


def _digest(manifest: sqlite3.Connection, *, prices: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (SQL / "state.sql").read_text("utf-8").split("-- statement: ")[1:]:
        name, _, query = part.partition("\n")
        if (name in _PRICES) != prices:
            continue
        digest.update(name.encode())
        for row in manifest.execute(query):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _signature(path: Path) -> Signature:
    """Size and time of the manifest and of its write-ahead log; an empty log is none."""
    return _stat(path), _stat(path.with_name(path.name + "-wal"))


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return (found.st_size, found.st_mtime_ns) if found.st_size else (0, 0)
