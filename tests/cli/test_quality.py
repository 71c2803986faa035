"""``tokenledger quality``: what it prints, and when it fails."""

from __future__ import annotations

import duckdb
import pytest

from tests.cli.conftest import Run
from tests.exports.small import build_all
from tests.support import World
from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot
from tokenledger_dagster.exports.warehouse import publish
from tokenledger_dagster.governance import expectations
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.zones import system_zone


@pytest.fixture
def published(world: World) -> World:
    """The logs, read, built and published."""
    zone = system_zone()
    world.sync(zone=zone)
    with duckdb.connect() as con:
        build_all(world, con, zone)
    publish(world.ledger)
    manifest = connect(world.ledger, read_only=True)
    write_snapshot(world.ledger, make_snapshot(manifest))
    manifest.close()
    return world


def test_claims_are_made_and_told_of(run: Run, published: World) -> None:
    found = run("quality", "--suite", "claims", "--format", "json")

    assert (found.code, found.json["schema_version"], found.json["passed"]) == (0, 1, True)
    assert len(found.json["claims"]) == 12
    assert found.json["suites"] == []
    assert found.json["data_docs"] == str(published.ledger.quality / "index.html")
    assert "recomputed_usage_daily" in found.err


def test_a_wrong_total_fails_and_is_told_in_full(run: Run, published: World) -> None:
    path = table_path(published.ledger, "usage_daily")
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS FROM read_parquet('{path}')")
        con.execute("UPDATE t SET input_tokens = input_tokens + 1 WHERE client = 'codex'")
        con.execute(f"COPY t TO '{path}' (FORMAT parquet)")

    found = run("quality", "--suite", "claims")
    assert found.code == 1
    assert "recomputed_usage_daily FAILED: 1 figures of usage_daily are not what the events sum to" in found.out
    assert "601 instead of 600" in found.out


def test_suites_without_the_extra_are_nothing_to_report(
    run: Run, published: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "is_installed", lambda: False)

    alone = run("quality", "--suite", "completeness")
    assert (alone.code, "Great Expectations is not installed" in alone.err) == (3, True)
    assert run("quality").code == 0


def test_a_home_without_a_ledger_or_tables_has_nothing_to_report(run: Run, world: World) -> None:
    assert run("quality").code == 3
    world.sync()
    found = run("quality")
    assert (found.code, found.out) == (3, "")
    assert "run `tokenledger orchestrate`" in found.err


def test_a_suite_that_does_not_exist_is_a_usage_error(run: Run) -> None:
    assert run("quality", "--suite", "beauty").code == 2


def test_help_shows_examples(run: Run) -> None:
    found = run("quality", "--help")
    assert found.code == 0
    assert "tokenledger quality --suite claims" in found.out
