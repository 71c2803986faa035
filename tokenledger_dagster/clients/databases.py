"""SQLite databases of other programs, read without writing, locking or waiting for long.

Here: opening one as its owner may be writing it, and rows as evidence that can be found again.  Not here: any client's
tables.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

BUSY_SECONDS = 2.0
"""How long a lock of the owner is waited for before its files are copied."""
COPY_BYTES = 512 << 20
"""A larger database is not copied: it is told as busy and read by the next sync."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that can only read.

    A database without write-ahead log is opened as immutable, so that not even a ``-shm`` file appears beside it; one
    with a log is opened read-only beside its owner; one that stays locked is copied.  Raises sqlite3.Error.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = _open(path, immutable=not _has_log(path))
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                connection = _open(_copied(path, stack), immutable=False)
            else:  # a log on read-only media cannot be opened: what the main file holds is better than nothing
                connection = _open(path, immutable=True)
        stack.callback(connection.close)
        yield connection


def _open(path: str, *, immutable: bool) -> sqlite3.Connection:
    mode = "immutable=1" if immutable else "mode=ro"
    connection = sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        connection.execute("PRAGMA query_only = 1")
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("BEGIN")  # one state of the database for all that is read of it
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                connection.execute("ROLLBACK")
                time.sleep(0.05)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def _has_log(path: str) -> bool:
    try:
        return os.path.getsize(f"{path}-wal") > 0
    except OSError:
        return False


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _copied(path: str, stack: contextlib.ExitStack) -> str:
    size = sum(os.path.getsize(part) for part in (path, f"{path}-wal") if os.path.exists(part))
    if size > COPY_BYTES:
        raise sqlite3.OperationalError(f"locked by another program and too large to copy ({size:,} bytes)")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenledger-"))
    target = Path(folder) / "copy.db"
    for ending in ("", "-wal"):
        if os.path.exists(path + ending):
            shutil.copyfile(path + ending, f"{target}{ending}")
    return str(target)


def tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Columns by table."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")] for name in names}


class RowEvidence:
    """A row as evidence: where it stands, and the hash and length of what stands there."""

    __slots__ = ("length", "locator", "sha256")

    def __init__(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.locator = json.dumps({"table": table, "key": dict(key), "columns": list(values)}, separators=(",", ":"))
        content = _content(list(values.values()))
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.length = len(content)


def resolve(connection: sqlite3.Connection, locator: str) -> bytes | None:
    """The bytes whose hash a row's evidence holds, or None where the row is gone."""
    try:
        told = json.loads(locator)
        key, columns = dict(told["key"]), [str(name) for name in told["columns"]]
        where = " AND ".join(f"{_quoted(name)} IS ?" for name in key)
        query = f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(told['table'])} WHERE {where}"
        row = connection.execute(query, tuple(key.values())).fetchone()
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return None
    return None if row is None else _content(list(row))


def _content(values: list[Any]) -> bytes:
    """One value as its own bytes, several as a JSON array."""
    if len(values) == 1:
        (value,) = values
        if isinstance(value, bytes):
            return value
        return str(value).encode("utf-8", "replace")
    plain = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
