"""One run as one document, and the list of past runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import duckdb
import pytest

from tests.exports.small import rows
from tests.support import World
from tokenledger_dagster.contracts.summaries import AggregateCache, CheckCounts, PipelineSummary, Stage
from tokenledger_dagster.exports.pipeline_summary import make_summary, write_summary
from tokenledger_dagster.exports.runs import past_runs
from tokenledger_dagster.exports.tables import build

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
STAGES = {"ingest", "pricing_reconcile", "monthly", "daily", "aggregate_cache", "ledger", "bench", "perf_gate"}


def summary(run_id: str = "run-1", started: float = NOON, **given: object) -> PipelineSummary:
    return make_summary(run_id=run_id, started=started, now=started + 2.5, **given)  # type: ignore[arg-type]


def test_the_document_has_every_key_of_the_contract(world: World) -> None:
    ingest = world.sync()
    path = write_summary(
        world.ledger,
        summary(
            ingest=ingest, stages={"daily": Stage(duration_ms=7, details={"row_count": 4})}, month_filter="2026-02"
        ),
    )

    found = json.loads(path.read_text())
    assert list(found) == [
        "schema_version",
        "generated_at",
        "run_id",
        "month_filter",
        "events_out",
        "pricing",
        "on_unpriced",
        "duration_ms",
        "ingest",
        "pricing_reconcile",
        "monthly",
        "daily",
        "aggregate_cache",
        "ledger",
        "bench",
        "perf_gate",
        "checks",
        "ui_snapshot_path",
        "started_at",
    ]
    assert (found["generated_at"], found["duration_ms"]) == ("2026-03-02T12:00:02.500Z", 2500)
    assert {name for name in STAGES if not {"skipped", "duration_ms"} <= found[name].keys()} == set()
    assert found["daily"] == {"skipped": False, "duration_ms": 7, "details": {"row_count": 4}}
    assert found["ingest"]["ledger"] == {"records": 6, "events": 5, "duplicates": 1}


def test_a_stage_that_did_not_run_says_so() -> None:
    found = summary()

    assert found.bench == Stage(skipped=True, details={"reason": "not part of this run"})
    assert found.ingest.skipped
    assert found.checks.skipped
    assert (found.aggregate_cache.enabled, found.aggregate_cache.skipped) == (False, True)
    assert found.aggregate_cache.details == {"reason": "not part of this run"}


def test_what_became_of_kept_aggregates_is_told() -> None:
    counts = AggregateCache(enabled=True, cache_path="/ledger/cache", hit_count=2, miss_count=1, skipped=False)
    assert summary(aggregates=counts).aggregate_cache == counts


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError, match="hourly"):
        summary(stages={"hourly": Stage()})


def test_it_is_written_to_the_runs_folder_the_home_and_where_asked(world: World) -> None:
    asked = world.ledger.root / "asked" / "summary.json"
    path = write_summary(world.ledger, summary(), asked)

    assert path == world.ledger.runs / "20260302-120000" / "pipeline-summary.json"
    assert path.read_bytes() == world.ledger.pipeline_summary_path.read_bytes() == asked.read_bytes()


def test_the_same_run_replaces_its_summary_and_another_one_of_that_second_does_not(world: World) -> None:
    first = write_summary(world.ledger, summary())
    completed = write_summary(world.ledger, summary(checks=CheckCounts(passed=3)))
    other = write_summary(world.ledger, summary("run-2"))

    assert completed == first
    assert other.parent.name == "20260302-120000-2"
    assert [(run.run_id, run.checks_passed) for run in past_runs(world.ledger)] == [("run-1", 3), ("run-2", None)]


def test_runs_are_a_table(world: World) -> None:
    checks = CheckCounts(passed=20, failed=1, warned=2, failed_names=["events/booked: event_ids_unique"])
    write_summary(world.ledger, summary(ingest=world.sync(), checks=checks))
    with duckdb.connect() as con:
        build("runs", con, world.ledger, "UTC")

    columns = ("run_id", "generated_at", "duration_ms", "records_scanned", "checks_passed", "failed_names")
    assert rows(world, "runs", *columns) == [
        ("run-1", datetime(2026, 3, 2, 12, 0, 2, 500_000), 2500, 0, 20, ["events/booked: event_ids_unique"])
    ]


def test_a_summary_of_another_shape_is_passed_over(world: World) -> None:
    folder = world.ledger.runs / "20250101-000000"
    folder.mkdir(parents=True)
    (folder / "pipeline-summary.json").write_text('{"schema_version": 0}')
    write_summary(world.ledger, summary())

    assert [run.run_id for run in past_runs(world.ledger)] == ["run-1"]
