"""What a check may look at, and what it says.

Here: the types that checks and those who run them share.  Not here: any property (``governance.invariants``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.home import Home

if TYPE_CHECKING:
    import duckdb

Severity = Literal["ERROR", "WARN"]
T = TypeVar("T")

SHOWN_ROWS = 20
"""Failing rows that an outcome carries at most."""


class CheckOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found."""

    name: str
    passed: bool
    actual: int | float | str | None
    expected: int | float | str | None
    delta: int | float | None
    """Actual minus expected, where both are numbers."""
    rows: list[dict[str, Any]]
    """Failing rows, at most twenty."""
    description: str
    """What was found; where it failed, what follows from it and what to do."""
    blocking: bool
    """True where wrong data would spread."""
    severity: Severity
    skipped: bool = False
    """True where the check could not be made here; ``description`` says why.  It then counts as passed."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a property's function returns."""

    passed: bool
    message: str
    actual: int | float | str | None = None
    expected: int | float | str | None = None
    rows: list[dict[str, Any]] = []
    skipped: bool = False


class Inspection:
    """One ledger under inspection."""

    def __init__(self, home: Home, con: duckdb.DuckDBPyConnection, zone: str = "UTC") -> None:
        """Takes an in-memory DuckDB connection; checks work in cursors of it and may attach the lake to it."""
        self.home = home
        self.con = con
        self.zone = zone
        self._shared: dict[str, Any] = {}

    def query(self, statement: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """All rows of a statement, by column name."""
        cursor = self.con.cursor()
        try:
            cursor.execute(statement, parameters)
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several checks of one inspection stand on, made by the first that asks for it."""
        if name not in self._shared:
            self._shared[name] = make()
        found: T = self._shared[name]
        return found

    def path(self, table: str) -> Path:
        """Parquet file of a public table."""
        return table_path(self.home, table)


class Invariant(msgspec.Struct, frozen=True, kw_only=True):
    """A property that must hold."""

    name: str
    table: str
    """The public table it speaks of, or ``lake``, ``warehouse``, ``ui_snapshot``."""
    description: str
    """The property, and what follows where it does not hold."""
    run: Callable[[Inspection], Finding]
    blocking: bool = True
    severity: Severity = "ERROR"
    reads: tuple[str, ...] = ()
    """The tables it reads.  While these files, and ``state``, are the same, a pass is remembered."""
    state: Callable[[Inspection], str] | None = None
    """Stands for all else that it reads.  A check with neither is made every time."""
