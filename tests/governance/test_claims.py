"""Every published total is what pandas makes of the exported events, and one that is not is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.exports.small import build_all
from tests.governance.conftest import Audit
from tests.support import World, claude
from tokenledger_dagster.contracts.tables import USAGE_TABLES
from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot
from tokenledger_dagster.exports.warehouse import publish
from tokenledger_dagster.governance import claims, claims_basis
from tokenledger_dagster.governance.claims import CLAIMS, inspect_claim
from tokenledger_dagster.governance.outcome import CheckOutcome, Inspection
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.breakdown import costs_of_month
from tokenledger_dagster.usage.effective import effective

ROOT = Path(__file__).parents[2]
NO_RUN = ("recomputed_pipeline_summary",)
"""Skipped where no run wrote a summary."""


@pytest.fixture
def audit(good: Audit, tmp_path: Path) -> Iterator[Audit]:
    """A copy of the good ledger, to break."""
    shutil.copytree(good.world.ledger.root.parent, tmp_path / "world")
    with duckdb.connect() as con:
        yield Audit(World(tmp_path / "world"), con)


def claim(audit: Audit, name: str, zone: str = "UTC") -> CheckOutcome:
    return inspect_claim(name, Inspection(audit.world.ledger, audit.con, zone))


def all_claims(audit: Audit, zone: str = "UTC") -> dict[str, CheckOutcome]:
    look = Inspection(audit.world.ledger, audit.con, zone)
    return {name: inspect_claim(name, look) for name in CLAIMS}


def failed(audit: Audit, zone: str = "UTC") -> dict[str, str]:
    return {name: found.description for name, found in all_claims(audit, zone).items() if not found.passed}


def forget(audit: Audit) -> None:
    (audit.world.ledger.tables / "_passed.json").unlink(missing_ok=True)


def test_there_is_a_claim_for_everything_that_publishes_totals() -> None:
    assert list(CLAIMS) == [
        "recomputed_events",
        *(f"recomputed_{name}" for name in USAGE_TABLES),
        "recomputed_warehouse",
        "recomputed_ui_snapshot",
        "recomputed_pipeline_summary",
    ]
    assert {(one.severity, one.blocking) for one in CLAIMS.values()} == {("ERROR", False)}
    assert all("; else " in one.description for one in CLAIMS.values())


def test_a_good_ledger_keeps_all_claims(good: Audit) -> None:
    forget(good)
    found = all_claims(good)

    assert {name for name, one in found.items() if not one.passed} == set()
    assert {name for name, one in found.items() if one.skipped} == set(NO_RUN)
    assert found["recomputed_events"].description == "events equals 5 events as the lake holds them."


def test_one_nano_usd_too_much_is_named_with_its_key(audit: Audit) -> None:
    more = "if(client = 'codex', list_price_usd + 0.000000001, list_price_usd)"
    for table in USAGE_TABLES:
        audit.rewrite(table, f"SELECT * REPLACE ({more} AS list_price_usd) FROM t")

    found = all_claims(audit)
    for table in USAGE_TABLES:
        one = found[f"recomputed_{table}"]
        assert (one.passed, one.actual, one.expected, one.delta) == (False, 1, 0, 1)
        (row,) = one.rows
        assert (row["client"], row["figure"], str(row["delta"])) == ("codex", "list_price_usd", "1E-9")
        assert (str(row["published"]), str(row["recomputed"])) == ("0.001300001", "0.001300000")


def test_every_kind_of_figure_is_compared(audit: Audit) -> None:
    faults = {
        "usage_daily": ("day + 1 AS day", "row"),
        "usage_weekly": ("week_start + 7 AS week_start", "row"),
        "usage_monthly": ("unpriced_count + 1 AS unpriced_count", "unpriced_count"),
        "usage_sessions": ("'other' AS project", "row"),
        "usage_projects": ("list_append(models, 'x') AS models", "models"),
        "usage_models": ("last_time + INTERVAL 1 SECOND AS last_time", "last_time"),
        "usage_clients": ("effective_cost_usd + 1 AS effective_cost_usd", "effective_cost_usd"),
        "usage_blocks": ("session_count + 1 AS session_count", "session_count"),
    }
    for table, (fault, _) in faults.items():
        audit.rewrite(table, f"SELECT * REPLACE ({fault}) FROM t")

    found = all_claims(audit)
    for table, (_, figure) in faults.items():
        one = found[f"recomputed_{table}"]
        assert (one.passed, {row["figure"] for row in one.rows}) == (False, {figure})


def test_events_that_a_table_has_otherwise_than_the_lake_are_named(audit: Audit) -> None:
    audit.rewrite("events", "SELECT * REPLACE (output_tokens + if(message_id = 'msg_3', 1, 0) AS output_tokens) FROM t")

    found = claim(audit, "recomputed_events")
    assert not found.passed
    assert {(row["of"], row["figure"], row["delta"]) for row in found.rows} == {
        ("events", "output_tokens", 1),
        ("events", "total_tokens", 1),
    }


def test_a_lake_that_moved_on_is_no_fault_of_what_was_published(audit: Audit) -> None:
    audit.world.claude(claude("msg_9", "req_9", input=5, session="later", minutes=99), name="later.jsonl")
    audit.world.sync()

    found = all_claims(audit)
    assert {name for name, one in found.items() if not one.passed} == set()
    assert "have moved on since" in found["recomputed_events"].description
    # and a fault is found all the same
    audit.rewrite("usage_daily", "SELECT * REPLACE (input_tokens + 1 AS input_tokens) FROM t")
    assert set(failed(audit)) == {"recomputed_usage_daily"}


def test_an_export_in_many_parts_is_one_export(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_basis, "_PART_ROWS", 1)

    assert claim(audit, "recomputed_usage_blocks").passed
    assert (
        len(list(claims_basis._parts(claims_basis._export(Inspection(audit.world.ledger, audit.con), current=False))))
        == 2
    )


def test_days_of_a_zone_with_summer_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(
        *(
            claude(f"m{number}", f"r{number}", input=10**number, timestamp=at)
            for number, at in enumerate(
                ("2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", "2026-03-09T04:00:00Z")
            )
        )
    )
    world.sync(zone="America/New_York")
    with duckdb.connect() as con:
        audit = Audit(world, con)
        build_all(world, con, "America/New_York")
        publish(world.ledger)
        with closing(connect(world.ledger, read_only=True)) as manifest:
            write_snapshot(world.ledger, make_snapshot(manifest, zone="Asia/Tokyo"))

        assert failed(audit, "America/New_York") == {}
        days = con.execute(f"SELECT count(*) FROM read_parquet('{world.ledger.tables}/usage_daily.parquet')")
        assert days.fetchone() == (3,)


def test_fees_of_plans_are_carried_into_the_sums(audit: Audit) -> None:
    audit.world.ledger.plans_path.write_text(
        "schema_version: 1\nsubscriptions:\n"
        "  - {name: max, plan: anthropic/max-20x, from: 2026-02-01, to: 2026-03-01}\n"
    )
    build_all(audit.world, audit.con)
    publish(audit.world.ledger)
    with closing(connect(audit.world.ledger, read_only=True)) as manifest:
        plans = effective(manifest, str(audit.world.ledger.root))
        write_snapshot(audit.world.ledger, make_snapshot(manifest, zone="UTC", plans=plans))

    assert failed(audit) == {}
    audit.rewrite("usage_clients", "SELECT * REPLACE (effective_cost_usd * 2 AS effective_cost_usd) FROM t")
    assert set(failed(audit)) == {"recomputed_usage_clients"}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("events", "recomputed_events"),
        ("event_costs", "recomputed_events"),
        ("usage_daily", "recomputed_usage_daily"),
        ("usage_blocks", "recomputed_usage_blocks"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_table_that_cannot_be_read_fails_in_one_line(audit: Audit, table: str, name: str, damage: str) -> None:
    path = audit.world.ledger.tables / f"{table}.parquet"
    path.unlink() if damage == "missing" else path.write_bytes(b"garbage\x00")

    found = claim(audit, name)
    assert not found.passed
    assert str(audit.world.ledger.tables) in found.description
    assert "\n" not in found.description


# ------------------------------------------------------------------ published files


def test_figures_of_the_published_database_are_compared(audit: Audit) -> None:
    with duckdb.connect(str(audit.world.ledger.duckdb_path)) as con:
        con.execute("UPDATE usage_models SET total_tokens = total_tokens + 1 WHERE client = 'codex'")
        con.execute("DELETE FROM events WHERE client = 'codex'")

    found = claim(audit, "recomputed_warehouse")
    assert not found.passed
    assert {(row["of"], row["figure"]) for row in found.rows} == {("usage_models", "total_tokens"), ("events", "row")}


def test_a_database_that_is_older_than_the_tables_is_not_compared(audit: Audit) -> None:
    audit.world.claude(claude("msg_9", "req_9", input=5, session="later"), name="later.jsonl")
    audit.world.sync()
    build_all(audit.world, audit.con)

    found = claim(audit, "recomputed_warehouse")
    assert (found.passed, found.skipped) == (True, True)
    assert "Run `tokenledger orchestrate`" in found.description


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_a_database_that_is_none_fails(audit: Audit, content: bytes | None) -> None:
    path = audit.world.ledger.duckdb_path
    path.unlink() if content is None else path.write_bytes(content)

    assert not claim(audit, "recomputed_warehouse").passed


def test_a_figure_of_the_snapshot_that_is_wrong_is_named(audit: Audit) -> None:
    path = audit.world.ledger.ui_snapshot_path
    good, look = path.read_bytes(), Inspection(audit.world.ledger, audit.con)
    faults: list[tuple[str, Callable[[Any], object]]] = [
        ("totals", lambda one: one["totals"].update(tokens=1)),
        ("totals", lambda one: one["totals"].update(cost_usd=0.013780001)),
        ("totals", lambda one: one["totals"].update(session_count=9)),
        ("top_models claude-sonnet-4-5", lambda one: one["top_models"][0].update(list_price_usd=1)),
        ("top_clients", lambda one: one["top_clients"].reverse()),
        ("top_providers", lambda one: one.update(top_providers=[])),
    ]
    for where, fault in faults:
        document = json.loads(good)
        fault(document)
        path.write_text(json.dumps(document))

        found = inspect_claim("recomputed_ui_snapshot", look)
        assert (found.passed, found.rows[0]["where"]) == (False, where)


def test_a_snapshot_of_another_state_is_not_compared(audit: Audit) -> None:
    audit.world.claude(claude("msg_9", "req_9", input=5, session="later"), name="later.jsonl")
    audit.world.sync()
    with closing(connect(audit.world.ledger, read_only=True)) as manifest:
        write_snapshot(audit.world.ledger, make_snapshot(manifest))

    found = claim(audit, "recomputed_ui_snapshot")
    assert (found.passed, found.skipped) == (True, True)


@pytest.mark.parametrize("content", [b"\x00", b'{"schema_version": 1, "timezone": 5}'])
def test_a_snapshot_that_is_none_fails_and_leaves_the_tables_alone(audit: Audit, content: bytes) -> None:
    audit.world.ledger.ui_snapshot_path.write_bytes(content)

    assert set(failed(audit)) == {"recomputed_ui_snapshot"}


def write_run_summary(audit: Audit, **changed: Any) -> None:
    from tokenledger_dagster.fileio import write_json_atomic

    costs = costs_of_month(audit.world.ledger, "2026-02", "UTC")
    details = {"total_tokens": 12_920, "list_price_usd": 0.01378, "costs": costs, **changed}
    write_json_atomic(audit.world.ledger.pipeline_summary_path, {"monthly": {"details": details}})


def test_costs_of_the_last_run_are_compared(audit: Audit) -> None:
    write_run_summary(audit)
    found = claim(audit, "recomputed_pipeline_summary")
    assert (found.passed, found.skipped) == (True, False), found.rows

    write_run_summary(audit, total_tokens=12_921)
    found = claim(audit, "recomputed_pipeline_summary")
    assert (found.passed, found.rows[0]["figure"]) == (False, "total_tokens")


def test_a_summary_of_earlier_tables_is_not_compared(audit: Audit) -> None:
    write_run_summary(audit, total_tokens=1)
    os.utime(audit.world.ledger.pipeline_summary_path, (0, 0))

    found = claim(audit, "recomputed_pipeline_summary")
    assert (found.passed, found.skipped) == (True, True)


def test_a_summary_without_costs_is_not_compared(audit: Audit) -> None:
    look = Inspection(audit.world.ledger, audit.con)
    for content in (b"", b"[]", b'{"monthly": 5}', b'{"monthly": {"details": {"costs": []}}}'):
        audit.world.ledger.pipeline_summary_path.write_bytes(content)

        assert inspect_claim("recomputed_pipeline_summary", look).skipped


# ------------------------------------------------------------------ what is remembered


def test_what_passed_is_not_summed_again(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run_summary(audit)
    assert failed(audit) == {}

    def summed(look: Inspection) -> None:
        raise AssertionError("summed again")

    monkeypatch.setattr(claims, "basis", summed)
    assert {one.description for one in all_claims(audit).values()} == {"Nothing it reads changed since it last passed."}


def test_listing_the_claims_imports_no_pandas() -> None:
    code = (
        "import sys, tokenledger_dagster.governance.claims, tokenledger_dagster.governance.quality; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint({"pandas", "pyarrow", "duckdb", "great_expectations", "yaml"})
