"""SQLite databases of other programs, read without writing, locking or waiting for long.

Here: opening one as its owner may be writing it, and rows as evidence that can be found again.  Not here: any client's
tables.
"""

from __future__ import annotations

import contextlib
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

from tokenledger_dagster.clients.evidence import Evidence

BUSY_SECONDS = 2.0
"""How long a lock of the owner is waited for before its files are copied."""
COPY_BYTES = 512 << 20
"""A larger database is not copied: it is told as busy and read by the next sync."""
_COPIES = 3
"""How often a copy is tried while the owner writes."""
_SIDES = ("-wal", "-journal")
"""Files that belong to the content; the index of a log (``-shm``) is made anew from it."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, and leaves no file and no lock beside the database.  Raises sqlite3.Error.

    - A log (``-wal``) with its index (``-shm``): another program has it open.  It is read beside that program, which
      goes on writing.
    - A log without index: nobody has it open, and opening it would leave an index there.  It is copied and read there.
    - No log, though the file's header says that it is written with one: nobody has it open; it is read as immutable.
    - Else (rollback journal): it is read under a shared lock.
    - What stays locked, or was left in the middle of a transaction, is copied with its journal, so that the copy can be
      rolled back.  A log too large to copy is left out.
    """
    with contextlib.ExitStack() as stack:
        connection = _connected(os.path.realpath(path), stack)
        stack.callback(connection.close)
        yield connection


def _connected(path: str, stack: contextlib.ExitStack) -> sqlite3.Connection:
    log = os.path.exists(f"{path}-wal")
    if not log and _writes_ahead(path):
        return _open(path, "immutable=1")
    if log and not os.path.exists(f"{path}-shm"):
        problem = sqlite3.OperationalError("its write-ahead log cannot be read in place")
    else:
        try:
            return _open(path, "mode=ro")
        except sqlite3.OperationalError as error:
            problem = error
    try:
        return _open(_copied(path, stack), "mode=rw")
    except OSError:  # no such file, a folder, no room
        raise problem from None
    except _TooLargeError as error:
        if not log or _is_busy(problem):
            raise problem if _is_busy(problem) else error from None
        return _open(path, "immutable=1")  # what the main file holds is better than nothing


def _open(path: str, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
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


def _writes_ahead(path: str) -> bool:
    """Whether the header says that the database is written with a log."""
    try:
        with open(path, "rb") as handle:
            return handle.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class _TooLargeError(sqlite3.OperationalError):
    """A database that is not copied for its size."""


def _copied(path: str, stack: contextlib.ExitStack) -> str:
    """A copy of the database and of what belongs to its content, all of one moment."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenledger-"))
    target = str(Path(folder) / "copy.db")
    for _ in range(_COPIES):
        before = _states(path)
        size = sum(state[1] for state in before)
        if size > COPY_BYTES:
            raise _TooLargeError(f"it is in use, and too large to copy ({size:,} bytes)")
        for ending in ("", *_SIDES):
            Path(target + ending).unlink(missing_ok=True)
            try:
                shutil.copyfile(path + ending, target + ending)
            except FileNotFoundError:
                if not ending:
                    raise
        if _states(path) == before:
            return target
        time.sleep(0.05)
    raise sqlite3.OperationalError("another program keeps writing to it")


def _states(path: str) -> list[tuple[str, int, int]]:
    found = []
    for ending in ("", *_SIDES):
        try:
            stat = os.stat(path + ending)
        except FileNotFoundError:
            continue
        found.append((ending, stat.st_size, stat.st_mtime_ns))
    return found


def tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Columns by table."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")] for name in names}


def row_evidence(table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> Evidence:
    """Some columns of a row as evidence."""
    locator = json.dumps({"table": table, "key": dict(key), "columns": list(values)}, separators=(",", ":"))
    return Evidence.of(_content(list(values.values())), 0, locator)


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
