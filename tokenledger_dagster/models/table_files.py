"""Rows of a contract's table as CSV and as SQL that loads in SQLite and in DuckDB.

Here: text, the same on every machine: line feeds, plain decimals, no time of making. Not here: which rows
(`unified.py`, `frontier.py`, `runtime.py`), writing files (`artifacts.py`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from tokenledger_dagster.contracts.columns import Column, Table
from tokenledger_dagster.contracts.ledger import PARETO, UNIFIED_LEDGER, LedgerRow, ParetoRow
from tokenledger_dagster.models.comparison import Comparison

_PARETO_SQL = Path(__file__).with_name("pareto_view.sql")
_ROWS_PER_INSERT = 100
_DERIVED = ("provider", "model", "is_frontier", "n_dominated_by", "dominated_by_example", "pareto_score")
"""Columns of the Pareto view that it works out by itself."""
_SPECIAL = re.compile(r'[,"\r\n]')
Row = TypeVar("Row", bound=msgspec.Struct)
OFFERS = "unified_model_provider_pareto_offers"


def csv_text(table: Table, rows: Iterable[msgspec.Struct]) -> str:
    """Return rows as CSV with a header line: empty = null, booleans as true and false."""
    lines = [",".join(table.column_names)]
    lines += [",".join(_quoted(_cell(value)) for value in msgspec.structs.astuple(row)) for row in rows]
    return "\n".join(lines) + "\n"


def read_rows(text: str, kind: type[Row]) -> list[Row]:
    """Return the rows of a CSV text that `csv_text` wrote.  Raises msgspec.ValidationError for what is none."""
    nullable = {field.name for field in msgspec.structs.fields(kind) if _takes_none(field.type)}
    return [
        msgspec.convert(
            {name: None if cell == "" and name in nullable else cell for name, cell in row.items()}, kind, strict=False
        )
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def _takes_none(kind: object) -> bool:
    return type(None) in get_args(kind)


def ledger_schema_sql() -> str:
    """Return the SQL that makes the unified ledger's table, empty."""
    return (
        f"-- {UNIFIED_LEDGER.description}\n"
        "-- Made by a program, not by hand. Loads in SQLite and in DuckDB; loading it again empties the table.\n\n"
        f"DROP TABLE IF EXISTS {UNIFIED_LEDGER.name};\n\n"
        f"CREATE TABLE {UNIFIED_LEDGER.name} (\n{_columns(UNIFIED_LEDGER.columns, UNIFIED_LEDGER.key)}\n);\n"
    )


def ledger_seed_sql(rows: Sequence[LedgerRow]) -> str:
    """Return the SQL that fills it, in one transaction."""
    inserts = _inserts(UNIFIED_LEDGER.name, UNIFIED_LEDGER.column_names, map(msgspec.structs.astuple, rows))
    head = f"-- Rows of {UNIFIED_LEDGER.name}. Made by a program, not by hand.\n\nBEGIN TRANSACTION;\n\n"
    return f"{head}{inserts}\nCOMMIT;\n"


def pareto_view_sql(rows: Sequence[ParetoRow], comparison: Comparison, mix: Mapping[str, Decimal]) -> str:
    """Return the SQL that makes the Pareto view on top of a loaded ledger."""
    kept = [column for column in PARETO.columns if column.name not in _DERIVED]
    names = tuple(column.name for column in kept)
    weights = comparison.weights
    return _PARETO_SQL.read_text("utf-8").format(
        mix=_pairs(mix),
        weights="; ".join(f"{name}: {_pairs(one)}" for name, one in weights.items()),
        bounds=", ".join(f"{name} {_cell(one.worst)}-{_cell(one.best)}" for name, one in comparison.bounds.items()),
        columns=_columns(kept, ("objectives", "ledger_row_id")),
        inserts=_inserts(OFFERS, names, ([getattr(row, name) for name in names] for row in rows)),
        weight_rows=",\n".join(f"    ({_literal(name)}, {_weights(one)})" for name, one in weights.items()),
        stored=",\n".join(
            f"    offer.{name}" for name in PARETO.column_names[PARETO.column_names.index("pareto_score") + 1 :]
        ),
    )


def _weights(one: Mapping[str, Decimal]) -> str:
    return ", ".join(_cell(one.get(name, Decimal(0))) for name in ("quality", "cost", "latency"))


def _pairs(values: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in values.items())


def _columns(columns: Iterable[Column], key: Sequence[str]) -> str:
    listed = list(columns)
    width = max(len(column.name) + len(column.type) for column in listed) + 12
    lines = []
    for column in listed:
        words = f"    {column.name} {column.type}{'' if column.nullable else ' NOT NULL'},"
        lines.append(f"{words:<{width}}  -- {column.comment}")
    return "\n".join([*lines, f"    PRIMARY KEY ({', '.join(key)})"])


def _inserts(table: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return INSERT statements, some hundred rows each; nothing for no rows."""
    values = [f"({', '.join(map(_literal, row))})" for row in rows]
    batches = [values[start : start + _ROWS_PER_INSERT] for start in range(0, len(values), _ROWS_PER_INSERT)]
    head = f"INSERT INTO {table} ({', '.join(names)}) VALUES\n"
    return "".join(f"{head}{(',' + chr(10)).join(batch)};\n" for batch in batches)


def in_sql(text: str) -> str:
    """Return a text as the SQL files hold it: a line end inside one would make the file depend on how it is read."""
    return text.replace("\x00", "").replace("\r", " ").replace("\n", " ")


def plain(value: Decimal) -> str:
    """Return a decimal without exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _quoted(cell: str) -> str:
    """A cell of CSV. Python's own writer leaves a carriage return bare up to 3.12; other readers take it for an end."""
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if _SPECIAL.search(cell) else cell


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        doubled = in_sql(value).replace("'", "''")
        return f"'{doubled}'"
    return "TRUE" if value is True else "FALSE" if value is False else _cell(value)


def _cell(value: object) -> str:
    """A value as text, nothing as an empty one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    # no text of a log or a book is meant to hold one, and no reader of CSV or SQL gets past it
    return str(value).replace("\x00", "")
