"""The whole job on the sample: what it makes, that it does nothing twice, and what stops it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from assets.sources import noun
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.definitions import defs

from .conftest import run_job

if TYPE_CHECKING:
    from .conftest import Ran

    Run = Callable[..., Ran]

ROWS = {
    "events/claude": 71,
    "events/codex": 63,
    "events/booked": 95,
    "events/duplicates": 39,
    "events/log_files": 32,
    "pricing/event_costs": 95,
}
NEVER_THE_SAME = {"exports/pipeline_summary"}
"""It tells of the run itself."""


def test_first_run_succeeds_and_every_check_passes(filled: tuple[Path, Ran]) -> None:
    _, ran = filled

    assert ran.result.success
    assert ran.failed_checks == []


def test_rows_are_those_of_the_sample(filled: tuple[Path, Ran]) -> None:
    rows = filled[1].rows

    assert {name: rows[name] for name in ROWS} == ROWS


def test_every_table_has_the_same_totals(filled: tuple[Path, Ran]) -> None:
    made = filled[1].made
    totals = {name: made[name].metadata["total_tokens"].value for name in made if name.startswith("usage/")}

    assert set(totals.values()) == {1_022_118}


def test_every_asset_tells_its_figures(filled: tuple[Path, Ran]) -> None:
    for name, made in filled[1].made.items():
        assert {"dagster/row_count", "duration_ms"} <= set(made.metadata), name


def test_published_files_are_there(filled: tuple[Path, Ran]) -> None:
    home, ran = filled

    assert (home / "tokenledger.duckdb").is_file()
    assert json.loads((home / "ui-snapshot.json").read_text())["schema_version"] == 1
    summary = json.loads((home / "orchestrate-latest-summary.json").read_text())
    assert summary["run_id"] == ran.result.run_id
    assert set(summary["ingest"]["providers"]) == {"claude-code", "codex"}


def test_second_run_makes_nothing_again(filled: tuple[Path, Ran], run: Run) -> None:
    again = run()

    assert again.result.success
    stable = again.made.keys() - NEVER_THE_SAME
    assert {name: again.versions[name] for name in stable} == {name: filled[1].versions[name] for name in stable}
    hits = {
        name: one.metadata["cache_hit_ratio"].value
        for name, one in again.made.items()
        if "cache_hit_ratio" in one.metadata
    }
    assert {name for name, ratio in hits.items() if ratio != 1.0} <= NEVER_THE_SAME


@pytest.mark.parametrize("client", ["claude", "codex"])
def test_damaged_segment_stops_the_run_before_anything_reads_it(ledger: Path, run: Run, client: str) -> None:
    segment = next(path for path in sorted((ledger / "lake").rglob("*.parquet")) if client in str(path))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    ran = run()

    assert not ran.result.success
    # all clients share the lake: none of them is built upon
    assert ran.failed_checks == sorted(f"events/{noun(name)}: segments_intact" for name in clients())
    assert "events/claude" in ran.made
    assert "events/booked" not in ran.made


def test_negative_counter_stops_the_run(ledger: Path, run: Run) -> None:
    with sqlite3.connect(ledger / "lake" / "manifest.sqlite") as manifest:
        manifest.execute("UPDATE events SET input_tokens = -5 WHERE event_no = 1")
    manifest.close()

    ran = run()

    assert not ran.result.success
    assert "events/booked: counters_non_negative" in ran.failed_checks
    assert not any(name.startswith("usage/") for name in ran.made)


def test_the_pricing_gate_fails_on_usage_without_a_price(filled: tuple[Path, Ran], tmp_path: Path) -> None:
    home = shutil.copytree(filled[0], tmp_path / "ledger")
    with dg.DagsterInstance.ephemeral() as instance:
        ran = run_job("pricing_ci", home, instance, on_unpriced="error")

    assert not ran.result.success
    (failed,) = [event for event in ran.result.all_events if event.is_step_failure]
    assert failed.step_key == "reconcile__gate"
    assert "1 requests of 2026-10 have no price" in str(failed.step_failure_data.user_failure_data)


@pytest.mark.slow
def test_a_book_that_cannot_be_used_stops_nothing(filled: tuple[Path, Ran], tmp_path: Path) -> None:
    home = shutil.copytree(filled[0], tmp_path / "ledger")
    (home / "pricing.json").write_text('{"providers": {', encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as instance:
        ran = run_job("orchestrate", home, instance)

    assert ran.result.success
    assert ran.failed_checks == ["pricing/book: book_lints"]
    assert "is no pricing book" in str(ran.made["pricing/book"].metadata["problem"].value)


def test_the_pricing_gate_refuses_by_default() -> None:
    config = defs.resolve_job_def("pricing_ci").run_config
    assert config == {"resources": {"options": {"config": {"on_unpriced": "error"}}}}


@pytest.mark.slow
def test_usage_without_a_price_warns_and_fails_where_asked(run: Run) -> None:
    assert run().failed_checks == []
    assert sorted(run(on_unpriced="error").failed_checks) == [
        "pricing/unpriced: unpriced_share",
        "reconcile/coverage: everything_priced",
    ]
