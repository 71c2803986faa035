"""What a run says of its kept aggregates, and that a broken artifact fails it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenledger_dagster.cli.main import main

pytestmark = pytest.mark.usefixtures("ledger", "elsewhere")

USAGE_AND_EXPORTS = [
    part for stage in ("sources", "events", "pricing", "reconcile", "ledger") for part in ("--skip", stage)
]
COUNTS = ("enabled", "hit_count", "miss_count", "invalidate_count")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is no checkout, so that nothing is recorded in ours."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def summary_of(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The summary of a run of what stands on the tables."""
    assert main(["orchestrate", *USAGE_AND_EXPORTS, *arguments, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def kept(ledger: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (ledger / "cache" / "aggregates").iterdir()}


@pytest.mark.slow
def test_the_summary_counts_hits_misses_and_what_was_thrown_away(
    ledger: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = next(iter(sorted((ledger / "cache" / "aggregates").glob("costs-*.json"))))
    one.write_bytes(b"\0")

    found = summary_of(capfd)
    cache = found["aggregate_cache"]
    assert [cache[name] for name in COUNTS] == [True, 2, 1, 1]
    assert (cache["skipped"], cache["details"]) == (False, {"months": 3})
    assert cache["cache_path"] == str(ledger / "cache" / "aggregates")
    stages = ("ingest", "pricing_reconcile", "monthly", "daily", "aggregate_cache", "ledger", "bench", "perf_gate")
    assert all({"skipped", "duration_ms"} <= found[name].keys() for name in (*stages, "checks"))
    assert found["checks"]["duration_ms"] > 0


@pytest.mark.slow
def test_without_the_cache_nothing_of_it_is_read_or_written(ledger: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (ledger / "cache" / "aggregates").iterdir():
        path.write_bytes(b"\0")
    before = kept(ledger)

    bypassed = summary_of(capfd, "--no-cache")
    assert [bypassed["aggregate_cache"][name] for name in COUNTS] == [False, 0, 0, 0]
    assert kept(ledger) == before
    warm = summary_of(capfd)
    costs = [found["monthly"]["details"]["costs"] for found in (bypassed, warm)]
    assert {**costs[0], "generated_at": ""} == {**costs[1], "generated_at": ""}


def test_a_broken_snapshot_fails_the_run(
    ledger: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(home: object, snapshot: object, path: Path | None = None) -> Path:
        target = path or ledger / "ui-snapshot.json"
        target.write_text('{"schema_version": 1}', encoding="utf-8")
        return target

    monkeypatch.setattr("tokenledger_dagster.exports.ui_snapshot.write_snapshot", broken)

    assert main(["orchestrate", *USAGE_AND_EXPORTS, "--skip", "usage"]) == 1
    assert "check failed: exports/ui_snapshot: ui_snapshot_schema" in capfd.readouterr().err


def test_a_missing_artifact_fails_the_run(ledger: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (ledger / "ledger" / "models_normalized.csv").unlink()

    assert main(["orchestrate", *USAGE_AND_EXPORTS, "--skip", "usage"]) == 1
    assert "check failed: exports/pipeline_summary: artifacts_present" in capfd.readouterr().err
