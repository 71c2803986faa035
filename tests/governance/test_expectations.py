"""Suites are data that every query and every expectation of them can be run from; a planted fault fails its own one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.governance.conftest import Audit
from tests.support import World
from tokenledger_dagster.contracts.quality import DatasetResult, ExpectationResult, SuiteResult
from tokenledger_dagster.exports.warehouse import publish
from tokenledger_dagster.governance import expectations
from tokenledger_dagster.governance.claims import inspect_claim
from tokenledger_dagster.governance.expectation_suites import FOLDER, SUITES, SuiteError, load_suite
from tokenledger_dagster.governance.expectations import outcome, run_suite
from tokenledger_dagster.governance.outcome import Inspection
from tokenledger_dagster.governance.quality import page_path, record_claims, record_suite, run_quality

needs_gx = pytest.mark.skipif(not expectations.is_installed(), reason="needs the extra gx")


@pytest.fixture
def audit(good: Audit, tmp_path: Path) -> Iterator[Audit]:
    """A copy of the good ledger, to break."""
    shutil.copytree(good.world.ledger.root.parent, tmp_path / "world")
    with duckdb.connect() as con:
        yield Audit(World(tmp_path / "world"), con)


def look_at(audit: Audit) -> Inspection:
    return Inspection(audit.world.ledger, audit.con)


# ------------------------------------------------------------------ suites as data


def test_every_suite_is_a_file_and_every_file_is_used() -> None:
    suites = [load_suite(name) for name in SUITES]

    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(SUITES)
    assert {path.stem for path in FOLDER.glob("*.sql")} == {
        f"{suite.name}.{dataset.name}" for suite in suites for dataset in suite.datasets
    }


@pytest.mark.parametrize("name", SUITES)
def test_every_query_gives_the_columns_that_are_spoken_of(good: Audit, name: str) -> None:
    with expectations._published(look_at(good)) as con:
        for dataset in load_suite(name).datasets:
            con.execute(dataset.query)
            columns = {column[0] for column in con.description or []}
            named = {
                value
                for one in dataset.expectations
                for argument, value in one.arguments.items()
                if argument.startswith("column")
            }
            assert named | set(dataset.key) <= columns
            assert all("; else " in one.means for one in dataset.expectations)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a list", "Expected `object`"),
        ("description: d\ndatasets: [{name: keys}]", "missing required field"),
        ("description: d\ndatasets: []\nsurprise: 1", "unknown field"),
        ("description: [", "while parsing"),
        ("description: \x00", "unacceptable character"),
    ],
)
def test_a_suite_that_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(SuiteError, match=told) as error:
        load_suite("mine", tmp_path)
    assert str(tmp_path / "mine.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dataset_without_a_query_is_refused(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "freshness.yaml", tmp_path)

    with pytest.raises(SuiteError, match=r"freshness\.logs\.sql: cannot be read"):
        load_suite("freshness", tmp_path)


# ------------------------------------------------------------------ what is not there


def test_without_the_extra_a_suite_is_skipped_and_says_how_to_get_it(
    good: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "is_installed", lambda: False)

    found = outcome(run_suite("completeness", look_at(good)))
    assert (found.name, found.passed, found.skipped) == ("expected_completeness", True, True)
    assert 'make setup EXTRAS="ui gx"' in found.description


def test_without_a_published_database_a_suite_is_skipped(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "is_installed", lambda: True)
    audit.world.ledger.duckdb_path.unlink()

    assert run_suite("completeness", look_at(audit)).skipped


def test_a_database_that_is_none_fails_in_one_line(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "is_installed", lambda: True)
    audit.world.ledger.duckdb_path.write_bytes(b"garbage\x00")

    found = outcome(run_suite("completeness", look_at(audit)))
    assert (found.passed, found.severity) == (False, "ERROR")
    assert "\n" not in found.description


# ------------------------------------------------------------------ results


def result(*, passed: bool, severity: str = "error") -> SuiteResult:
    one = ExpectationResult(
        expect="expect_column_values_to_be_unique",
        arguments={"column": "a"},
        severity=severity,  # type: ignore[arg-type]
        means="<i>Means</i>; else nothing.",
        says="a values must be unique",
        passed=passed,
        element_count=3,
        unexpected_count=0 if passed else 2,
        rows=[] if passed else [{"client": "<script>alert(1)</script>"}],
    )
    failed, is_error = not passed, severity == "error"
    return SuiteResult(
        name="completeness", description="All of it.", generated_at="2026-03-01T00:00:00Z", duration_ms=1,
        passed=not (failed and is_error), skipped=False, message="told",
        error_count=int(failed and is_error), warning_count=int(failed and not is_error),
        datasets=[DatasetResult(name="keys", description="Keys.", row_count=3, expectations=[one])],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("passed", "severity", "told"), [(True, "error", "ERROR"), (False, "error", "ERROR"), (False, "warning", "WARN")]
)
def test_a_suite_is_as_grave_as_its_gravest_expectation(passed: bool, severity: str, told: str) -> None:
    found = outcome(result(passed=passed, severity=severity))

    assert (found.passed, found.severity, found.actual, found.expected) == (passed, told, int(not passed), 0)
    assert [row["dataset"] for row in found.rows] == ([] if passed else ["keys"])


def test_results_are_kept_and_shown_on_a_page_that_needs_nothing_else(audit: Audit) -> None:
    home = audit.world.ledger
    record_claims(home, [inspect_claim("recomputed_usage_daily", look_at(audit))], 0.1)
    record_suite(home, result(passed=False))

    kept = json.loads((home.quality / "claims.json").read_bytes())
    assert (kept["schema_version"], kept["passed"], kept["claims"][0]["name"]) == (1, True, "recomputed_usage_daily")
    kept = json.loads((home.quality / "expectations.json").read_bytes())
    assert (kept["schema_version"], kept["passed"], kept["suites"][0]["name"]) == (1, False, "completeness")
    page = page_path(home).read_text()
    assert "recomputed_usage_daily" in page
    assert "a values must be unique" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "//" not in page


def test_results_that_nobody_understands_are_made_anew(audit: Audit) -> None:
    audit.world.ledger.quality.mkdir()
    for name in ("claims.json", "expectations.json"):
        (audit.world.ledger.quality / name).write_bytes(b'{"claims": 5, "suites": \x00')

    assert record_suite(audit.world.ledger, result(passed=True)).passed


# ------------------------------------------------------------------ planted faults


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, good: Audit) -> Iterator[Audit]:
    """A published ledger with a fault for each kind of expectation."""
    folder = tmp_path_factory.mktemp("broken") / "world"
    shutil.copytree(good.world.ledger.root.parent, folder)
    with duckdb.connect() as con:
        audit = Audit(World(folder), con)
        audit.rewrite("events", "SELECT * REPLACE (if(client = 'codex', '', session_id) AS session_id) FROM t")
        audit.rewrite("usage_daily", "SELECT * FROM t WHERE day <> DATE '2026-02-28'")
        audit.rewrite("event_costs", "SELECT * FROM t WHERE client <> 'codex'")
        audit.rewrite("duplicates", "SELECT * REPLACE (NULL AS owner_event_id) FROM t")
        publish(audit.world.ledger, force=True)
        with duckdb.connect(str(audit.world.ledger.duckdb_path)) as published:
            published.execute(
                "UPDATE events SET cache_write_1h_tokens = cache_write_tokens + 1 WHERE message_id = 'msg_1'"
            )
        yield audit


@needs_gx
@pytest.mark.slow
def test_a_good_ledger_is_as_expected(good: Audit) -> None:
    found = run_quality(look_at(good))

    assert {one.name: one.message for one in found.suites if one.error_count or one.skipped} == {}
    assert found.passed
    assert [dataset.name for dataset in found.suites[0].datasets] == ["keys", "views", "days", "sessions"]


@needs_gx
@pytest.mark.slow
def test_every_planted_fault_fails_its_own_expectation(broken: Audit) -> None:
    failed = {
        (suite, dataset.name, *(str(one.arguments.get(name, "")) for name in ("column", "column_A")), len(one.rows))
        for suite in ("completeness", "distribution")
        for dataset in run_suite(suite, look_at(broken)).datasets
        for one in dataset.expectations
        if not one.passed
    }

    assert failed == {
        ("completeness", "keys", "without_key", "", 1),
        ("completeness", "keys", "", "event_count", 1),
        ("completeness", "views", "", "event_count", 1),
        ("completeness", "views", "", "total_tokens", 1),
        ("completeness", "days", "", "event_count", 1),
        ("completeness", "sessions", "", "event_count", 2),
        ("distribution", "requests", "", "cache_write_tokens", 1),
        ("distribution", "duplicates", "without_owner_share", "", 1),
    }


@needs_gx
@pytest.mark.slow
def test_a_database_behind_the_ledger_and_an_event_of_tomorrow_are_warned_of(audit: Audit) -> None:
    with duckdb.connect(str(audit.world.ledger.duckdb_path)) as published:
        published.execute("UPDATE events SET timestamp = TIMESTAMP '2999-01-01' WHERE client = 'codex'")
        published.execute("DELETE FROM events WHERE message_id = 'msg_1'")

    found = run_suite("freshness", look_at(audit))
    failed = {
        one.arguments.get("column", "count"): one.severity
        for d in found.datasets
        for one in d.expectations
        if not one.passed
    }
    assert failed == {"ahead_hours": "warning", "count": "error"}
    assert not found.passed


@needs_gx
@pytest.mark.slow
def test_what_cannot_be_decided_is_told_and_ends_nothing_else(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "description: d\ndatasets:\n  - {name: all, description: d, key: [client], expectations: [\n"
        "      {expect: expect_no_such_thing, arguments: {column: client}, severity: error, means: m},\n"
        "      {expect: expect_column_values_to_be_unique, arguments: {column: nope}, severity: error, means: m},\n"
        "      {expect: expect_column_values_to_be_between, arguments: {column: n, min_value: x},\n"
        "       severity: warning, means: m},\n"
        "      {expect: expect_column_values_to_be_unique, arguments: {column: client}, severity: error, means: m}]}\n"
    )
    (tmp_path / "mine.all.sql").write_text("SELECT client, event_count AS n FROM usage_clients")
    monkeypatch.setattr(expectations, "load_suite", lambda name: load_suite(name, tmp_path))

    found = run_suite("mine", look_at(audit))
    (dataset,) = found.datasets
    assert [one.passed for one in dataset.expectations] == [False, False, False, True]
    assert all(one.problem and "\n" not in one.problem for one in dataset.expectations[:3])
    assert (found.error_count, found.warning_count) == (2, 1)


@needs_gx
@pytest.mark.slow
def test_great_expectations_leaves_nothing_on_the_disk(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    run_suite("freshness", look_at(audit))

    assert list((tmp_path / "empty").rglob("*")) == []
