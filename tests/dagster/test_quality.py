"""Claims and suites as checks: a step each, that hold back nothing and fail their own run."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from checks import claims, expectations
from checks.common import result_of
from resources import default_resources
from tests.exports.small import build_all, small_world
from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.governance import expectations as suites
from tokenledger_dagster.governance.claims import CLAIMS
from tokenledger_dagster.governance.expectation_suites import SUITES
from tokenledger_dagster.governance.outcome import CheckOutcome


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small ledger with its tables; nothing is published."""
    monkeypatch.setattr(suites, "is_installed", lambda: False)
    world = small_world(tmp_path)
    with duckdb.connect() as con:
        build_all(world, con)
    return world.ledger.root


def run(home: Path, *names: str) -> dg.ExecuteInProcessResult:
    checks = [*claims.CHECKS, *expectations.CHECKS]
    keys = [key for one in checks for key in one.check_keys if not names or key.name in names]
    job = dg.define_asset_job("quality_alone", selection=dg.AssetSelection.checks(*keys))
    defs = dg.Definitions(asset_checks=checks, jobs=[job], resources=default_resources())
    config: dict[str, Any] = {
        "resources": {"home": {"config": {"root": str(home), "timezone": "UTC"}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        resolved = defs.resolve_job_def("quality_alone")
        return resolved.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def test_every_claim_and_suite_is_a_check_that_blocks_nothing_and_rides_along_with_nothing() -> None:
    specs = [spec for one in (*claims.CHECKS, *expectations.CHECKS) for spec in one.check_specs]

    assert {spec.name for spec in specs} == {*CLAIMS, *(f"expected_{name}" for name in SUITES)}
    assert not any(spec.blocking for spec in specs)
    # a blocking check that a run does not make would hold back by_condition; one without a condition is made with
    # every change of its asset
    assert all(spec.automation_condition for spec in specs)
    assert all("; else " in (spec.description or "") for spec in specs)


def test_a_suite_without_the_extra_passes_and_says_so(home: Path) -> None:
    result = run(home, "expected_completeness")

    (found,) = result.get_asset_check_evaluations()
    assert result.success
    assert (found.passed, found.metadata["skipped"].value) == (True, True)
    assert "is not installed" in (found.description or "")
    assert found.metadata["data_docs"].value == str(home / "quality" / "index.html")
    assert (home / "quality" / "index.html").is_file()


def test_a_claim_that_fails_fails_the_run_and_all_results_are_kept(home: Path) -> None:
    path = table_path(claims.LedgerHome(root=str(home)).open(), "usage_models")
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS FROM read_parquet('{path}')")
        con.execute("UPDATE t SET input_tokens = 0 WHERE client = 'codex'")
        con.execute(f"COPY t TO '{path}' (FORMAT parquet)")

    result = run(home, "recomputed_usage_models", "recomputed_usage_daily")

    found = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert not result.success
    assert {name: one.passed for name, one in found.items()} == {
        "recomputed_usage_daily": True,
        "recomputed_usage_models": False,
    }
    rows = found["recomputed_usage_models"].metadata["failing_rows"].records  # type: ignore[union-attr]
    assert rows[0].data["recomputed"] == "600"


def test_rows_of_several_tables_are_shown_in_one() -> None:
    outcome = CheckOutcome(
        name="recomputed_warehouse", passed=False, actual=2, expected=0, delta=2,
        rows=[{"day": date(2026, 2, 18), "delta": 1}, {"month": "2026-02", "delta": None}],
        description="two", blocking=False, severity="ERROR",
    )  # fmt: skip

    found = result_of(outcome, dg.AssetCheckKey(dg.AssetKey("a"), outcome.name))
    assert [row.data for row in found.metadata["failing_rows"].records] == [  # type: ignore[union-attr]
        {"day": "2026-02-18", "delta": "1", "month": ""},
        {"day": "", "delta": "", "month": "2026-02"},
    ]
