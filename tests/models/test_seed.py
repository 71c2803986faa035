"""The model seed in long form: what is missing, how a cell is split, and where it stood."""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
import subprocess
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenledger_dagster.models.pipe_table import PipeTableError
from tokenledger_dagster.models.seed import (
    COLUMNS,
    MISSING_TOKENS,
    SeedRow,
    normalise,
    normalized_csv,
    schema_seed_sql,
)

TABLE = """\
| Benchmark | Notes / Configuration | Alpha 1 | Beta (high) |
|---|---|---|---|
| Input Price | $/1M tokens | $2.00 / $4.00 (>200k) | — |
| Ada's Exam | No tools | 77.2% | 37.5% / 37.7% |
"""


def seed(text: str) -> list[SeedRow]:
    return normalise(text, name="models.csv")


def cell(raw: str) -> SeedRow:
    """The row of a cell that stands alone in its table."""
    (row,) = seed(f"| Benchmark | Notes | A |\n| Exam | None | {raw} |\n")
    return row


def refusal(text: str) -> str:
    with pytest.raises(PipeTableError) as caught:
        seed(text)
    return str(caught.value)


def test_a_row_per_benchmark_and_model_in_reading_order() -> None:
    assert normalized_csv(seed(TABLE)) == (
        "row_id,benchmark,notes_configuration,model,raw_value,value_primary,value_secondary,split_kind,is_missing,"
        "source_row_index,source_col_index,source_col_name\n"
        "1,Input Price,$/1M tokens,Alpha 1,$2.00 / $4.00 (>200k),$2.00,$4.00 (>200k),slash,0,3,3,Alpha 1\n"
        "2,Input Price,$/1M tokens,Beta (high),—,,,none,1,3,4,Beta (high)\n"
        "3,Ada's Exam,No tools,Alpha 1,77.2%,77.2%,,none,0,4,3,Alpha 1\n"
        "4,Ada's Exam,No tools,Beta (high),37.5% / 37.7%,37.5%,37.7%,slash,0,4,4,Beta (high)\n"
    )


@pytest.mark.parametrize("token", ["", "—", "â€”", "-", "N/A", "n/a", "na", "NA", "null", "NULL"])
def test_missing_tokens_hold_no_value(token: str) -> None:
    row = cell(token)
    assert (row.is_missing, row.raw_value) == (True, token)
    assert (row.value_primary, row.value_secondary, row.split_kind) == ("", "", "none")


def test_the_mojibake_is_a_dash_read_for_windows_1252() -> None:
    assert "—".encode().decode("cp1252") in MISSING_TOKENS


@pytest.mark.parametrize("value", ["0", "0%", "none", "Null", "nA", "--", "\u2013", "n.a."])
def test_nothing_else_is_missing(value: str) -> None:
    assert (cell(value).is_missing, cell(value).value_primary) == (False, value)


@pytest.mark.parametrize(
    ("raw", "primary", "secondary"),
    [
        ("a / b", "a", "b"),
        ("a/b", "a", "b"),
        ("a /b / c", "a", "b / c"),
        ("a /", "a", ""),
        ("/ b", "", "b"),
        ("— / 5", "—", "5"),
        ("n/a / 5", "n/a", "5"),
        ("5 / N/A", "5", "N/A"),
        ("in/all", "in", "all"),
        (r"a \| b / c", "a | b", "c"),
    ],
)
def test_a_value_is_split_once_at_its_first_slash(raw: str, primary: str, secondary: str) -> None:
    row = cell(raw)
    assert (row.value_primary, row.value_secondary, row.split_kind) == (primary, secondary, "slash")
    assert row.raw_value == raw


def test_escaped_pipes_are_text_everywhere() -> None:
    (row,) = seed("| Benchmark | Notes | A \\| B |\n| C \\| D | E \\| F | 1 \\| 2 |\n")
    assert (row.benchmark, row.notes_configuration, row.model, row.value_primary) == (
        "C | D",
        "E | F",
        "A | B",
        "1 | 2",
    )
    assert (row.source_col_name, row.raw_value) == (r"A \| B", r"1 \| 2")


def test_cells_that_a_row_lacks_are_missing() -> None:
    rows = seed("| Benchmark | Notes | A | B |\n| Exam |\n")
    assert [(row.model, row.notes_configuration, row.raw_value, row.is_missing) for row in rows] == [
        ("A", "", "", True),
        ("B", "", "", True),
    ]


def test_a_table_without_benchmarks_is_an_empty_seed() -> None:
    rows = seed("| Benchmark | Notes | A |\n|---|---|---|\n")
    assert rows == []
    assert normalized_csv(rows) == ",".join(COLUMNS) + "\n"


def test_two_rows_of_one_benchmark_both_stay() -> None:
    rows = seed("| Benchmark | Notes | A |\n| Exam | x | 1 |\n| Exam | y | 2 |\n")
    assert [(row.benchmark, row.notes_configuration) for row in rows] == [("Exam", "x"), ("Exam", "y")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "| Benchmark | Notes | A | b | B |\n",
            "models.csv: line 1: columns 4 and 5 name the same model; merge or rename one",
        ),
        (
            "| Benchmark | Notes | A  1 | A 1 |\n",
            "models.csv: line 1: columns 3 and 4 name the same model; merge or rename one",
        ),
        (
            "| Benchmark | Notes | A | |\n",
            "models.csv: line 1: column 4 names no model; fill in its header or remove the column",
        ),
        (
            "| Benchmark | Notes |\n",
            "models.csv: line 1: the header must be | Benchmark | Notes / Configuration | <model> | ... |",
        ),
        (
            "| Benchmark | Alpha | Beta |\n",
            "models.csv: line 1: the header must be | Benchmark | Notes / Configuration | <model> | ... |",
        ),
        (
            "| Benchmark | Notes | A |\n|  | x | 1 |\n",
            "models.csv: line 2: the row names no benchmark; fill in its first cell or remove the line",
        ),
        (
            "| Benchmark | Notes | A |\n| Exam | x | 1 |\n|---|---|---|\n",
            "models.csv: line 3: the row names no benchmark; fill in its first cell or remove the line",
        ),
    ],
)
def test_an_ambiguous_table_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def loaded_in_sqlite(sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(sql)
        return connection.execute("SELECT * FROM model_benchmark_values ORDER BY row_id").fetchall()
    finally:
        connection.close()


def loaded_in_duckdb(sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        connection.execute(sql)
        return connection.execute("SELECT * FROM model_benchmark_values ORDER BY row_id").fetchall()


def as_loaded(rows: list[SeedRow]) -> list[tuple[object, ...]]:
    return [
        (
            row.row_id,
            row.benchmark,
            row.notes_configuration,
            row.model,
            row.raw_value,
            row.value_primary or None,
            row.value_secondary or None,
            row.split_kind,
            int(row.is_missing),
            row.source_row_index,
            row.source_col_index,
            row.source_col_name,
        )
        for row in rows
    ]


def test_sql_holds_the_rows_in_both_databases() -> None:
    rows = seed(TABLE)
    sql = schema_seed_sql(rows)
    assert loaded_in_sqlite(sql) == as_loaded(rows)
    assert loaded_in_duckdb(sql) == as_loaded(rows)


def test_sql_of_many_rows_is_batched() -> None:
    rows = seed("| Benchmark | Notes | A |\n" + "".join(f"| B{number} | x | {number} |\n" for number in range(501)))
    sql = schema_seed_sql(rows)
    assert sql.count("INSERT INTO") == 3
    assert len(loaded_in_sqlite(sql)) == len(loaded_in_duckdb(sql)) == len(rows) == 501


def test_sql_of_an_empty_seed_makes_the_table() -> None:
    sql = schema_seed_sql([])
    assert loaded_in_sqlite(sql) == loaded_in_duckdb(sql) == []


def test_loading_again_changes_nothing() -> None:
    rows = seed(TABLE)
    sql = schema_seed_sql(rows)
    assert loaded_in_sqlite(sql + sql) == as_loaded(rows)
    assert loaded_in_duckdb(sql + sql) == as_loaded(rows)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
def test_the_sqlite_shell_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "seed.sql").write_text(schema_seed_sql(seed(TABLE)), encoding="utf-8")
    done = subprocess.run(
        ["sqlite3", ":memory:", ".read seed.sql", "SELECT count(*) FROM model_benchmark_values;"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_the_same_text_gives_the_same_bytes() -> None:
    assert schema_seed_sql(seed(TABLE)) == schema_seed_sql(seed(TABLE.replace("\n", "\r\n")))


def seed_or_refusal(text: str) -> list[SeedRow] | str:
    try:
        return seed(text)
    except PipeTableError as error:
        return str(error)


@given(st.text())
@example("|")
@example("| Benchmark | Notes | A |\n|")
@example("Benchmark|Notes|A\n'; DROP TABLE x; --|.quit|{missing}")
def test_any_text_is_a_seed_or_refused(text: str) -> None:
    for candidate in (text, f"| Benchmark | Notes | A |\n{text}", cell_table(text)):
        found = seed_or_refusal(candidate)
        if isinstance(found, str):
            assert found.startswith("models.csv: line ")
        else:
            check_outputs(found)


def cell_table(text: str) -> str:
    return f"| Benchmark | Notes | A |\n| Exam | x | {text} |\n"


def check_outputs(rows: list[SeedRow]) -> None:
    read = list(csv.DictReader(io.StringIO(normalized_csv(rows), newline="")))
    assert [row["raw_value"] for row in read] == [row.raw_value for row in rows]
    assert loaded_in_sqlite(schema_seed_sql(rows)) == as_loaded(rows)


NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
VALUE = st.sampled_from([*MISSING_TOKENS, "1", "50.1%", "$2.00 / $4.00", "a'b", "x/y/z"])


@given(
    st.lists(NAME.map(lambda name: f"m{name}"), min_size=1, max_size=5, unique_by=str.casefold),
    st.lists(st.lists(VALUE, max_size=5), max_size=5),
)
def test_rows_are_benchmarks_times_models(models: list[str], values: list[list[str]]) -> None:
    lines = [["Benchmark", "Notes", *models], *(["B", "x", *row[: len(models)]] for row in values)]
    rows = seed("\n".join("|" + "|".join(line) + "|" for line in lines))
    assert len(rows) == len(values) * len(models)
    assert [row.row_id for row in rows] == list(range(1, len(rows) + 1))
    assert {row.model for row in rows} == (set(models) if values else set())
    assert all(row.is_missing == (row.raw_value in MISSING_TOKENS) for row in rows)
