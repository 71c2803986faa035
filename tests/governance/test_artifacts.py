"""What a run leaves: every file, each in the shape of its contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.governance.conftest import Audit
from tests.support import World
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.governance.invariants import INVARIANTS
from tokenledger_dagster.pricing.standing import reconcile_if_changed

RUN = "runs/20260301-000000/pipeline-summary.json"
EVERY_RUN = (
    *("lake/manifest.sqlite", "tables/events.parquet", "tables/runs.parquet", "tokenledger.duckdb"),
    *("ui-snapshot.json", "ingest-summary.json", "orchestrate-latest-summary.json", RUN),
    *("ledger/models_schema_seed.sql", "ledger/cliproxyapi_runtime_metrics_snapshot.csv"),
)


def change(path: Path, **fields: object) -> None:
    """Replaces fields of a JSON document."""
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}), "utf-8")


def without(path: Path, name: str) -> None:
    """Takes a field out of it."""
    document = json.loads(path.read_bytes())
    del document[name]
    path.write_text(json.dumps(document), "utf-8")


# ------------------------------------------------------------------ artifacts_present


@pytest.fixture
def own(good: Audit, tmp_path: Path) -> Audit:
    """A copy of the good ledger, to break."""
    shutil.copytree(good.world.ledger.root, tmp_path / "ledger")
    return Audit(World(tmp_path), good.con)


@pytest.mark.parametrize("name", EVERY_RUN)
@pytest.mark.parametrize("state", ["is missing", "is empty"])
def test_a_file_that_is_not_there_is_named(own: Audit, name: str, state: str) -> None:
    path = own.world.ledger.root / name
    if state == "is missing":
        path.unlink()
    else:
        path.write_bytes(b"")

    found = own.inspect("artifacts_present")
    problems = {row["path"]: row["problem"] for row in found.rows}
    # of the run's own, what is looked for is one that the latest summary speaks of
    assert problems.get(str(path)) == state or name == RUN
    assert (found.passed, found.delta) == (False, -1)
    assert "Run `tokenledger orchestrate`" in found.description


def test_a_folder_is_no_file(own: Audit) -> None:
    own.world.ledger.ui_snapshot_path.unlink()
    own.world.ledger.ui_snapshot_path.mkdir()

    assert own.inspect("artifacts_present").rows[0]["problem"] == "is missing"
    assert "cannot be read" in own.inspect("artifact_schemas").description


def test_what_the_last_reconciliation_left_is_looked_for(own: Audit) -> None:
    home = own.world.ledger
    before = own.inspect("artifacts_present")
    made = reconcile_if_changed(home, month=None, zone="UTC")
    assert made is not None
    after = own.inspect("artifacts_present")
    assert (after.passed, int(str(after.expected)) - int(str(before.expected))) == (True, 3)

    Path(made.summary.artifacts.patch_path).unlink()
    home.reconcile_summary_path.unlink()
    found = own.inspect("artifacts_present")
    assert [row["artifact"] for row in found.rows] == ["reconcile summary", "patch of the last reconciliation"]


def test_a_missing_file_spreads_nothing_and_a_wrong_one_does() -> None:
    assert not INVARIANTS["artifacts_present"].blocking
    assert INVARIANTS["artifact_schemas"].blocking
    assert INVARIANTS["artifacts_present"].severity == INVARIANTS["artifact_schemas"].severity == "ERROR"


# ------------------------------------------------------------------ artifact_schemas

SNAPSHOT = "ui-snapshot.json"
WRONG: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated": (SNAPSHOT, lambda path: path.write_bytes(path.read_bytes()[:-20]), "is no Snapshot"),
    "zeros": (SNAPSHOT, lambda path: path.write_bytes(b"\0" * 10), "is no Snapshot"),
    "no text": (SNAPSHOT, lambda path: path.write_bytes(b"\xff\xfe"), "is no Snapshot"),
    "deep": (SNAPSHOT, lambda path: path.write_bytes(b"[" * 100_000), "is no Snapshot"),
    "text for a count": (SNAPSHOT, lambda path: change(path, totals={"tokens": "12"}), "is no Snapshot"),
    "missing field": (SNAPSHOT, lambda path: without(path, "timezone"), "missing required field `timezone`"),
    "other version": ("ingest-summary.json", lambda path: change(path, schema_version=2), "schema_version is not 1"),
    "local time": (
        "orchestrate-latest-summary.json",
        lambda path: change(path, generated_at="2026-02-01T00:00:00"),
        "generated_at is no RFC 3339 time in UTC",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_document_of_another_shape_is_named(own: Audit, case: str) -> None:
    name, damage, told = WRONG[case]
    path = own.world.ledger.root / name
    damage(path)
    found = own.inspect("artifact_schemas")

    assert (found.passed, found.delta, [row["path"] for row in found.rows]) == (False, -1, [str(path)])
    assert told in found.rows[0]["problem"]
    assert "programs that rely on its contract" in found.description


@pytest.mark.parametrize(
    ("select", "problem"),
    [
        ("SELECT * EXCLUDE (session_id) FROM t", "lacks the column session_id"),
        ("SELECT *, 1 AS note FROM t", "has the column note, which no contract names"),
        (
            "SELECT * REPLACE (CAST(input_tokens AS DOUBLE) AS input_tokens) FROM t",
            "column input_tokens is DOUBLE, not BIGINT",
        ),
    ],
)
def test_a_table_with_other_columns_is_named(own: Audit, select: str, problem: str) -> None:
    path = own.world.ledger.tables / "events.parquet"
    own.rewrite("events", select)
    found = own.inspect("artifact_schemas")

    assert [(row["path"], row["problem"]) for row in found.rows] == [(str(path), problem)]


def test_a_table_that_cannot_be_read_is_named(own: Audit) -> None:
    path = own.world.ledger.tables / "usage_daily.parquet"
    path.write_bytes(b"PAR1")
    found = own.inspect("artifact_schemas")

    assert found.rows[0]["problem"].startswith("is no readable Parquet file")


def test_what_is_not_there_is_left_to_the_other_check(own: Audit) -> None:
    found = own.inspect("artifact_schemas")
    assert not own.world.ledger.reconcile_summary_path.exists()
    assert (found.passed, found.actual) == (True, 4 + len(TABLES))
