"""A folder is valid only with every file of the ledger in it, SQL that makes and fills tables and nothing else, and the
same in every cell of SQL and CSV."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.models.small_ledger import small_build
from tokenledger_dagster.contracts.ledger import PARETO, UNIFIED_LEDGER
from tokenledger_dagster.models import loading, validation
from tokenledger_dagster.models.artifacts import (
    COMMITTED,
    LEDGER_CSV,
    LEDGER_SCHEMA,
    LEDGER_SEED,
    PARETO_CSV,
    PARETO_VIEW,
    PRIORS_CSV,
    RUNTIME_CSV,
    SEED_CSV,
    SEED_SQL,
    write_build,
)
from tokenledger_dagster.models.validation import LedgerFilesError, validate

VALID = {"model_benchmark_values": 42, UNIFIED_LEDGER.name: 9, PARETO.name: 18}
SQL = (SEED_SQL, LEDGER_SCHEMA, LEDGER_SEED, PARETO_VIEW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small ledger's files, to break."""
    found = tmp_path / "ledger"
    found.mkdir()
    for name, text in small_build().files.items():
        (found / name).write_bytes(text.encode())
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def refused(folder: Path) -> str:
    """What a person is told: one line that names a file and the remedy."""
    with pytest.raises(LedgerFilesError) as caught:
        validate(folder)
    told, remedy = str(caught.value).rsplit("; ", 1)
    assert "\n" not in told
    assert told.startswith(str(folder))
    assert remedy == "run `tokenledger ledger build`"
    return told.removeprefix(f"{folder}{os.sep}").removeprefix(f"{folder}: ")


# ------------------------------------------------------------------ what is valid


def test_the_committed_files_are_valid() -> None:
    assert validate(COMMITTED) == {"model_benchmark_values": 3_280, UNIFIED_LEDGER.name: 84, PARETO.name: 168}


def test_rows_are_counted_by_table(folder: Path) -> None:
    assert validate(folder) == VALID


def test_other_line_ends_are_no_fault(folder: Path) -> None:
    for path in folder.iterdir():
        # the one carriage return inside a name is no line end
        path.write_bytes(path.read_bytes().replace(b"\r", b" ").replace(b"\n", b"\r\n"))
    assert validate(folder) == VALID


def test_files_that_nobody_built_are_nobodys_business(folder: Path) -> None:
    (folder / "notes.sql").write_text("ATTACH 'x' AS y;")
    assert validate(folder) == VALID


# ------------------------------------------------------------------ files that are none


@pytest.mark.parametrize(
    "name",
    [SEED_CSV, SEED_SQL, LEDGER_CSV, LEDGER_SCHEMA, LEDGER_SEED, PARETO_CSV, PARETO_VIEW, PRIORS_CSV, RUNTIME_CSV],
)
def test_a_file_that_is_missing_or_damaged_is_named(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    assert refused(folder) == f"{name}: No such file or directory"
    path.mkdir()
    assert refused(folder) == f"{name}: Is a directory"
    path.rmdir()
    for content, problem in ((b"\xff", "is no UTF-8"), (b"-- \x00\n", "holds a NUL character")):
        path.write_bytes(whole + content)
        assert refused(folder) == f"{name}: {problem}"
    path.write_bytes(b"")
    refused(folder)
    path.write_bytes(whole)
    assert validate(folder) == VALID


def test_a_file_that_is_far_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MOST_BYTES", 100)
    assert "larger than" in refused(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        # CSV that is none, or of another version
        (PARETO_CSV, "ledger_row_id,", "row_id,", "has other columns than this version's"),
        (LEDGER_CSV, "source_model,", "", "has other columns than this version's"),
        (RUNTIME_CSV, "provider,model", "model,provider", "has other columns than this version's"),
        (PARETO_CSV, "\n5,", "\nx,", "line 6: ledger_row_id is 'x', which is no whole number"),
        (PARETO_CSV, "\n5,", "\n,", "line 6: ledger_row_id is '', which is no whole number"),
        (PARETO_CSV, "\n5,", f"\n{'9' * 30},", f"ledger_row_id is '{'9' * 30}', which is no whole number"),
        (PARETO_CSV, ",true,", ",True,", "is_frontier is 'True', which is no true or false"),
        (RUNTIME_CSV, ",900,", ",9e2,", "line 2: latency_p50_ms is '9e2', which is no whole number"),
        (LEDGER_CSV, ",6.25,", ",Infinity,", "is 'Infinity', which is no plain decimal of at most nine places"),
        (LEDGER_CSV, "\n3,", "\n12,x\n3,", "line 4: has 2 cells in place of 47"),
        (LEDGER_CSV, "\n3,", f"\n{'x' * 200_000},", "is no CSV file (field larger than field limit (131072))"),
        # rows more or less
        (LEDGER_SEED, "(1, 'Acme", "-- (1, 'Acme", "SQLite loads 8 rows of unified_model_provider_ledger, "),
        (SEED_SQL, "(1, 'Input", "-- (1, 'Input", "SQLite loads 41 rows of model_benchmark_values, "),
        # SQL that is none
        (LEDGER_SEED, "BEGIN TRANSACTION", "BEGIN NONSENSE", "SQLite cannot load it ("),
        (LEDGER_SCHEMA, "CREATE TABLE", "CREATE TABEL", "SQLite cannot load it ("),
        (PARETO_VIEW, "CREATE VIEW unified", "CREATE VIEW other", "SQLite cannot load it (no such table: unified_"),
        (LEDGER_SEED, "(1, 'Acme Coder 9'", "(NULL, 'Acme Coder 9'", "SQLite cannot load it ("),
        # what SQLite takes and DuckDB does not
        (LEDGER_SCHEMA, "ledger_row_id BIGINT", "ledger_row_id ANYTHING", "DuckDB cannot load it ("),
    ],
)
def test_a_file_that_does_not_load_is_named_with_its_place(
    folder: Path, name: str, old: str, new: str, problem: str
) -> None:
    edit(folder / name, old, new)
    told = refused(folder)
    assert problem in told
    if "rows of" not in problem:
        assert told.startswith(name)


# ------------------------------------------------------------------ edits by hand


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (
            LEDGER_CSV,
            ",5,25,6.25,0.5,",
            ",4,25,6.25,0.5,",
            "pricing_input_usd_per_mtok is '4' there and '5' in SQLite's",
        ),
        (LEDGER_SEED, ", 5, 25, 6.25, 0.5,", ", 4, 25, 6.25, 0.5,", "is '5' there and '4' in SQLite's unified_model"),
        (LEDGER_SEED, ", 6.25,", ", 6.250000001,", "is '6.25' there and '6.250000001' in SQLite's"),
        (LEDGER_SEED, ", 6.25,", ", NULL,", "is '6.25' there and nothing in SQLite's"),
        (LEDGER_SEED, ", 6.25,", ", 'dear',", "is '6.25' there and 'dear' in SQLite's"),
        (LEDGER_SEED, "'GLM-5'", "'GLM-6'", "row 5: source_model is 'GLM-5' there and 'GLM-6' in SQLite's"),
        (LEDGER_CSV, "GLM-5,", "GLM-6,", "row 5: source_model is 'GLM-6' there and 'GLM-5' in SQLite's"),
        (SEED_CSV, ",60%,", ",61%,", "raw_value is '61%' there and '60%' in SQLite's model_benchmark_values"),
        (SEED_SQL, "'60%'", "'61%'", "raw_value is '60%' there and '61%' in SQLite's model_benchmark_values"),
        (PARETO_VIEW, ", 1, ", ", 2, ", "front_rank is '1' there and '2' in SQLite's"),
        (PARETO_VIEW, "0.6, 0.4", "0.5, 0.5", "pareto_score is "),
        (PARETO_CSV, "cost+quality,true,1,0", "cost+quality,false,1,0", "is_frontier is 'false' there and 'true' in"),
        (PARETO_CSV, "cost+quality,true,1,0", "cost+quality,true,1,3", "n_dominated_by is '3' there and '0' in"),
        (PARETO_CSV, ",usd_per_mtok,", ",usd_per_task,", "cost_basis is 'usd_per_task' there and 'usd_per_mtok' in"),
        (PRIORS_CSV, ",60,", ",61,", "is not what models_normalized.csv and unified_model_provider_ledger.csv give"),
    ],
)
def test_a_cell_that_was_changed_by_hand_is_named(folder: Path, name: str, old: str, new: str, problem: str) -> None:
    edit(folder / name, old, new)
    assert problem in refused(folder)


def test_priors_more_or_less_are_found(folder: Path) -> None:
    path = folder / PRIORS_CSV
    whole = path.read_text()
    for content in (whole + whole.splitlines()[-1] + "\n", "".join(whole.splitlines(keepends=True)[:-1])):
        path.write_text(content)
        assert "is not what" in refused(folder)


# ------------------------------------------------------------------ SQL that does more


@pytest.mark.parametrize("name", SQL)
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ATTACH '{db}' AS e; CREATE TABLE e.x(a);", "means to attach a file"),
        ("VACUUM INTO '{db}';", "means to attach a file"),
        ("PRAGMA journal_mode = WAL;", "means to change settings"),
        ("SELECT load_extension('{db}');", "means to call the function load_extension"),
        ("CREATE VIRTUAL TABLE v USING fts5(a);", "means to make a virtual table"),
        ("CREATE TABLE t(a); CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END;", "means to make a trigger"),
        ("WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT count(*) FROM n;", "means to recurse"),
        ("COPY (SELECT 1) TO '{db}';", "SQLite cannot load it ("),
        ("INSTALL httpfs;", "SQLite cannot load it ("),
        ("CREATE TABLE t AS SELECT * FROM read_csv('{db}');", "SQLite cannot load it ("),
    ],
)
def test_sql_that_reaches_beyond_its_tables_is_refused(
    folder: Path, tmp_path: Path, name: str, statement: str, problem: str
) -> None:
    target = tmp_path / "x.db"
    path = folder / name
    path.write_text(path.read_text("utf-8") + statement.format(db=target), "utf-8")
    before = sorted(tmp_path.iterdir())

    assert refused(folder).startswith(f"{name}: {problem}")
    assert sorted(tmp_path.iterdir()) == before


def test_work_without_end_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_STEPS", 1_000_000)
    many = ", ".join(f"model_benchmark_values AS t{place}" for place in range(9))
    edit(folder / SEED_SQL, "COMMIT;", f"COMMIT; SELECT count(*) FROM {many};")
    assert refused(folder) == f"{SEED_SQL}: means to work without end"


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{db}' AS e",
        "COPY (SELECT 1) TO '{db}'",
        "SELECT * FROM read_text('{db}')",
        "INSTALL httpfs",
        "LOAD '{db}'",
        "SET enable_external_access = true",
        "SET threads = 4",
    ],
)
def test_duckdb_reaches_nothing_even_where_it_is_asked_first(tmp_path: Path, statement: str) -> None:
    target = tmp_path / "x.db"
    with pytest.raises(loading.LoadError, match=r"^a\.sql: DuckDB cannot load it \("):
        loading.ENGINES["DuckDB"]({"a.sql": statement.format(db=target)}, {})
    assert not target.exists()


# ------------------------------------------------------------------ a home's folder


def test_the_remedy_for_a_homes_folder_makes_the_homes_files(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text("{}")
    write_build(small_build(), tmp_path / "ledger")
    (tmp_path / "ledger" / PRIORS_CSV).unlink()
    with pytest.raises(LedgerFilesError, match=r"No such file or directory; run `tokenledger ledger refresh`$"):
        validate(tmp_path / "ledger")
