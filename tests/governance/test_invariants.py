"""Every invariant holds on a good ledger, and names what is wrong with a bad one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.exports.small import build_all
from tests.governance.conftest import Audit
from tests.support import claude
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.governance.invariants import INVARIANTS
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY

WARNINGS = {
    *("unpriced_share", "rate_table_current", "prices_audited", "prices_accepted"),
    *("everything_priced", "price_sources_agree"),
}
TELLS = {*WARNINGS, "book_lints", "ledger_files_load", "artifacts_present", "closed_months_unchanged", "sample_golden"}
"""A broken book spreads nothing: prices stay as they were accepted. Nor do files that no table is made of. Of a month
that changed nobody but its reader can say whether it is right now."""
WANT_A_RECONCILIATION = {"everything_priced", "price_sources_agree"}
ESTIMATES = ("guesses_keep_their_limits", "estimates_are_possible", "suggestions_keep_the_digits")
WITH_A_MODEL = ("model_files_intact", "vectors_are_whole", *ESTIMATES)
SKIPPED = {*WANT_A_RECONCILIATION, "closed_months_unchanged", *WITH_A_MODEL}
"""Nothing was reconciled, no month locked, and nothing estimated."""


def test_the_invariants_and_a_contract_for_every_table() -> None:
    assert list(INVARIANTS) == [
        "segments_intact",
        "event_ids_unique",
        "counters_non_negative",
        "booked_plus_duplicates_equal_scanned",
        "costs_agree",
        "closed_months_unchanged",
        "views_sum_to_same_totals",
        "days_sum_to_month",
        "cells_equal_tables",
        "unpriced_share",
        "rate_table_current",
        "book_lints",
        "prices_audited",
        "prices_accepted",
        "fees_spread_exactly",
        "everything_priced",
        "price_sources_agree",
        "prices_are_their_own",
        "usage_joins_once",
        "frontier_is_undominated",
        "ledger_files_load",
        "tables_present",
        "ui_snapshot_schema",
        "artifacts_present",
        "artifact_schemas",
        "sample_golden",
        *WITH_A_MODEL,
        *(f"contract_{name}" for name in TABLES),
    ]


@pytest.mark.parametrize("name", INVARIANTS)
def test_only_warnings_let_the_run_go_on(name: str) -> None:
    invariant = INVARIANTS[name]

    assert invariant.blocking is (name not in {*TELLS, *ESTIMATES})
    assert invariant.severity == ("WARN" if name in WARNINGS else "ERROR")
    others = {"lake", "warehouse", "ui_snapshot", "artifacts", "book", "reprice", "coverage", "reconcile", "sample"}
    others |= {"embedding_model", "session_vectors", "session_activity", "token_estimates", "mapping_suggestions"}
    assert invariant.table in {*TABLES, *others}
    assert "; else " in invariant.description


@pytest.mark.parametrize("name", INVARIANTS)
def test_a_good_ledger_passes(good: Audit, name: str) -> None:
    found = good.inspect(name)

    assert found.passed, found.description
    assert found.skipped is (name in SKIPPED)
    assert found.delta == 0 or name in ("unpriced_share", "prices_accepted", *SKIPPED)


# ------------------------------------------------------------------ lake and booking


@pytest.mark.parametrize("damage", ["flipped byte", "missing"])
def test_a_damaged_segment_is_named(audit: Audit, damage: str) -> None:
    (name,) = audit.world.files()
    path = audit.world.ledger.lake / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])

    found = audit.inspect("segments_intact")
    assert (found.passed, found.actual, found.expected, found.delta) == (False, 0, 1, -1)
    assert found.rows[0]["segment"] == name
    assert str(path) in found.description
    assert "no figure made from them can be trusted" in found.description


def test_an_event_id_that_stands_twice_is_named(audit: Audit) -> None:
    audit.rewrite("events", "SELECT * FROM t UNION ALL (SELECT * FROM t WHERE message_id = 'msg_1')")

    found = audit.inspect("event_ids_unique")
    assert (found.passed, found.actual) == (False, 1)
    assert found.rows[0]["row_count"] == 2
    assert "paid several times" in found.description
    assert not audit.inspect("contract_events").passed


def test_a_negative_counter_in_a_table_is_found(audit: Audit) -> None:
    audit.rewrite("events", "SELECT * REPLACE (if(message_id = 'msg_1', -5, output_tokens) AS output_tokens) FROM t")

    found = audit.inspect("counters_non_negative")
    assert (found.passed, found.actual) == (False, 1)
    assert found.rows[0]["output_tokens"] == -5
    assert "too low" in found.description
    contract = audit.inspect("contract_events")
    assert (contract.passed, contract.rows[0]["column"], contract.rows[0]["value"]) == (False, "output_tokens", -5)


def test_a_negative_counter_in_the_manifest_reaches_the_checks(audit: Audit) -> None:
    audit.tamper("UPDATE events SET cache_read_tokens = -7 WHERE cache_read_tokens = 10000")
    build_all(audit.world, audit.con)

    assert not audit.inspect("counters_non_negative").passed
    assert not audit.inspect("contract_events").passed
    assert not audit.inspect("cells_equal_tables").passed


def test_a_record_nobody_judged_is_missed(audit: Audit) -> None:
    audit.rewrite("duplicates", "SELECT * FROM t WHERE false")

    found = audit.inspect("booked_plus_duplicates_equal_scanned")
    assert (found.passed, found.actual, found.expected, found.delta) == (False, 5, 6, -1)
    assert "lost or counted twice" in found.description


# ------------------------------------------------------------------ sums


@pytest.mark.parametrize("table", ["usage_sessions", "usage_blocks"])
def test_a_view_with_other_totals_is_named(audit: Audit, table: str) -> None:
    audit.rewrite(table, "SELECT * REPLACE (input_tokens + 1 AS input_tokens) FROM t")

    found = audit.inspect("views_sum_to_same_totals")
    assert not found.passed
    assert {(row["table"], row["figure"]) for row in found.rows} == {(table, "input_tokens")}


def test_days_that_do_not_sum_to_their_month_are_named(audit: Audit) -> None:
    audit.rewrite(
        "usage_monthly", "SELECT * REPLACE (list_price_usd * 2 AS list_price_usd) FROM t WHERE client = 'codex'"
    )

    found = audit.inspect("days_sum_to_month")
    assert (found.passed, found.actual) == (False, 1)
    assert "2026-02" in found.description


def test_cells_that_differ_from_the_days_are_named(audit: Audit) -> None:
    audit.tamper("UPDATE cells SET list_price_nano = list_price_nano + 1 WHERE list_price_nano = 1300000")

    found = audit.inspect("cells_equal_tables")
    assert (found.passed, found.actual) == (False, 1)
    assert found.rows == [
        {
            "day": 20_502,
            "client": "codex",
            "model": "gpt-5.1-codex",
            "figure": "list_price_nano",
            "cells": 1_300_001,
            "table": 1_300_000,
        }
    ]


def test_days_of_another_zone_are_not_compared(audit: Audit) -> None:
    build("usage_daily", audit.con, audit.world.ledger, "Asia/Tokyo")

    found = audit.inspect("cells_equal_tables")
    assert (found.passed, found.skipped) == (True, True)
    assert "Asia/Tokyo" in found.description


# ------------------------------------------------------------------ prices


def test_a_price_that_booking_has_otherwise_is_named(audit: Audit) -> None:
    audit.tamper("UPDATE events SET list_price_nano = list_price_nano + 1 WHERE list_price_nano = 10500000")

    found = audit.inspect("costs_agree")
    assert (found.passed, found.actual) == (False, 1)
    assert (found.rows[0]["booked_nano"], found.rows[0]["table_nano"]) == (10_500_001, 10_500_000)


def test_both_computations_agree_on_everything_that_changes_a_price(audit: Audit) -> None:
    models = ["claude-opus-4-6", "claude-sonnet-4-5@20250929", "anthropic/claude-opus-4-5", "<synthetic>", "opus", None]
    tiers = [{}, {"service_tier": "batch"}, {"service_tier": "priority"}, {"speed": "fast"}]
    counters = [(0, 0, 0, 0, 0), (250_000, 10, 0, 0, 0), (3, 5, 700, 199_000, 300), (1, 1, 2**40, 2**40, 0)]
    prefixes = ["msg_", "msg_bdrk_", "msg_vrtx_"]
    usages = [
        {
            "input_tokens": fresh,
            "output_tokens": output,
            "cache_creation_input_tokens": write,
            "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_1h_input_tokens": hour, "ephemeral_5m_input_tokens": write - hour},
            **tier,
        }
        for fresh, output, write, read, hour in counters
        for tier in tiers
    ]
    number = 0
    log = []
    for model in models:
        for prefix in prefixes:
            for usage in usages:
                number += 1
                log.append(
                    claude(
                        f"{prefix}v{number}", f"v{number}", model=model, usage=usage, session="v", minutes=number * 97
                    )
                )
    audit.world.claude(*log, name="v.jsonl")
    audit.world.sync()
    build_all(audit.world, audit.con)

    assert build("events", audit.con, audit.world.ledger, "UTC").row_count > 200
    found = audit.inspect("costs_agree")
    assert found.passed, found.rows


def test_much_usage_without_a_price_is_a_warning(audit: Audit) -> None:
    row = claude("msg_u", "req_u", input=500, output=0, model="house-model-7", session="u")
    audit.world.claude(row, name="u.jsonl")
    audit.world.sync()
    build_all(audit.world, audit.con)

    found = audit.inspect("unpriced_share")
    # (50 + 500) / (12920 + 500)
    assert (found.passed, found.severity, found.blocking) == (False, "WARN", False)
    assert (found.actual, found.expected) == (0.040984, 0.01)
    assert found.rows[0]["model"] == "house-model-7"


# ------------------------------------------------------------------ artifacts


def test_a_table_missing_from_the_published_file_is_named(audit: Audit) -> None:
    import duckdb

    with duckdb.connect(str(audit.world.ledger.duckdb_path)) as con:
        con.execute("DROP TABLE usage_blocks")
        con.execute("DELETE FROM events WHERE client = 'codex'")
        con.execute("COMMENT ON COLUMN prices.model IS NULL")

    found = audit.inspect("tables_present")
    assert (found.passed, found.delta) == (False, -3)
    assert found.rows == [
        {"table": "events", "problem": "has 4 rows instead of 5"},
        {"table": "usage_blocks", "problem": "is missing"},
        {"table": "prices", "problem": "lacks 1 comments"},
    ]


def test_a_published_file_that_is_none_is_said_so(audit: Audit) -> None:
    audit.world.ledger.duckdb_path.write_bytes(b"not a database")
    assert "cannot be opened" in audit.inspect("tables_present").description

    audit.world.ledger.duckdb_path.unlink()
    assert "is not there" in audit.inspect("tables_present").description


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{", "it is no JSON"), ('{"schema_version": 2}', "schema_version is 2, not 1"), (None, "there is no such file")],
)
def test_a_snapshot_that_breaks_its_contract_is_named(audit: Audit, content: str | None, problem: str) -> None:
    path = audit.world.ledger.ui_snapshot_path
    if content is None:
        path.unlink()
    else:
        path.write_text(content)

    found = audit.inspect("ui_snapshot_schema")
    assert not found.passed
    assert found.rows[0]["problem"].startswith(problem)


@pytest.mark.parametrize(
    ("table", "select", "column", "check"),
    [
        ("event_costs", "SELECT * REPLACE ('guess' AS pricing_mode) FROM t", "pricing_mode", "isin"),
        ("usage_daily", "SELECT * REPLACE (CAST(NULL AS VARCHAR) AS model) FROM t", "model", "not_nullable"),
        ("usage_daily", "SELECT * EXCLUDE (model) FROM t", "usage_daily", "column_in_dataframe"),
        (
            "usage_models",
            "SELECT * REPLACE (CAST(event_count AS DOUBLE) AS event_count) FROM t",
            "event_count",
            "dtype",
        ),
    ],
)
def test_a_row_that_breaks_its_contract_is_named(
    audit: Audit, table: str, select: str, column: str, check: str
) -> None:
    audit.rewrite(table, select)

    found = audit.inspect(f"contract_{table}")
    assert not found.passed
    assert any(row.get("column") == column and str(row["check"]).startswith(check) for row in found.rows)
    assert len(found.rows) <= 20


def test_equal_keys_break_the_contract(audit: Audit) -> None:
    audit.rewrite("usage_clients", "SELECT * FROM t UNION ALL SELECT * FROM t")

    found = audit.inspect("contract_usage_clients")
    assert [row["client"] for row in found.rows] == ["claude-code", "codex"]


def test_a_table_that_somebody_else_wrote_is_found_though_it_obeys(audit: Audit) -> None:
    audit.rewrite("usage_sessions", "SELECT * REPLACE (session_id || '-x' AS session_id) FROM t")

    found = audit.inspect("contract_usage_sessions")
    assert not found.passed
    assert "was changed after it was built" in found.description


def test_a_table_that_is_no_parquet_file_is_named(audit: Audit) -> None:
    path = table_path(audit.world.ledger, "usage_daily")
    path.write_bytes(b"garbage")

    found = audit.inspect("contract_usage_daily")
    assert (found.passed, found.rows) == (False, [{"file": str(path)}])


# ------------------------------------------------------------------ what is remembered


def test_a_pass_on_large_tables_is_remembered_until_the_file_changes(audit: Audit) -> None:
    audit.inspect("contract_event_costs")
    assert audit.inspect("contract_event_costs").description == "Nothing it reads changed since it last passed."

    path = table_path(audit.world.ledger, "event_costs")
    path.write_bytes(path.read_bytes())
    assert audit.inspect("contract_event_costs").description == "All 5 rows obey the contract."


REMEMBERED = [name for name, one in INVARIANTS.items() if one.reads or one.state]
GOLDENS = ("closed_months_unchanged", "sample_golden")
"""Have tests of their own, with something locked."""


@pytest.mark.parametrize("name", [name for name in REMEMBERED if name not in {*GOLDENS, *WITH_A_MODEL}])
def test_what_passed_is_not_checked_again(audit: Audit, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit.inspect(name).passed
    again = audit.inspect(name)

    assert (again.passed, again.description) == (True, "Nothing it reads changed since it last passed.")
    # rules that changed are another matter
    monkeypatch.setattr("tokenledger_dagster.governance.invariants._code", lambda: "other rules")
    assert audit.inspect(name).description != again.description


def test_what_no_key_can_stand_for_is_checked_every_time() -> None:
    assert [name for name, one in INVARIANTS.items() if not one.reads and one.state is None] == [
        "segments_intact",
        "booked_plus_duplicates_equal_scanned",
        "cells_equal_tables",
        "unpriced_share",
        "book_lints",
        "prices_audited",
        "prices_accepted",
        "everything_priced",
        "price_sources_agree",
        "tables_present",
        "ui_snapshot_schema",
        "artifacts_present",
        "artifact_schemas",
    ]


def test_other_rates_are_compared_again(audit: Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert audit.inspect("rate_table_current").passed
    shutil.copytree(CONFIG_DIRECTORY, tmp_path / "config")
    with (tmp_path / "config" / "rates.csv").open("a") as rates:
        rates.write("\n")
    monkeypatch.setattr("tokenledger_dagster.governance.prices.CONFIG_DIRECTORY", tmp_path / "config")

    assert not audit.inspect("rate_table_current").passed


def test_a_failure_is_not_remembered(audit: Audit) -> None:
    audit.rewrite("event_costs", "SELECT * REPLACE ('guess' AS pricing_mode) FROM t")

    assert not audit.inspect("contract_event_costs").passed
    assert not audit.inspect("contract_event_costs").passed
