"""The manifest: one SQLite file (WAL) that says what has been read and what is booked.

Here: opening it, its schema version, and the writer lock of a home.  Not here: what is written into it
(``ingest.commit``, ``ingest.booking``), its key table (``ingest.meta``, named here too).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.filelock import file_lock
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.meta import MANIFEST_VERSION, get_meta, set_meta

__all__ = [
    "MANIFEST_VERSION",
    "ManifestError",
    "connect",
    "get_meta",
    "set_meta",
    "transaction",
    "writer_lock",
]


class ManifestError(TokenLedgerError):
    """The manifest cannot be used; the message names the file and the remedy."""


def connect(home: Home, *, read_only: bool = False) -> sqlite3.Connection:
    """Opens the manifest of ``home``, making it unless ``read_only``.

    Transactions are explicit (``BEGIN`` / ``COMMIT``).  Raises ManifestError when the file is not a manifest of this
    version.
    """
    path = home.manifest_path
    if read_only and not path.exists():
        raise ManifestError(f"{path} does not exist; run `tokenledger sync` first")
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # a commit must survive a power cut: the segment it names is already on the disk
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA temp_store=MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only=1")
        else:
            _ensure_schema(connection)
        found = get_meta(connection, "manifest_version")
    except sqlite3.DatabaseError as error:
        connection.close()
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            raise ManifestError(
                f"{path} cannot be opened ({error}): SQLite needs to write beside it; give this user the permission"
            ) from error
        raise ManifestError(
            f"{path} is not a readable manifest ({error}); move it aside and run `tokenledger sync --full`"
        ) from error
    if found != MANIFEST_VERSION:
        connection.close()
        remedy = "run `tokenledger sync`, which makes it anew" if is_older(found) else "use the newer program"
        raise ManifestError(f"{path} has version {found}, this program writes {MANIFEST_VERSION}; {remedy}")
    return connection


def is_older(version: str | None) -> bool:
    """Whether a manifest of this version was written before this program's."""
    return version is not None and version.isdecimal() and int(version) < int(MANIFEST_VERSION)


def set_aside_older(home: Home) -> tuple[Path, list[tuple[str, str]]] | None:
    """Moves a manifest of an older version out of the way; its records stand in the lake, which describes itself.

    Returns its new path and the sources that were added by hand, (client, path); None where there is none to move.
    Call under the writer lock.
    """
    path = home.manifest_path
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as old:
            version = get_meta(old, "manifest_version")
            if not is_older(version):
                return None
            added = old.execute("SELECT client, path FROM extra_sources").fetchall()
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError:
        return None  # ``connect`` says what is wrong with it
    aside = path.with_name(f"manifest.v{version}.sqlite")
    path.replace(aside)
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    return aside, added


def _ensure_schema(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return
    script = (Path(__file__).parent / "manifest.sql").read_text("utf-8")
    version = f"INSERT OR IGNORE INTO meta VALUES ('manifest_version', '{MANIFEST_VERSION}')"
    # one transaction: a kill in between must not leave some of the tables
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n{version};\nCOMMIT;")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def writer_lock(home: Home, wait_seconds: float = 0) -> Iterator[bool]:
    """Holds the home's one advisory writer lock; yields False where another process holds it all that time."""
    home.root.mkdir(parents=True, exist_ok=True)
    with file_lock(home.lock_path, wait_seconds) as held:
        yield held
