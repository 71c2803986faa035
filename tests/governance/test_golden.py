"""Figures are compared exactly, and a golden file tells when it is not what was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.contracts.golden import Difference, SampleGolden, Scenario
from tokenledger_dagster.governance.golden import (
    GoldenError,
    compare,
    count_figures,
    is_new,
    is_sealed,
    read_closed,
    read_sample,
    seal_of,
    stamp,
    write_lines,
)

DAILY: dict[str, Scenario] = {
    "report.daily": {
        "2026-02-18": {"total_tokens": 12_850, "list_price_usd": Decimal("0.013600001")},
        "2026-02-28": {"total_tokens": 20, "list_price_usd": None},
    }
}


def changed(**figures: Any) -> dict[str, Scenario]:
    return {"report.daily": {**DAILY["report.daily"], "2026-02-18": {**DAILY["report.daily"]["2026-02-18"], **figures}}}


def written(path: Path) -> Path:
    write_lines(path, SampleGolden(generated_at="2026-03-01T00:00:00Z", seal=seal_of(DAILY), scenarios=DAILY))
    return path


# ------------------------------------------------------------------ comparing


def test_equal_figures_differ_in_nothing() -> None:
    assert compare(DAILY, DAILY) == []
    assert count_figures(DAILY) == 4


def test_a_changed_total_names_scenario_row_figure_and_delta() -> None:
    assert compare(DAILY, changed(total_tokens=12_849)) == [
        Difference(
            kind="changed",
            scenario="report.daily",
            key="2026-02-18",
            figure="total_tokens",
            expected=12_850,
            actual=12_849,
            delta=-1,
        )
    ]


def test_money_differs_from_one_nano_usd_on_unless_more_is_allowed() -> None:
    other = changed(list_price_usd=Decimal("0.013600002"))

    assert [one.delta for one in compare(DAILY, other)] == [Decimal("0.000000001")]
    assert compare(DAILY, other, Decimal("0.000000001")) == []


def test_no_epsilon_lets_a_token_pass() -> None:
    assert len(compare(DAILY, changed(total_tokens=12_851), Decimal(1))) == 1


def test_a_price_that_is_not_known_is_not_zero() -> None:
    (found,) = compare(DAILY, changed(list_price_usd=None), Decimal(1))

    assert (found.actual, found.delta) == (None, None)


@pytest.mark.parametrize(
    ("expected", "actual", "kind", "new"),
    [
        (DAILY, {}, "missing_scenario", False),
        ({}, DAILY, "new_scenario", True),
        (DAILY, {"report.daily": {"2026-02-18": DAILY["report.daily"]["2026-02-18"]}}, "missing_row", False),
        ({"report.daily": {"2026-02-18": DAILY["report.daily"]["2026-02-18"]}}, DAILY, "new_row", False),
        (changed(sessions=1), DAILY, "missing_figure", False),
        (DAILY, changed(sessions=1), "new_figure", True),
    ],
)
def test_what_is_missing_fails_and_what_is_new_must_be_locked(
    expected: dict[str, Scenario], actual: dict[str, Scenario], kind: str, new: bool
) -> None:
    (found,) = compare(expected, actual)

    assert (found.kind, is_new(found)) == (kind, new)


_FIGURES = st.dictionaries(
    st.sampled_from(["total_tokens", "event_count", "list_price_usd"]),
    st.integers(0, 2**62) | st.decimals(0, 10**6, places=9) | st.none(),
    max_size=3,
)
_SCENARIOS = st.dictionaries(
    st.text(max_size=5), st.dictionaries(st.text(max_size=5), _FIGURES, max_size=3), max_size=3
)


@settings(max_examples=20)
@given(scenarios=_SCENARIOS)
def test_what_was_written_is_read_again_sealed_and_equal(
    scenarios: dict[str, Scenario], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("golden") / "sample.json"
    golden = SampleGolden(generated_at="2026-03-01T00:00:00Z", seal=seal_of(scenarios), scenarios=scenarios)

    write_lines(path, golden)
    found = read_sample(path)

    assert found is not None
    assert is_sealed(found)
    assert compare(scenarios, found.scenarios) == []


# ------------------------------------------------------------------ files


def test_a_row_is_a_line(tmp_path: Path) -> None:
    lines = written(tmp_path / "sample.json").read_text("utf-8").splitlines()

    assert lines[6:9] == [
        '    "report.daily": {',
        '      "2026-02-18": {"total_tokens":12850,"list_price_usd":0.013600001},',
        '      "2026-02-28": {"total_tokens":20,"list_price_usd":null}',
    ]


def test_a_hand_edited_golden_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "sample.json")
    path.write_text(path.read_text("utf-8").replace("12850", "12851"))

    found = read_sample(path)

    assert found is not None
    assert not is_sealed(found)


def test_reformatting_is_no_edit(tmp_path: Path) -> None:
    path = written(tmp_path / "sample.json")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")), indent=1))

    found = read_sample(path)

    assert found is not None
    assert is_sealed(found)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\x00\xff",
        b'{"schema_version": 1}',
        b'{"schema_version": 2, "generated_at": "", "seal": "", "scenarios": {}}',
        b'{"schema_version": 0, "generated_at": "", "seal": "", "scenarios": {}}',
        b'{"schema_version": 1, "generated_at": "", "seal": "", "scenarios": {"a": {"b": {"c": "12"}}, "d": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_in_one_line_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sample.json"
    path.write_bytes(content)

    with pytest.raises(GoldenError) as raised:
        read_sample(path)

    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("month", ["2026-13", "0000-01", "9999-12", "../../x", "2026-02-01", ""])
def test_a_lock_of_no_month_is_no_lock(tmp_path: Path, month: str) -> None:
    path = tmp_path / "closed-months.json"
    basis = {"booking": "", "overrides": "", "prices": "", "plans": "", "program": "", "last_record": 1}
    events = {"name": "2026-02-00.parquet", "bytes": 1, "sha256": ""}
    one = {"locked_at": "2026-03-04T00:00:00Z", "event_count": 0, "digest": "", "rows": {}}
    lock = {"schema_version": 1, "generated_at": "", "closes_after_days": 3, "seal": ""}
    path.write_text(json.dumps({**lock, "months": {month: {**one, "basis": basis, "events": events}}}))

    with pytest.raises(GoldenError, match="is no golden file"):
        read_closed(path)


def test_nothing_locked_is_no_error(tmp_path: Path) -> None:
    assert read_sample(tmp_path / "sample.json") is None
    assert read_closed(tmp_path / "a" / "closed-months.json") is None


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="cannot be read"):
        read_sample(tmp_path)


def test_times_are_utc() -> None:
    assert stamp(datetime(2026, 3, 1, 12, 30, 1, 999, tzinfo=UTC)) == "2026-03-01T12:30:01Z"
