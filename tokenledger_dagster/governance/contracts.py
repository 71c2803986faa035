"""One invariant per public table: its rows obey its contract.

Here: validating a Parquet table with pandera, in batches.  Not here: the contracts (``contracts.tables``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.contracts.tables import Table, pandera_schema
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.tables import is_as_built
from tokenledger_dagster.governance.outcome import SHOWN_ROWS, Finding, Inspection, Invariant
from tokenledger_dagster.governance.sqlfiles import statement

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 200_000
UNREADABLE = "It is no readable Parquet file."


def invariant(table: Table) -> Invariant:
    """The invariant ``contract_<table>``."""
    return Invariant(
        name=f"contract_{table.name}",
        table=table.name,
        run=lambda look: obeys(look, table),
        reads=(table.name,),
        description="Every row has the promised columns, types, bounds and a key of its own; else readers break.",
    )


def obeys(look: Inspection, table: Table) -> Finding:
    """Whether every row of the table obeys its contract."""
    path = look.path(table.name)
    changed = _changed(look, path, table)
    if changed.endswith(UNREADABLE):
        return Finding(passed=False, message=changed, actual=1, expected=0, rows=[{"file": str(path)}])
    count, failures, rows = _failures(path, table)
    if count is None:
        message = f"{table.name} lacks columns or has others, first: {_say(rows[0])}. Queries over it would fail."
        return Finding(passed=False, message=f"{changed}{message}", actual=failures, expected=0, rows=rows)
    key = ", ".join(f'"{name}"' for name in table.key)
    equal = look.query(statement("equal_keys", key=key, table=literal(path)))
    failures += len(equal)
    rows += [{"check": "unique key", **{name: _plain(value) for name, value in row.items()}} for row in equal]
    if changed and not failures:
        return Finding(passed=False, message=changed, actual=1, expected=0, rows=[{"file": str(path)}])
    if not failures:
        return Finding(passed=True, message=f"All {count} rows obey the contract.", actual=0, expected=0)
    message = (
        f"{failures} violations in {count} rows of {table.name}, first: {_say(rows[0])}. What is published from it "
        f"would mislead its readers. Delete {path} and run again; if it comes back, the table's query is wrong."
    )
    return Finding(passed=False, message=f"{changed}{message}", actual=failures, expected=0, rows=rows[:SHOWN_ROWS])


def _changed(look: Inspection, path: Path, table: Table) -> str:
    """What there is to say of a file that somebody else wrote; empty where it holds what was built."""
    import duckdb

    told = f"{path} was changed after it was built, so it is no longer made from the lake. Delete it and run again. "
    try:
        return "" if is_as_built(look.home, table.name, look.con) else told
    except (duckdb.Error, OSError):
        return told + UNREADABLE


def _failures(path: Path, table: Table) -> tuple[int | None, int, list[dict[str, Any]]]:
    """Rows read (None where the columns themselves are wrong), violations, and the first of them."""
    import pandera.pandas as pandera

    schema = pandera_schema(table)
    count = failures = 0
    rows: list[dict[str, Any]] = []
    for number, frame in enumerate(_frames(path)):
        try:
            schema.validate(frame, lazy=True)
        except pandera.errors.SchemaErrors as error:
            cases = error.failure_cases
            failures += len(cases)
            rows += [_row(case, count) for case in cases.head(SHOWN_ROWS - len(rows)).to_dict("records")]
            if number == 0:
                return None, failures, rows
        count += len(frame)
    return count, failures, rows


def _frames(path: Path) -> Iterator[pd.DataFrame]:
    """The columns without rows, then the rows in batches."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield file.schema_arrow.empty_table().to_pandas(types_mapper=pd.ArrowDtype)
        for batch in file.iter_batches(_BATCH_ROWS):
            yield pa.Table.from_batches([batch]).to_pandas(types_mapper=pd.ArrowDtype)


def _row(case: dict[str, Any], offset: int) -> dict[str, Any]:
    index = case.get("index")
    return {
        "column": _plain(case.get("column")),
        "check": _plain(case.get("check")),
        "value": _plain(case.get("failure_case")),
        "row": int(index) + offset if isinstance(index, (int, float)) and index == index else None,
    }


def _plain(value: Any) -> str | int | None:
    return value if value is None or isinstance(value, int) else str(value)


def _say(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
