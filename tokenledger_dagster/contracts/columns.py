"""Columns and tables as values, and every form in which the rest of the program needs them.

Here: what a column can say of itself, and the Arrow schema, pandera schema, DDL, comments, UI rows and Markdown that
follow from it.  Not here: which tables there are and what their columns mean (``contracts.tables``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    import pandera.pandas as pandera
    import pyarrow as pa

ColumnType = Literal[
    "VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "TIMESTAMP", "DATE", "DECIMAL(18,9)", "VARCHAR[]"
]  # DuckDB's names; TIMESTAMP is naive UTC


class Column(msgspec.Struct, frozen=True):
    """One column: its type, its meaning with unit, and what its values may be."""

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    minimum: int | None = None
    maximum: int | None = None
    allowed: tuple[str, ...] = ()

    @property
    def constraints(self) -> list[str]:
        """What holds for every value, in the words a person reads: ``>= 0``, ``one of: a, b``."""
        found = []
        if self.minimum is not None:
            found.append(f">= {self.minimum}")
        if self.maximum is not None:
            found.append(f"<= {self.maximum}")
        if self.allowed:
            found.append("one of: " + ", ".join(self.allowed))
        return found

    @property
    def comment(self) -> str:
        """Description and constraints in one line."""
        return f"{self.description} [{'; '.join(self.constraints)}]" if self.constraints else self.description


class Table(msgspec.Struct, frozen=True):
    """One public table."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Columns that together tell rows apart, and by which the table is sorted."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(column.name for column in self.columns)


def text_column(name: str, description: str, *, null: bool = False, allowed: tuple[str, ...] = ()) -> Column:
    """A text."""
    return Column(name, "VARCHAR", description, null, allowed=allowed)


def count_column(name: str, description: str, *, null: bool = False) -> Column:
    """A whole number from 0 on."""
    return Column(name, "BIGINT", description, null, minimum=0)


def time_column(name: str, description: str, *, null: bool = False) -> Column:
    """A time, naive UTC."""
    return Column(name, "TIMESTAMP", f"{description}; naive UTC.", null)


def usd_column(name: str, description: str, *, null: bool = False) -> Column:
    """An amount or rate from 0 on, nine places."""
    return Column(name, "DECIMAL(18,9)", description, null, minimum=0)


def percent_column(name: str, description: str) -> Column:
    """A whole number from 0 to 100."""
    return Column(name, "INTEGER", description, minimum=0, maximum=100)


class ColumnRow(NamedTuple):
    """A column as a user interface lists it."""

    name: str
    type: str
    nullable: bool
    description: str
    constraints: list[str]


def column_rows(table: Table) -> list[ColumnRow]:
    """Columns as plain rows for a user interface."""
    return [
        ColumnRow(column.name, column.type.lower(), column.nullable, column.description, column.constraints)
        for column in table.columns
    ]


def arrow_schema(table: Table) -> pa.Schema:
    """Arrow schema with descriptions as field metadata; times are naive UTC microseconds."""
    import pyarrow as pa

    fields = [
        pa.field(column.name, _arrow_type(column.type), column.nullable, {"description": column.comment})
        for column in table.columns
    ]
    return pa.schema(fields, {"description": table.description})


def _arrow_type(kind: ColumnType) -> pa.DataType:
    import pyarrow as pa

    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "INTEGER": pa.int32(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
        "DATE": pa.date32(),
        "DECIMAL(18,9)": pa.decimal128(18, 9),
        "VARCHAR[]": pa.list_(pa.string()),
    }
    return types[kind]


def pandera_schema(table: Table) -> pandera.DataFrameSchema:
    """The contract for frames whose columns are Arrow-backed (``to_pandas(types_mapper=pandas.ArrowDtype)``).

    Column order, types, nulls, bounds and allowed values are checked; equal keys are not, since telling a million rows
    apart is DuckDB's work.
    """
    import pandas as pd
    import pandera.pandas as pandera

    columns = {
        column.name: pandera.Column(
            pd.ArrowDtype(_arrow_type(column.type)),
            checks=_pandera_checks(column),
            nullable=column.nullable,
            description=column.description,
        )
        for column in table.columns
    }
    return pandera.DataFrameSchema(columns, name=table.name, description=table.description, strict=True, ordered=True)


def _pandera_checks(column: Column) -> list[Any]:
    import pandera.pandas as pandera

    checks = []
    if column.minimum is not None:
        checks.append(pandera.Check.ge(column.minimum))
    if column.maximum is not None:
        checks.append(pandera.Check.le(column.maximum))
    if column.allowed:
        checks.append(pandera.Check.isin(column.allowed))
    return checks


def select_list(table: Table) -> str:
    """The columns in order, each cast to its type, for a query that makes the table."""
    return ", ".join(
        f"CAST({_quoted(column.name)} AS {column.type}) AS {_quoted(column.name)}" for column in table.columns
    )


def create_statement(table: Table) -> str:
    """DDL of the table in DuckDB."""
    columns = ", ".join(
        f"{_quoted(column.name)} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in table.columns
    )
    return f"CREATE TABLE {_quoted(table.name)} ({columns})"


def comment_statements(table: Table) -> list[str]:
    """``COMMENT ON`` for the table and each of its columns."""
    name = _quoted(table.name)
    return [
        f"COMMENT ON TABLE {name} IS {_literal(table.description)}",
        *(f"COMMENT ON COLUMN {name}.{_quoted(column.name)} IS {_literal(column.comment)}" for column in table.columns),
    ]


def markdown(table: Table) -> str:
    """The table as a section of a document."""
    lines = [
        f"## {table.name}",
        "",
        table.description,
        "",
        f"One row per {', '.join(f'`{name}`' for name in table.key)}.",
        "",
        "| column | type | null | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {_cell(column.comment)} |"
            for column in table.columns
        ),
    ]
    return "\n".join(lines) + "\n"


def ordering(names: Iterable[str]) -> str:
    """``ORDER BY`` list under which equal content has one order."""
    return ", ".join(f"{_quoted(name)} NULLS FIRST" for name in names)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
