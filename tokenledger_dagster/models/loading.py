"""SQL files of the unified ledger, loaded in memory by SQLite and by DuckDB with nothing of the machine in reach.

Here: running scripts that anybody may have edited, and reading tables back. Not here: what the tables should hold
(`validation.py`).

SQLite comes first and asks before every single thing a statement does; DuckDB, which has no such question, sees only
scripts that passed, without access to files, extensions or its own settings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from tokenledger_dagster.errors import TokenLedgerError

Wanted = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Columns and key by table or view."""
Loaded = dict[str, list[tuple[object, ...]]]
"""Rows by table or view, in the order of their key."""

MOST_STEPS = 50_000_000
"""Steps of SQLite's machine; the committed files take 200,000. Beyond this a script does not mean to end."""
_STEPS_AT_ONCE = 100_000

_ALLOWED = frozenset(
    (
        *(sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ),
        *(sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE),
        *(sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_INDEX),
        *(sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_DROP_INDEX),
    )
)
_FUNCTIONS = frozenset(("coalesce", "count", "round", "row_number"))
_NAMES = {
    sqlite3.SQLITE_ATTACH: "attach a file",
    sqlite3.SQLITE_DETACH: "detach a database",
    sqlite3.SQLITE_PRAGMA: "change settings",
    sqlite3.SQLITE_CREATE_TRIGGER: "make a trigger",
    sqlite3.SQLITE_CREATE_VTABLE: "make a virtual table",
    sqlite3.SQLITE_ALTER_TABLE: "alter a table",
    sqlite3.SQLITE_RECURSIVE: "recurse",
}


class LoadError(TokenLedgerError):
    """Scripts cannot be loaded; the message names the file and what is wrong, in one line."""


def _in_sqlite(scripts: Mapping[str, str], wanted: Wanted) -> Loaded:
    refused: list[str] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
        con.execute("PRAGMA temp_store = MEMORY")
        con.set_authorizer(_authorizer(refused))
        con.set_progress_handler(_counter(refused), _STEPS_AT_ONCE)

        def run(place: str, text: str, act: Callable[[str], sqlite3.Cursor]) -> list[tuple[object, ...]]:
            try:
                return act(text).fetchall()
            except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
                told = f"means to {refused[0]}" if refused else f"SQLite cannot load it ({_line(error)})"
                raise LoadError(f"{place}: {told}") from error

        for place, text in scripts.items():
            run(place, text, con.executescript)
        return {table: run(_last(scripts), _select(table, *one), con.execute) for table, one in wanted.items()}


def _authorizer(refused: list[str]) -> Callable[..., int]:
    def asked(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            refused.append(f"call the function {second}")
        else:
            refused.append(_NAMES.get(action, "do what no file of a ledger does"))
        return sqlite3.SQLITE_DENY

    return asked


def _counter(refused: list[str]) -> Callable[[], int]:
    left = MOST_STEPS

    def counted() -> int:
        nonlocal left
        left -= _STEPS_AT_ONCE
        if left < 0 and not refused:
            refused.append("work without end")
        return left < 0

    return counted


def _in_duckdb(scripts: Mapping[str, str], wanted: Wanted) -> Loaded:
    import duckdb

    closed: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "temp_directory": "",
        "threads": 1,
        "lock_configuration": True,
    }
    with duckdb.connect(":memory:", config=closed) as con:

        def run(place: str, text: str) -> list[tuple[object, ...]]:
            try:
                return con.execute(text).fetchall()
            except duckdb.Error as error:
                raise LoadError(f"{place}: DuckDB cannot load it ({_line(error)})") from error

        for place, text in scripts.items():
            run(place, text)
        return {table: run(_last(scripts), _select(table, *one)) for table, one in wanted.items()}


ENGINES: Mapping[str, Callable[[Mapping[str, str], Wanted], Loaded]] = {"SQLite": _in_sqlite, "DuckDB": _in_duckdb}
"""By name, in the order in which they have to be asked."""


def _select(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(key)}"


def _last(scripts: Mapping[str, str]) -> str:
    """Reading back fails where the last script, the view, is not what it should be."""
    return list(scripts)[-1] if scripts else ""


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
