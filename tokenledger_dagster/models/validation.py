"""Whether a folder holds the unified ledger as it was made: every file, and SQL that says what CSV says, cell by cell.

Here: the properties of a folder. Not here: running its SQL (`loading.py`), making the files (`artifacts.py`), holding
them against a build (`artifacts.differences`, which also finds what was changed in SQL and CSV alike).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster.contracts.columns import Table
from tokenledger_dagster.contracts.ledger import PARETO, RUNTIME_METRICS, UNIFIED_LEDGER
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.artifacts import (
    LEDGER_CSV,
    LEDGER_SCHEMA,
    LEDGER_SEED,
    PARETO_CSV,
    PARETO_VIEW,
    PRIORS_CSV,
    RUNTIME_CSV,
    SEED_CSV,
    SEED_SQL,
)
from tokenledger_dagster.models.loading import ENGINES, LoadError
from tokenledger_dagster.models.priors import UNKNOWN_MAKER, maker_priors, priors_csv
from tokenledger_dagster.models.seed import SeedRow
from tokenledger_dagster.models.table_files import in_sql, plain

MOST_BYTES = 64 << 20
"""No file of a ledger comes near this."""
_SCRIPTS = (SEED_SQL, LEDGER_SCHEMA, LEDGER_SEED, PARETO_VIEW)
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_PLAIN = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
_PLACES = Decimal("0.000000001")
_ROUNDED = {"pareto_score": Decimal("0.00011")}
"""The view rounds the score itself, and SQLite counts in binary."""
_NO = Decimal(0)

Cell = str | int | bool | Decimal | None


class LedgerFilesError(TokenLedgerError):
    """A folder does not hold what it should; the message names the file and the remedy."""


class _Field(NamedTuple):
    kind: str
    """VARCHAR, BOOLEAN, DECIMAL, or a whole number."""
    is_nullable: bool


class _Sheet(NamedTuple):
    """One CSV file, and the table or view that SQL makes of the same."""

    file: str
    table: str
    fields: Mapping[str, _Field]
    key: tuple[str, ...]


def validate(folder: Path) -> dict[str, int]:
    """Load a folder's SQL in SQLite and DuckDB, hold every cell against its CSV files, and return rows by table.

    Raises:
        LedgerFilesError: a file is missing, cannot be read or loaded, does more than make and fill tables, or says
            something else than the others.
    """
    made_by = "refresh" if (folder.parent / "home.json").is_file() else "build"
    try:
        return _validated(folder)
    except _FolderError as error:
        raise LedgerFilesError(f"{error}; run `tokenledger ledger {made_by}`") from error


class _FolderError(Exception):
    """What is wrong with a file, in one line without the remedy."""


def _validated(folder: Path) -> dict[str, int]:
    sheets = (_SEED, _LEDGER, _PARETO)
    expected = [_rows(folder / sheet.file, sheet) for sheet in sheets]
    _rows(folder / RUNTIME_CSV, _RUNTIME)
    told_priors = _grid(folder / PRIORS_CSV)
    scripts = {str(folder / name): _text(folder / name) for name in _SCRIPTS}
    wanted = {sheet.table: (tuple(sheet.fields), sheet.key) for sheet in sheets}
    for engine, load in ENGINES.items():
        try:
            found = load(scripts, wanted)
        except LoadError as error:
            raise _FolderError(str(error)) from error
        for sheet, rows in zip(sheets, expected, strict=True):
            _compare(folder, sheet, rows, found[sheet.table], engine)
    _check_priors(folder, told_priors, expected[0], expected[1])
    return {sheet.table: len(rows) for sheet, rows in zip(sheets, expected, strict=True)}


def _compare(
    folder: Path, sheet: _Sheet, rows: Sequence[Sequence[Cell]], loaded: Sequence[Sequence[object]], engine: str
) -> None:
    if len(rows) != len(loaded):
        raise _FolderError(
            f"{folder}: {engine} loads {len(loaded):,} rows of {sheet.table}, {sheet.file} has {len(rows):,}"
        )
    for mine, theirs in zip(rows, loaded, strict=True):
        for (name, field), cell, other in zip(sheet.fields.items(), mine, theirs, strict=True):
            loaded_cell = _loaded(other, field)
            if not _same(cell, loaded_cell, _ROUNDED.get(name, _NO)):
                place = " ".join(str(mine[tuple(sheet.fields).index(column)]) for column in sheet.key)
                raise _FolderError(
                    f"{folder / sheet.file}: row {place}: {name} is {_told(cell)} there and {_told(loaded_cell)} in "
                    f"{engine}'s {sheet.table}"
                )


def _same(cell: Cell, other: object, tolerance: Decimal) -> bool:
    if tolerance and isinstance(cell, Decimal) and isinstance(other, Decimal):
        return abs(cell - other) <= tolerance
    return cell == other


def _loaded(value: object, field: _Field) -> object:
    """A value of an engine as the CSV file's cell would be read; as it is where it is nothing of that kind."""
    if field.kind == "BOOLEAN" and value in (0, 1):
        return bool(value)
    if field.kind == "DECIMAL" and isinstance(value, int | float | Decimal):
        found = Decimal(str(value))
        return found.quantize(_PLACES) if found.is_finite() and found.adjusted() < 18 else found
    return value


def _told(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Decimal):
        return repr(plain(value))
    return repr(str(value).lower() if isinstance(value, bool) else str(value)[:60])


def _check_priors(
    folder: Path, told: Sequence[Sequence[str]], seed: Sequence[Sequence[Cell]], ledger: Sequence[Sequence[Cell]]
) -> None:
    """Priors have no SQL; they follow from the other files."""
    name, maker = (tuple(_LEDGER.fields).index(column) for column in ("source_model", "maker"))
    makers = {str(row[name]): str(row[maker] or UNKNOWN_MAKER) for row in ledger}
    empty = [column in ("value_primary", "value_secondary") for column in _SEED.fields]
    try:
        rows = [
            msgspec.convert(
                {
                    column: "" if cell is None and is_text else bool(cell) if column == "is_missing" else cell
                    for column, cell, is_text in zip(_SEED.fields, row, empty, strict=True)
                },
                SeedRow,
            )
            for row in seed
        ]
    except msgspec.ValidationError as error:
        raise _FolderError(f"{folder / SEED_CSV}: {error}") from error
    wanted = priors_csv(maker_priors(rows, makers))
    for number, (mine, theirs) in enumerate(zip_longest(told, csv.reader(io.StringIO(wanted, newline=""))), 1):
        if mine != theirs:
            raise _FolderError(f"{folder / PRIORS_CSV}: line {number} is not what {SEED_CSV} and {LEDGER_CSV} give")


# -------------------------------------------------------------------- reading


def _rows(path: Path, sheet: _Sheet) -> list[list[Cell]]:
    """A file's rows in the order of their key."""
    grid = _grid(path)
    if not grid or tuple(grid[0]) != tuple(sheet.fields):
        raise _FolderError(f"{path}: has other columns than this version's")
    rows = [_row(cells, sheet, f"{path}: line {number}") for number, cells in enumerate(grid[1:], 2)]
    places = [tuple(sheet.fields).index(column) for column in sheet.key]
    return sorted(rows, key=lambda row: [row[place] for place in places])


def _row(cells: Sequence[str], sheet: _Sheet, place: str) -> list[Cell]:
    if len(cells) != len(sheet.fields):
        raise _FolderError(f"{place}: has {len(cells)} cells in place of {len(sheet.fields)}")
    return [
        _cell(cell, field, f"{place}: {name}") for cell, (name, field) in zip(cells, sheet.fields.items(), strict=True)
    ]


def _cell(text: str, field: _Field, place: str) -> Cell:
    if field.kind == "VARCHAR":
        return None if text == "" and field.is_nullable else in_sql(text)
    if text == "" and field.is_nullable:
        return None
    if field.kind == "BOOLEAN" and text in ("true", "false"):
        return text == "true"
    if field.kind == "DECIMAL" and _PLAIN.fullmatch(text):
        return Decimal(text).quantize(_PLACES)
    if field.kind not in ("BOOLEAN", "DECIMAL") and _WHOLE.fullmatch(text):
        return int(text)
    raise _FolderError(f"{place} is {_told(text)}, which is no {_NAMES.get(field.kind, 'whole number')}")


_NAMES = {"BOOLEAN": "true or false", "DECIMAL": "plain decimal of at most nine places"}


def _grid(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(_text(path), newline="")))
    except csv.Error as error:
        raise _FolderError(f"{path}: is no CSV file ({error})") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _FolderError(f"{path}: larger than {MOST_BYTES >> 20} MB, which no file of a ledger is")
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no UTF-8"
        raise _FolderError(f"{path}: {reason}") from error
    if "\x00" in text:
        raise _FolderError(f"{path}: holds a NUL character")
    return text


def _sheet(file: str, table: Table) -> _Sheet:
    fields = {column.name: _Field(column.type.partition("(")[0].upper(), column.nullable) for column in table.columns}
    return _Sheet(file, table.name, fields, tuple(table.key))


def _seed_fields() -> Iterable[tuple[str, _Field]]:
    for one in msgspec.structs.fields(SeedRow):
        is_whole = one.type in (int, bool)
        yield one.name, _Field("BIGINT" if is_whole else "VARCHAR", one.name in ("value_primary", "value_secondary"))


_SEED = _Sheet(SEED_CSV, "model_benchmark_values", dict(_seed_fields()), ("row_id",))
_LEDGER = _sheet(LEDGER_CSV, UNIFIED_LEDGER)
_PARETO = _sheet(PARETO_CSV, PARETO)
_RUNTIME = _sheet(RUNTIME_CSV, RUNTIME_METRICS)
