"""What must hold of published files.

Here: the analyst database, the UI snapshot and the other files of a run as a reader finds them.  Not here: the rows in
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.contracts.reconcile import PricingReconcileSummary
from tokenledger_dagster.contracts.snapshot import Snapshot, validate_snapshot
from tokenledger_dagster.contracts.summaries import IngestSummary, PipelineSummary
from tokenledger_dagster.contracts.tables import TABLES, Table
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.runs import read_summary, summary_paths
from tokenledger_dagster.exports.tables import stored, table_path
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.home import Home
from tokenledger_dagster.pricing.standing import last_reconciled

_OLDER = ("runs",)
"""Tables that the published file may hold an older state of (see ``exports.warehouse``)."""
_LATEST_RUNS = 20
"""Folders of runs among which that of the latest summary is looked for: runs may go on at the same time."""


def tables_present(look: Inspection) -> Finding:
    """Whether the published database opens read-only and holds every table, with its rows and all comments."""
    path = look.home.duckdb_path
    if not path.exists():
        message = f"{path} is not there: analysts have nothing to read. Run `tokenledger orchestrate`."
        return Finding(passed=False, message=message, actual=0, expected=len(TABLES))
    rows = _published_problems(look)
    if path.with_name(path.name + ".wal").exists():
        rows.append({"table": "", "problem": f"{path.name}.wal lies beside it; the file was not checkpointed"})
    if not rows:
        message = f"All {len(TABLES)} tables are published, whole and commented."
        return Finding(passed=True, message=message, actual=len(TABLES), expected=len(TABLES))
    message = (
        f"{path}: {rows[0]['table']} {rows[0]['problem']}: analysts would read old or no data. "
        "Delete the file and run `tokenledger orchestrate`."
    )
    good = len(TABLES) - len({row["table"] for row in rows if row["table"]})
    return Finding(passed=False, message=message, actual=good, expected=len(TABLES), rows=rows)


def _published_problems(look: Inspection) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as con:
        try:
            con.execute(f"ATTACH {literal(look.home.duckdb_path)} AS published (READ_ONLY)")
        except duckdb.Error as error:
            return [{"table": "", "problem": f"cannot be opened ({str(error).splitlines()[0]})"}]
        found = dict(con.execute(statement("published")).fetchall())
        rows = []
        for name in TABLES:
            if name not in found:
                rows.append({"table": name, "problem": "is missing"})
                continue
            if found[name]:
                rows.append({"table": name, "problem": f"lacks {found[name]} comments"})
            (count,) = con.execute(f'SELECT count(*) FROM published."{name}"').fetchone() or (0,)
            built = stored(look.home, name)
            if built is not None and name not in _OLDER and built.row_count != count:
                rows.append({"table": name, "problem": f"has {count} rows instead of {built.row_count}"})
    return rows


def ui_snapshot_schema(look: Inspection) -> Finding:
    """Whether the UI snapshot is a document of contract version 1."""
    path = look.home.ui_snapshot_path
    try:
        problems = validate_snapshot(json.loads(path.read_bytes()))
    except FileNotFoundError:
        problems = ["there is no such file"]
    except ValueError as error:
        problems = [f"it is no JSON ({error})"]
    if not problems:
        message = "The UI snapshot has the shape of contract version 1."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{path}: {problems[0]}: status bars and extensions would show nothing or wrong figures. "
        "Run `tokenledger snapshot`."
    )
    rows = [{"problem": problem} for problem in problems]
    return Finding(passed=False, message=message, actual=len(problems), expected=0, rows=rows)


def artifacts_present(look: Inspection) -> Finding:
    """Whether every file that a run leaves is there, and whether what points to another file points to one."""
    rows, count = [], 0
    for artifact, path in _expected(look.home):
        count += 1
        if not path.is_file():
            rows.append({"artifact": artifact, "path": str(path), "problem": "is missing"})
        elif not path.stat().st_size and path.suffix != ".jsonl":  # no lines is what many months have to tell
            rows.append({"artifact": artifact, "path": str(path), "problem": "is empty"})
    if not rows:
        return Finding(passed=True, message=f"All {count} artifacts are there.", actual=count, expected=count)
    message = (
        f"{len(rows)} of {count} artifacts cannot be read, first the {rows[0]['artifact']} {rows[0]['path']}, which "
        f"{rows[0]['problem']}: who reads it finds nothing. Run `tokenledger orchestrate`."
    )
    return Finding(passed=False, message=message, actual=count - len(rows), expected=count, rows=rows)


def _expected(home: Home) -> Iterator[tuple[str, Path]]:
    """What every run leaves, and what stages left that not every run has."""
    from tokenledger_dagster.exports.model_ledger import written_files  # reads the rules of names, which no other does

    yield "manifest", home.manifest_path
    yield from ((f"table {name}", table_path(home, name)) for name in TABLES)
    yield "analyst database", home.duckdb_path
    yield "UI snapshot", home.ui_snapshot_path
    yield "ingest summary", home.ingest_summary_path
    yield "pipeline summary", home.pipeline_summary_path
    latest = read_summary(home.pipeline_summary_path)
    if latest is not None:
        yield "summary of the latest run", _own_summary(home, latest.run_id)
    yield from (("file of the unified ledger", home.ledger / name) for name in written_files(home))
    last = last_reconciled(home)
    if last is not None:
        yield "reconcile summary", home.reconcile_summary_path
        yield "patch of the last reconciliation", Path(last.artifacts.patch_path)
        yield "unpriced events of the last reconciliation", Path(last.artifacts.unpriced_events_path)


def _own_summary(home: Home, run_id: str) -> Path:
    """The summary in the folder of a run; where there is none, a place that says which one is missing."""
    for path in reversed(summary_paths(home)[-_LATEST_RUNS:]):
        found = read_summary(path)
        if found is not None and found.run_id == run_id:
            return path
    return home.runs / run_id


def artifact_schemas(look: Inspection) -> Finding:
    """Whether every document that is there decodes as its contract, and every table has its contract's columns."""
    home = look.home
    documents: tuple[tuple[Path, type[msgspec.Struct]], ...] = (
        (home.ui_snapshot_path, Snapshot),
        (home.ingest_summary_path, IngestSummary),
        (home.pipeline_summary_path, PipelineSummary),
        (home.reconcile_summary_path, PricingReconcileSummary),
    )
    rows = [{"path": str(path), "problem": said} for path, kind in documents if (said := _broken(path, kind))]
    for name, table in TABLES.items():
        path = look.path(name)
        rows += [{"path": str(path), "problem": said} for said in _other_columns(look, path, table)]
    count = len(documents) + len(TABLES)
    good = count - len({row["path"] for row in rows})
    if not rows:
        message = f"All {count} documents and tables have the shape of their contracts."
        return Finding(passed=True, message=message, actual=count, expected=count)
    message = (
        f"{rows[0]['path']}: {rows[0]['problem']}: programs that rely on its contract break, or show what nobody "
        "meant. Delete the file and run `tokenledger orchestrate`."
    )
    return Finding(passed=False, message=message, actual=good, expected=count, rows=rows)


def _broken(path: Path, kind: type[msgspec.Struct]) -> str:
    """What is wrong with a document; empty where nothing is, or where it is not there at all."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"is no {kind.__name__} ({error})"
    (version,) = (one.default for one in msgspec.structs.fields(kind) if one.name == "schema_version")
    if getattr(found, "schema_version", None) != version:
        return f"schema_version is not {version}"
    return "" if _is_time(getattr(found, "generated_at", "")) else "generated_at is no RFC 3339 time in UTC"


def _is_time(text: str) -> bool:
    try:
        return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _other_columns(look: Inspection, path: Path, table: Table) -> list[str]:
    """Columns that a table lacks, has besides, or has of another type; nothing where it is not there."""
    import duckdb

    if not path.exists():
        return []
    try:
        rows = look.query(f"DESCRIBE SELECT * FROM read_parquet({literal(path)})")
    except duckdb.Error as error:
        return [f"is no readable Parquet file ({str(error).splitlines()[0]})"]
    found = {row["column_name"]: row["column_type"] for row in rows}
    wanted = {column.name: column.type for column in table.columns}
    return [
        *(f"lacks the column {name}" for name in wanted if name not in found),
        *(f"has the column {name}, which no contract names" for name in found if name not in wanted),
        *(
            f"column {name} is {found[name]}, not {kind}"
            for name, kind in wanted.items()
            if name in found and found[name] != kind
        ),
    ]
