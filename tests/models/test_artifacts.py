"""The ledger's files: the same bytes on every machine, what `ledger/` holds, and SQL that says what the CSV says."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.small_ledger import comparison, entries
from tokenledger_dagster.contracts.columns import Table
from tokenledger_dagster.contracts.ledger import (
    OBJECTIVES,
    PARETO,
    RUNTIME_METRICS,
    UNIFIED_LEDGER,
    LedgerRow,
    ParetoRow,
    RuntimeMetric,
)
from tokenledger_dagster.models.artifacts import (
    COMMITTED,
    LEDGER_CSV,
    LEDGER_SCHEMA,
    LEDGER_SEED,
    PARETO_CSV,
    PARETO_VIEW,
    RUNTIME_CSV,
    SEED_CSV,
    SEED_SQL,
    Build,
    committed_build,
    differences,
    task_counts,
    write_build,
)
from tokenledger_dagster.models.frontier import pareto_rows
from tokenledger_dagster.models.table_files import (
    csv_text,
    ledger_schema_sql,
    ledger_seed_sql,
    pareto_view_sql,
    read_rows,
)

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {
    "cliproxyapi_runtime_metrics_snapshot.csv",
    "model_priors_by_maker.csv",
    "models_normalized.csv",
    "models_schema_seed.sql",
    "unified_model_provider_ledger.csv",
    "unified_model_provider_ledger.schema.sql",
    "unified_model_provider_ledger.seed.sql",
    "unified_model_provider_pareto.csv",
    "unified_model_provider_pareto.view.sql",
}
SCRIPTS = (SEED_SQL, LEDGER_SCHEMA, LEDGER_SEED, PARETO_VIEW)
TABLES: dict[str, tuple[str, type[msgspec.Struct]]] = {
    UNIFIED_LEDGER.name: (LEDGER_CSV, LedgerRow),
    PARETO.name: (PARETO_CSV, ParetoRow),
}
Grid = list[tuple[Any, ...]]
Con = sqlite3.Connection | duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def build() -> Build:
    return committed_build()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the committed files, to break."""
    found = tmp_path / "ledger"
    found.mkdir()
    for name in FILES:
        shutil.copyfile(COMMITTED / name, found / name)
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def in_sqlite(scripts: list[str], query: str) -> Grid:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
        for text in scripts:
            con.executescript(text)
        return con.execute(query).fetchall()


def in_duckdb(scripts: list[str], query: str) -> Grid:
    with duckdb.connect() as con:
        for text in scripts:
            con.execute(text)
        return con.execute(query).fetchall()


ENGINES = pytest.mark.parametrize("load", [in_sqlite, in_duckdb], ids=["sqlite", "duckdb"])


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def committed(request: pytest.FixtureRequest) -> Iterator[Con]:
    """An engine with everything committed loaded; not to be changed."""
    scripts = [(COMMITTED / name).read_text("utf-8") for name in SCRIPTS]
    if request.param == "sqlite":
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
            for text in scripts:
                con.executescript(text)
            yield con
    else:
        with duckdb.connect() as con:
            for text in scripts:
                con.execute(text)
            yield con


def csv_rows(name: str) -> int:
    with (COMMITTED / name).open(encoding="utf-8", newline="") as handle:
        return sum(1 for _ in csv.DictReader(handle))


# ------------------------------------------------------------------ what is built


def test_the_committed_folder_holds_a_fresh_build_and_nothing_else(build: Build) -> None:
    assert differences(build, COMMITTED) == {}
    assert {path.name for path in COMMITTED.iterdir() if path.is_file()} == {*FILES, "README.md", "__init__.py"}
    assert build.files.keys() == FILES


def test_counts_of_the_build(build: Build) -> None:
    assert build.counts == {
        "ledger_rows": 84,
        "mapped": 84,
        "priced": 77,
        "pareto_rows": 168,
        "runtime_rows": 0,
        "cost+quality eligible": 10,
        "cost+quality frontier": 5,
        "cost+quality+latency eligible": 15,
        "cost+quality+latency frontier": 9,
    }


def test_files_are_text_with_line_feeds_and_a_last_line_end(build: Build) -> None:
    for text in build.files.values():
        assert "\r" not in text
        assert "\ufeff" not in text
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


def test_no_figure_is_written_with_an_exponent_or_with_zeros_that_say_nothing(build: Build) -> None:
    rows = csv.DictReader(build.files[LEDGER_CSV].splitlines())
    cells = [row[name] for row in rows for name in row if name.endswith(("_usd_per_mtok", "_delta", "_score"))]
    for cell in filter(None, cells):
        assert cell == "0" or f"{Decimal(cell).normalize():f}" == cell


def test_the_number_of_tasks_is_known_of_the_benchmarks_that_are_compared() -> None:
    found = task_counts()
    assert {one.quality.name: found.get(one.quality.name) for one in comparison().objective_sets} == {
        "SWE-Bench Pro | Public set, Scale leaderboard": 731,
        "Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting": 225,
    }


# ------------------------------------------------------------------ the same bytes in other processes


def building(python: str, folder: Path, **environ: str) -> subprocess.Popen[bytes]:
    command = [python, "-m", "tokenledger_dagster.cli.main", "ledger", "build", "--output", str(folder)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finished(process: subprocess.Popen[bytes]) -> None:
    _, problem = process.communicate(timeout=120)
    assert process.returncode == 0, problem.decode()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name in FILES}


def test_two_processes_write_the_committed_bytes_whatever_their_hashes_zone_and_language(tmp_path: Path) -> None:
    one = building(sys.executable, tmp_path / "one", PYTHONHASHSEED="1", TZ="Asia/Kathmandu", LC_ALL="C")
    two = building(sys.executable, tmp_path / "two", PYTHONHASHSEED="20261121", TZ="UTC", LC_ALL="C.UTF-8")
    finished(one)
    finished(two)

    assert digests(tmp_path / "one") == digests(tmp_path / "two") == digests(COMMITTED)
    assert digests(COMMITTED).keys() == FILES


def another_python() -> str | None:
    """Another version of CPython, 3.11 or later, that has what a build imports."""
    code = f"import sys, duckdb, msgspec, numpy, yaml; print(sys.version_info[:2] != {sys.version_info[:2]})"
    for minor in range(11, 16):
        path = shutil.which(f"python3.{minor}")
        if path is not None and (3, minor) != sys.version_info[:2]:
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
            if done.stdout.strip() == "True":
                return path
    return None


def test_another_version_of_python_writes_the_committed_bytes(tmp_path: Path) -> None:
    python = another_python()
    if python is None:
        pytest.skip("no other CPython >= 3.11 with duckdb, msgspec, numpy and yaml is on the PATH")
    finished(building(python, tmp_path / "other", PYTHONHASHSEED="7"))
    assert digests(tmp_path / "other") == digests(COMMITTED)


# ------------------------------------------------------------------ SQL beside CSV


@pytest.mark.parametrize(
    ("table", "name", "count"),
    [
        ("model_benchmark_values", SEED_CSV, 3_280),
        (UNIFIED_LEDGER.name, LEDGER_CSV, 84),
        (PARETO.name, PARETO_CSV, 168),
    ],
)
def test_sql_loads_as_many_rows_as_the_csv_has(committed: Con, table: str, name: str, count: int) -> None:
    assert committed.execute(f"SELECT count(*) FROM {table}").fetchall() == [(csv_rows(name),)] == [(count,)]


@pytest.mark.parametrize("table", TABLES)
def test_sql_says_what_the_csv_says_in_every_cell(committed: Con, table: str) -> None:
    name, kind = TABLES[table]
    expected = read_rows((COMMITTED / name).read_text("utf-8"), kind)
    order = ", ".join(PARETO.key if table == PARETO.name else UNIFIED_LEDGER.key)
    columns = ", ".join(kind.__struct_fields__)
    found = committed.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        for column, cell, other in zip(kind.__struct_fields__, row, msgspec.structs.astuple(wanted), strict=True):
            if isinstance(other, Decimal):
                # the view rounds the score itself, and SQLite counts in binary
                assert abs(Decimal(str(cell)) - other) <= (Decimal("0.00011") if column == "pareto_score" else 0)
            else:
                assert cell == other, column


@ENGINES
def test_loading_again_replaces_everything(load: Any) -> None:
    scripts = [(COMMITTED / name).read_text("utf-8") for name in SCRIPTS[1:]]
    query = f"SELECT (SELECT count(*) FROM {UNIFIED_LEDGER.name}), (SELECT count(*) FROM {PARETO.name})"
    assert load(scripts * 2, query) == [(84, 168)]


@ENGINES
def test_the_schema_alone_makes_the_empty_table(load: Any) -> None:
    assert load([ledger_schema_sql()], f"SELECT * FROM {UNIFIED_LEDGER.name}") == []


def test_the_sql_table_has_the_contracts_columns_and_types() -> None:
    query = "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
    assert in_duckdb([ledger_schema_sql()], query) == [
        (column.name, column.type, "YES" if column.nullable else "NO") for column in UNIFIED_LEDGER.columns
    ]


def test_the_view_has_the_contracts_columns(committed: Con) -> None:
    found = committed.execute(f"SELECT * FROM {PARETO.name} LIMIT 0")
    assert tuple(column[0] for column in found.description or ()) == PARETO.column_names


def test_every_column_of_the_sql_is_explained(build: Build) -> None:
    for column in UNIFIED_LEDGER.columns:
        assert f"-- {column.comment}" in build.files[LEDGER_SCHEMA]


def test_the_view_says_what_its_scores_depend_on(build: Build) -> None:
    head = build.files[PARETO_VIEW].partition("BEGIN TRANSACTION")[0]
    assert "input 0.05, cache_write 0.05, cache_read 0.88, output 0.02" in head
    assert "cost+quality: quality 0.6, cost 0.4; cost+quality+latency: quality 0.5, cost 0.3, latency 0.2" in head
    assert "usd_per_mtok 100-0.01" in head


# ------------------------------------------------------------------ rows as text


@pytest.mark.parametrize(
    ("table", "kind", "name"),
    [
        (UNIFIED_LEDGER, LedgerRow, LEDGER_CSV),
        (PARETO, ParetoRow, PARETO_CSV),
        (RUNTIME_METRICS, RuntimeMetric, RUNTIME_CSV),
    ],
)
def test_rows_that_are_read_and_written_again_are_the_same_bytes(
    table: Table, kind: type[msgspec.Struct], name: str
) -> None:
    text = (COMMITTED / name).read_text("utf-8")
    assert csv_text(table, read_rows(text, kind)) == text


_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from("'\";,\r\n-|\x85\u2028"),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40)
@given(_NAMES, _NAMES)
def test_any_name_survives_csv(source: str, note: str) -> None:
    row = msgspec.structs.replace(entries()[0].row, source_model=source, pricing_note=note)
    assert read_rows(csv_text(UNIFIED_LEDGER, [row]), LedgerRow) == [row]


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[sqlite3.Connection, duckdb.DuckDBPyConnection]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one, duckdb.connect() as other:
        yield one, other


@settings(max_examples=20)
@given(_NAMES)
def test_any_name_survives_sql(loaded: tuple[sqlite3.Connection, duckdb.DuckDBPyConnection], source: str) -> None:
    row = msgspec.structs.replace(entries()[0].row, source_model=source)
    script = [ledger_schema_sql(), ledger_seed_sql([row])]
    sqlite, duck = loaded
    query = f"SELECT source_model FROM {UNIFIED_LEDGER.name}"
    for text in script:
        sqlite.executescript(text)
        duck.execute(text)
    # a line end inside a literal becomes a blank
    expected = [(source.replace("\r", " ").replace("\n", " "),)]
    assert sqlite.execute(query).fetchall() == duck.execute(query).fetchall() == expected


def test_a_ledger_without_rows_loads_too() -> None:
    empty = [ledger_schema_sql(), ledger_seed_sql([]), pareto_view_sql([], comparison(), comparison().usage_mix)]
    for load in (in_sqlite, in_duckdb):
        assert load(empty, f"SELECT * FROM {PARETO.name}") == []


@ENGINES
def test_the_view_works_dominance_and_score_out_by_itself(load: Any) -> None:
    rows = pareto_rows(entries(), comparison(), sets=comparison().objective_sets, mix=comparison().usage_mix, tasks={})
    view = pareto_view_sql(rows, comparison(), comparison().usage_mix)
    ledger = ledger_seed_sql([one.row for one in entries()])
    found = load(
        [ledger_schema_sql(), ledger, view],
        "SELECT objectives, source_model, is_frontier, n_dominated_by, dominated_by_example "
        f"FROM {PARETO.name} WHERE eligibility = 'eligible' ORDER BY objectives, ledger_row_id",
    )
    two, three = OBJECTIVES
    assert found == [
        (two, "Claude Opus 4.5", False, 1, "GPT-5.4"),
        (two, "GLM-5", True, 0, None),
        (two, "GPT-5.4", True, 0, None),
        (three, "Claude Opus 4.5", True, 0, None),
        (three, "GPT-5 (high)", True, 0, None),
        (three, "GPT-5 (low)", True, 0, None),
    ]


# ------------------------------------------------------------------ writing and comparing


def test_only_what_differs_is_written(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ledger"
    assert {path.name for path in write_build(build, folder)} == FILES
    (folder / "notes.txt").write_text("mine")
    assert write_build(build, folder) == []

    edit(folder / LEDGER_CSV, "Claude Opus 5,", "Claude Opus V,")
    (folder / RUNTIME_CSV).unlink()
    assert [path.name for path in write_build(build, folder)] == [LEDGER_CSV, RUNTIME_CSV]
    assert differences(build, folder) == {}
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_difference_names_the_file_the_row_the_column_and_both_values(build: Build, folder: Path) -> None:
    edit(folder / LEDGER_CSV, ",exact,100,codex,o3,,2,8,", ",exact,100,codex,o3,,1,8,")
    (folder / PARETO_VIEW).unlink()
    (folder / SEED_CSV).write_bytes((folder / SEED_CSV).read_bytes().replace(b"\n", b"\r\n"))
    edit(folder / LEDGER_SCHEMA, "ledger_row_id BIGINT", "ledger_row_id TEXT")

    found = differences(build, folder)

    assert found.keys() == {LEDGER_CSV, LEDGER_SCHEMA, PARETO_VIEW, SEED_CSV}
    assert found[PARETO_VIEW] == ["is missing"]
    assert found[SEED_CSV] == ["line ends differ"]
    (line,) = found[LEDGER_CSV]
    assert " o3" in line
    assert line.endswith("pricing_input_usd_per_mtok: '1' in the folder, '2' as built")
    removed, added = found[LEDGER_SCHEMA][-2:]
    assert removed.startswith("-    ledger_row_id TEXT")
    assert added.startswith("+    ledger_row_id BIGINT")


def test_a_row_that_came_or_went_is_told_as_lines(build: Build, folder: Path) -> None:
    lines = (folder / LEDGER_CSV).read_text("utf-8").splitlines(keepends=True)
    (folder / LEDGER_CSV).write_text("".join([*lines[:5], *lines[6:]]), "utf-8")
    assert [line for line in differences(build, folder)[LEDGER_CSV] if line[0] == "+"][1:] == [f"+{lines[5].rstrip()}"]


def test_a_file_of_an_older_build_that_stayed_behind_is_named(build: Build, folder: Path) -> None:
    (folder / "unified_model_ledger.csv").write_text("old\n")
    assert list(differences(build, folder)) == ["unified_model_ledger.csv"]


def test_a_long_difference_is_cut_and_says_so(build: Build, folder: Path) -> None:
    (folder / SEED_CSV).write_text("nothing of it\n")
    *shown, last = differences(build, folder)[SEED_CSV]
    assert len(shown) == 40
    # header and 3,280 rows, the line that was there, and three lines about them
    assert last == "... and 3,245 lines more"
