"""How far a table of another program's database was read, told by row numbers.

Here: marks from which the next reading goes on, and the proof that the numbers still mean the same rows.  Not here:
what the rows hold.

SQLite gives a row that replaces another one a new, higher number, so that rows above the mark are the new and the
changed ones.  ``VACUUM``, another file in its place, or rows removed at the end give numbers anew: some rows are
remembered, and where one of them is another row now, the file is another one, or rows have come in below the mark, the
table is read as a whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from hashlib import blake2b

_NEWEST = 16
_SPREAD = 16
_LAST = "last"
_INODE = "inode"
_COUNT = "count"
_ROW = "row:"


def read_up_to(
    connection: sqlite3.Connection, table: str, key: str, marks: Mapping[str, int], inode: int
) -> int | None:
    """The row number up to which the table was read; None where all of it has to be."""
    last = marks.get(_LAST)
    if last is None or marks.get(_INODE) != inode or (_highest(connection, table) or -1) < last:
        return None
    if _COUNT in marks and _count(connection, table, last) > marks[_COUNT]:
        return None  # rows have come in below the mark
    known = {int(name[len(_ROW) :]): digest for name, digest in marks.items() if name.startswith(_ROW)}
    rows = connection.execute(
        f"SELECT rowid, {key} FROM {table} WHERE rowid IN ({', '.join('?' * len(known))})", tuple(known)
    ).fetchall()
    # those that are gone were replaced or deleted
    return last if rows and all(_digest(name) == known[number] for number, name in rows) else None


def marks_of(
    connection: sqlite3.Connection, table: str, key: str, inode: int, *, counted: bool = True
) -> dict[str, int]:
    """What to remember of a table that was just read.

    ``counted``: how many rows there are too, which costs a walk over the table's pages at every reading.
    """
    last = _highest(connection, table)
    if last is None:
        return {}
    told = {_LAST: last, _INODE: inode, **({_COUNT: _count(connection, table, last)} if counted else {})}
    rows = connection.execute(f"SELECT rowid, {key} FROM {table} ORDER BY rowid DESC LIMIT {_NEWEST}").fetchall()
    for part in range(1, _SPREAD):
        query = f"SELECT rowid, {key} FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"
        rows += connection.execute(query, (last * part // _SPREAD,)).fetchall()
    return {**told, **{f"{_ROW}{number}": _digest(name) for number, name in rows}}


def _count(connection: sqlite3.Connection, table: str, last: int) -> int:
    (found,) = connection.execute(f"SELECT count(*) FROM {table} WHERE rowid <= ?", (last,)).fetchone()
    return int(found)


def _highest(connection: sqlite3.Connection, table: str) -> int | None:
    (found,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()
    return None if found is None else int(found)


def _digest(name: object) -> int:
    return int.from_bytes(blake2b(str(name).encode("utf-8", "replace"), digest_size=7).digest(), "little")
