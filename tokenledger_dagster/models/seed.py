"""The model seed: a benchmark table, one row per benchmark and model in long form.

Here: what is missing, how a cell is split, and the seed as CSV and as SQL. Not here: the table's syntax
(`pipe_table.py`), numbers and counts (`priors.py`), and writing files.

Contract: `docs/contracts/model-seed.md`.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Literal

import msgspec

from tokenledger_dagster.models.pipe_table import PipeTable, parse_pipe_table, plain_text

__all__ = ["COLUMNS", "MISSING_TOKENS", "SeedRow", "normalise", "normalized_csv", "schema_seed_sql"]

# the fourth is the third as UTF-8 read for Windows-1252
MISSING_TOKENS = ("", "-", "\u2014", "\u00e2\u20ac\u201d", "N/A", "n/a", "na", "NA", "null", "NULL")
"""Cells that hold no value."""

_FIRST_MODEL_COLUMN = 3
# a slash that stands in a missing token divides nothing: "n/a / 5" is "n/a" and "5"
_DIVIDER = re.compile(r"(?<!\bn)(?<!\bN)/|/(?![aA]\b)")
_TEMPLATE = Path(__file__).with_name("seed.sql")
_ROWS_PER_INSERT = 250


class SeedRow(msgspec.Struct, frozen=True):
    """One cell of the table. The fields are the columns of `models_normalized.csv`, in order."""

    row_id: int
    """From 1, row by row, from left to right."""
    benchmark: str
    notes_configuration: str
    """Unit, harness or set: rows of one benchmark differ in it."""
    model: str
    """The column's header, as text."""
    raw_value: str
    """The cell as written, trimmed; `''` where the row ended before it."""
    value_primary: str
    """The cell, or its part before the slash; `''` where missing."""
    value_secondary: str
    """The part after the slash; `''` without one."""
    split_kind: Literal["none", "slash"]
    is_missing: bool
    """Written as 0 or 1."""
    source_row_index: int
    """Line in the file, from 1."""
    source_col_index: int
    """Column of the table, from 1."""
    source_col_name: str
    """The column's header as written."""


COLUMNS = SeedRow.__struct_fields__
"""Columns of the CSV file and of the SQL table."""


def normalise(text: str, *, name: str) -> list[SeedRow]:
    """Return every cell of a benchmark table, row by row, from left to right.

    Args:
        text: a Markdown pipe table whose columns are Benchmark, Notes / Configuration and one per model.
        name: what messages call the file.

    Returns:
        Benchmark rows times models rows; none where the table has no benchmark.

    Raises:
        PipeTableError: the text is no such table, a model has no name or two columns, or a row has no benchmark.
    """
    table = parse_pipe_table(text, name=name)
    models = _models(table)
    rows: list[SeedRow] = []
    for row in table.rows:
        cells = row.cells + ("",) * (len(table.header.cells) - len(row.cells))
        benchmark, notes = plain_text(cells[0]), plain_text(cells[1])
        if benchmark in MISSING_TOKENS or not benchmark.strip("-:"):
            raise table.error(row, "the row names no benchmark; fill in its first cell or remove the line")
        for column, model in enumerate(models, start=_FIRST_MODEL_COLUMN):
            raw = cells[column - 1]
            primary, secondary, kind = _split(raw)
            rows.append(
                SeedRow(
                    row_id=len(rows) + 1,
                    benchmark=benchmark,
                    notes_configuration=notes,
                    model=model,
                    raw_value=raw,
                    value_primary=primary,
                    value_secondary=secondary,
                    split_kind=kind,
                    is_missing=raw in MISSING_TOKENS,
                    source_row_index=row.line,
                    source_col_index=column,
                    source_col_name=table.header.cells[column - 1],
                )
            )
    return rows


def normalized_csv(rows: list[SeedRow]) -> str:
    """Return the seed as CSV with a header line; lines end with a line feed, on every machine."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_values(row) for row in rows)
    return buffer.getvalue()


def schema_seed_sql(rows: list[SeedRow]) -> str:
    """Return SQL that makes and fills the table `model_benchmark_values`, in SQLite as in DuckDB.

    One transaction. Missing parts of a value are NULL; `raw_value` is what stands in the table.
    """
    inserts = "".join(
        f"INSERT INTO model_benchmark_values ({', '.join(COLUMNS)}) VALUES\n"
        + ",\n".join(_sql_row(row) for row in batch)
        + ";\n\n"
        for batch in (rows[start : start + _ROWS_PER_INSERT] for start in range(0, len(rows), _ROWS_PER_INSERT))
    )
    missing = ", ".join(_quoted(token) for token in MISSING_TOKENS)
    return _TEMPLATE.read_text("utf-8").format(missing=missing, inserts=inserts)


def _models(table: PipeTable) -> list[str]:
    header = table.header
    names = [plain_text(cell) for cell in header.cells]
    first_two = [name.casefold() for name in names[:2]]
    if len(names) < _FIRST_MODEL_COLUMN or first_two[0] != "benchmark" or not first_two[1].startswith("notes"):
        raise table.error(header, "the header must be | Benchmark | Notes / Configuration | <model> | ... |")
    models = names[2:]
    seen: dict[str, int] = {}
    for column, model in enumerate(models, start=_FIRST_MODEL_COLUMN):
        if model in MISSING_TOKENS:
            raise table.error(header, f"column {column} names no model; fill in its header or remove the column")
        earlier = seen.setdefault(" ".join(model.split()).casefold(), column)
        if earlier != column:
            raise table.error(header, f"columns {earlier} and {column} name the same model; merge or rename one")
    return models


def _split(raw: str) -> tuple[str, str, Literal["none", "slash"]]:
    if raw in MISSING_TOKENS:
        return "", "", "none"
    text = plain_text(raw)
    divider = _DIVIDER.search(text)
    if divider is None:
        return text, "", "none"
    return text[: divider.start()].strip(), text[divider.end() :].strip(), "slash"


def _values(row: SeedRow) -> list[str | int]:
    return [int(value) if isinstance(value, bool) else value for value in msgspec.structs.astuple(row)]


def _sql_row(row: SeedRow) -> str:
    nullable = {"value_primary", "value_secondary"}
    literals = (
        "NULL" if column in nullable and value == "" else _quoted(value) if isinstance(value, str) else str(value)
        for column, value in zip(COLUMNS, _values(row), strict=True)
    )
    return f"({', '.join(literals)})"


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
