"""The few things every query of this package needs: its SQL files, texts as SQL, and Python values as tables.

Here: no query of its own.  Not here: where a connection comes from, which is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import duckdb

_FOLDER = Path(__file__).parent / "sql"


@cache
def _sql_file(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def sql(name: str, **values: str) -> str:
    """Text of ``sql/<name>.sql``, its ``{placeholders}`` filled in; the values are SQL themselves."""
    text = _sql_file(name)
    return text.format(**values) if values else text


def literal(value: str | Path) -> str:
    """A text as SQL, quotes doubled."""
    return "'" + str(value).replace("'", "''") + "'"


def columns_of(rows: Iterable[msgspec.Struct]) -> list[tuple[Any, ...]]:
    """The values of equal structs, column by column; empty for no rows."""
    return list(zip(*(msgspec.structs.astuple(row) for row in rows), strict=True))


def load(cursor: duckdb.DuckDBPyConnection, name: str, ddl: str | None, columns: Sequence[Sequence[Any]]) -> None:
    """Makes a temporary table of Python values, or fills one that is there.

    Through Arrow, since row by row DuckDB takes a millisecond each.

    Args:
        cursor: the connection whose temporary table it will be.
        name: the table.
        ddl: its columns and their types; None where the table exists.
        columns: values by column, in the table's order; empty for no rows.
    """
    if ddl is not None:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({ddl})")
    if columns and columns[0]:
        import pyarrow as pa

        arrays = [pa.array(values) for values in columns]
        cursor.register("loaded_rows", pa.table(arrays, names=[f"c{place}" for place in range(len(arrays))]))
        cursor.execute(f"INSERT INTO {name} SELECT * FROM loaded_rows")
        cursor.unregister("loaded_rows")
