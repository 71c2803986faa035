"""The bundled sample gives the committed figures, and every way to differ from them fails by name."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tokenledger_dagster.contracts.golden import Scenario
from tokenledger_dagster.governance import golden_sample
from tokenledger_dagster.governance.golden import EDITED, GOLDEN_SAMPLE, GoldenError, compare, read_sample, sample_state
from tokenledger_dagster.governance.golden_sample import (
    FILTERS,
    TOTALS,
    ZONES,
    lock_sample,
    sample_scenarios,
    verify_sample,
)
from tokenledger_dagster.governance.invariants import Inspection, inspect
from tokenledger_dagster.home import SAMPLE_HOME, Home
from tokenledger_dagster.usage.report import KINDS

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TRUTH = json.loads((SAMPLE_HOME.parent / "expected.json").read_bytes())


@pytest.fixture(scope="module")
def made() -> dict[str, Scenario]:
    """The sample, made anew once."""
    return sample_scenarios()


@pytest.fixture
def figures(made: dict[str, Scenario], monkeypatch: pytest.MonkeyPatch) -> dict[str, Scenario]:
    """What the sample is made to give in one test."""
    own = deepcopy(made)
    monkeypatch.setattr(golden_sample, "sample_scenarios", lambda: own)
    return own


@pytest.fixture
def golden(tmp_path: Path, figures: dict[str, Scenario]) -> Path:
    shutil.copytree(GOLDEN_SAMPLE.parent, tmp_path / "golden")
    return tmp_path / "golden" / "sample.json"


# ------------------------------------------------------------------ the committed file


def test_the_sample_gives_the_committed_figures(made: dict[str, Scenario]) -> None:
    found = read_sample(GOLDEN_SAMPLE)

    assert found is not None
    assert compare(found.scenarios, made) == []


def test_every_kind_of_report_every_filter_and_zone_is_a_scenario(made: dict[str, Scenario]) -> None:
    expected = {f"report.{kind}" for kind in KINDS} | {f"filters.{name}" for name in FILTERS}
    expected |= {f"zones.{zone}" for zone in ZONES}
    expected |= {
        f"{part}.{name}" for part in ("costs", "plans.costs") for name in ("all", "2026-08", "2026-09", "2026-10")
    }
    expected |= {f"plans.report.{kind}" for kind in ("daily", "monthly", "client")}
    expected |= {"tables", "unified-ledger.providers", "duplicates.rules", "lines.skipped"}

    assert made.keys() == expected
    assert all(made.values())


def test_the_committed_figures_are_the_truth_that_was_derived_by_hand(made: dict[str, Scenario]) -> None:
    totals = made["report.client"]

    for client, truth in TRUTH["totals"].items():
        row = totals[client]
        assert {name: row[name] for name in truth if name != "events"} == {
            name: value for name, value in truth.items() if name != "events"
        }
        assert row["event_count"] == truth["events"]
    rules = made["duplicates.rules"]
    assert {rule: row["record_count"] for rule, row in rules.items()} == TRUTH["duplicates_by_rule"]
    assert totals[TOTALS]["event_count"] == TRUTH["events"]


def test_the_book_and_the_rates_beside_the_golden_are_what_prices_it(made: dict[str, Scenario]) -> None:
    # the book's cut rate of haiku, 0.9 in, 4.5 out, 1.125 written, 0.09 read, over August's sums
    haiku = made["costs.2026-08"]["model claude-haiku-4-5"]

    assert haiku["list_price_usd"] == Decimal("0.00874305")
    assert haiku["list_price_usd"] == Decimal(7) * Decimal("0.0000009") + 329 * Decimal("0.0000045") + 5610 * Decimal(
        "0.000001125"
    ) + 10_500 * Decimal("0.00000009")


def test_neither_other_rates_nor_other_file_times_change_a_figure(
    made: dict[str, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    shutil.copytree(Path("config").absolute(), config)
    rates = (config / "rates.csv").read_text("utf-8")
    (config / "rates.csv").write_text(rates.replace("3000000000", "3100000000"), "utf-8")
    shutil.copytree(SAMPLE_HOME, tmp_path / "home", copy_function=shutil.copyfile)
    monkeypatch.setattr("tokenledger_dagster.pricing.snapshots.CONFIG_DIRECTORY", config)
    monkeypatch.setattr(golden_sample, "SAMPLE_HOME", tmp_path / "home")

    assert compare(made, sample_scenarios()) == []


# ------------------------------------------------------------------ planted faults


def test_a_changed_total_is_named_with_its_delta(golden: Path, figures: dict[str, Scenario]) -> None:
    figures["report.daily"]["2026-08-20"]["total_tokens"] += 1  # type: ignore[operator]

    report = verify_sample(golden, NOW)

    assert not report.passed
    (one,) = report.differences
    assert (one.kind, one.scenario, one.key, one.figure) == ("changed", "report.daily", "2026-08-20", "total_tokens")
    assert (one.expected, one.actual, one.delta) == (52_766, 52_767, 1)


def test_money_may_differ_by_epsilon_alone(golden: Path, figures: dict[str, Scenario]) -> None:
    row = figures["costs.all"][TOTALS]
    row["list_price_usd"] = Decimal(row["list_price_usd"] or 0) + Decimal("0.000000002")

    assert not verify_sample(golden, NOW, Decimal("0.000000001")).passed
    assert verify_sample(golden, NOW, Decimal("0.000000002")).passed


def test_a_scenario_that_is_gone_fails(golden: Path, figures: dict[str, Scenario]) -> None:
    del figures["zones.Asia/Kathmandu"]

    report = verify_sample(golden, NOW)

    assert [(one.kind, one.scenario) for one in report.differences] == [("missing_scenario", "zones.Asia/Kathmandu")]
    assert lock_sample(golden, NOW, accept_changes=False).locked == []


def test_a_new_scenario_must_be_locked_and_needs_no_accepting(golden: Path, figures: dict[str, Scenario]) -> None:
    figures["report.new"] = {"a": {"total_tokens": 1}}

    report = verify_sample(golden, NOW)
    locked = lock_sample(golden, NOW, accept_changes=False)

    assert [(one.kind, one.scenario) for one in report.differences] == [("new_scenario", "report.new")]
    assert not report.passed
    assert locked.locked == ["report.new"]
    assert verify_sample(golden, NOW).passed


def test_a_changed_figure_is_locked_only_where_it_is_accepted(golden: Path, figures: dict[str, Scenario]) -> None:
    figures["tables"]["events"]["row_count"] = 94
    before = golden.read_bytes()

    refused = lock_sample(golden, NOW, accept_changes=False)

    assert (refused.passed, refused.locked, golden.read_bytes()) == (False, [], before)
    assert lock_sample(golden, NOW, accept_changes=True).locked == ["tables"]
    assert verify_sample(golden, NOW).passed


def test_locking_what_is_locked_changes_no_byte(golden: Path) -> None:
    before = golden.read_bytes()

    assert lock_sample(golden, NOW, accept_changes=True).locked == []
    assert golden.read_bytes() == before


def test_a_golden_that_was_edited_to_fit_fails(golden: Path, figures: dict[str, Scenario]) -> None:
    figures["tables"]["events"]["row_count"] = 94
    golden.write_text(golden.read_text("utf-8").replace('"events": {"row_count":95', '"events": {"row_count":94'))

    report = verify_sample(golden, NOW)

    assert (report.differences, report.problems) == ([], [f"{golden}: {EDITED}"])
    assert not report.passed
    assert lock_sample(golden, NOW, accept_changes=False).locked == []
    assert lock_sample(golden, NOW, accept_changes=True).passed


def test_a_golden_that_is_not_there_is_told_with_its_remedy(tmp_path: Path, figures: dict[str, Scenario]) -> None:
    with pytest.raises(GoldenError, match="tokenledger bench golden lock"):
        verify_sample(tmp_path / "sample.json", NOW)


# ------------------------------------------------------------------ the check


def test_the_check_passes_and_says_what_failed(
    golden: Path, figures: dict[str, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_dagster.governance.golden_checks.GOLDEN_SAMPLE", golden)
    with duckdb.connect() as con:
        look = Inspection(Home(tmp_path / "ledger"), con)
        good = inspect("sample_golden", look)
        remembered = inspect("sample_golden", look)
        figures["report.daily"]["2026-08-20"]["total_tokens"] = 1
        golden.write_bytes(golden.read_bytes() + b"\n")
        bad = inspect("sample_golden", look)

    assert (good.passed, good.severity, good.blocking) == (True, "ERROR", False)
    assert good.description.endswith("figures of the sample are the locked ones.")
    assert remembered.description == "Nothing it reads changed since it last passed."
    assert (bad.passed, bad.actual) == (False, 1)
    assert "first report.daily 2026-08-20 total_tokens: 1 instead of 52766" in bad.description
    assert bad.rows[0]["delta"] == 1 - 52_766


def test_the_check_is_skipped_without_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenledger_dagster.governance.golden_checks.SAMPLE_HOME", tmp_path / "none")
    with duckdb.connect() as con:
        assert inspect("sample_golden", Inspection(Home(tmp_path / "ledger"), con)).skipped


def test_what_the_figures_are_made_of_has_a_key(tmp_path: Path) -> None:
    golden = tmp_path / "golden" / "sample.json"
    shutil.copytree(GOLDEN_SAMPLE.parent, golden.parent)
    before = sample_state(golden)
    (golden.parent / "pricing.json").write_text("{}")

    assert before != sample_state(golden)
