"""What an audit says of a book's origin and age, and of the built-in price list's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.contracts.pricing_lint import AuditReport
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.pricing.audit import audit, audit_price_list

CONFIG = Path(__file__).parents[2] / "config"
TODAY = date(2026, 11, 21)
RATES = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15}
MODEL = "providers.claude.models.claude-opus-5"


def book(meta: Any = ..., **row: Any) -> dict[str, Any]:
    """A book of yesterday, but for what is given; `meta=None` leaves it out."""
    found = {"source": "a page", "updated_at": "2026-11-20T08:00:00Z"} if meta is ... else meta
    providers = {"claude": {"models": {"claude-opus-5": RATES | row}}}
    return {"providers": providers} | ({} if found is None else {"meta": found})


def audited(content: dict[str, Any] | bytes, **options: Any) -> AuditReport:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return audit(raw, "pricing.json", **({"today": TODAY} | options))


def told(content: dict[str, Any] | bytes, **options: Any) -> list[tuple[str, str, str]]:
    return [(one.rule, one.severity, one.place) for one in audited(content, **options).findings]


def test_a_book_with_a_source_that_is_recent_passes() -> None:
    report = audited(book(), now=datetime(2026, 11, 21, 9, tzinfo=UTC))
    assert report == AuditReport(
        generated_at="2026-11-21T09:00:00Z",
        pricing="pricing.json",
        passed=True,
        as_of="2026-11-20",
        age_days=1,
        max_age_days=30,
        source="a page",
        findings=[],
    )


def test_the_shipped_example_passes_on_the_day_it_was_written_and_is_stale_a_month_later() -> None:
    content = (CONFIG / "pricing.example.json").read_bytes()
    assert told(content) == []
    stale = audited(content, today=date(2026, 12, 22))
    assert not stale.passed
    assert ("stale_book", "error", "meta.updated_at") in [(one.rule, one.severity, one.place) for one in stale.findings]


def meta(**members: Any) -> dict[str, Any]:
    return book({"source": "a page", "updated_at": "2026-11-20T08:00:00Z"} | members)


FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("missing_meta", book(None, source="a page"), "meta", "nobody knows how old"),
    ("missing_meta", book({}, source="a page"), "meta", "nobody knows how old"),
    ("missing_updated_at", meta(updated_at=None), "meta.updated_at", "somebody last looked"),
    ("bad_updated_at", meta(updated_at="yesterday"), "meta.updated_at", "yesterday is no time"),
    ("bad_updated_at", meta(updated_at="2026-11-20"), "meta.updated_at", "2026-11-20 is no time"),
    ("bad_updated_at", meta(updated_at="2026-11-20T08:00:00"), "meta.updated_at", "is no time in UTC"),
    ("updated_in_future", meta(updated_at="2026-11-23T00:00:00Z"), "meta.updated_at", "is still to come"),
    ("stale_book", meta(updated_at="2026-10-21T00:00:00Z"), "meta.updated_at", "nobody has looked for 31 days"),
]


@pytest.mark.parametrize(("rule", "content", "place", "words"), FAULTS)
def test_a_fault_of_the_book_is_one_error(rule: str, content: dict[str, Any], place: str, words: str) -> None:
    assert told(content) == [(rule, "error", place)]
    (finding,) = audited(content).findings
    assert words in finding.message


@pytest.mark.parametrize("updated_at", ["2026-10-22T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T01:00:00+02:00"])
def test_exactly_the_largest_age_passes_and_so_does_another_clock(updated_at: str) -> None:
    assert told(meta(updated_at=updated_at)) == []


def test_the_largest_age_is_the_callers() -> None:
    assert told(book(), max_age_days=0) == [("stale_book", "error", "meta.updated_at")]
    assert told(meta(updated_at="2025-11-21T00:00:00Z"), max_age_days=365) == []


def test_without_a_source_neither_book_nor_row_passes() -> None:
    assert told(meta(source=None)) == [
        ("missing_source", "error", "meta.source"),
        ("row_without_source", "error", f"{MODEL}.source"),
    ]
    assert told(book({"updated_at": "2026-11-20T08:00:00Z"}, source="a page")) == [
        ("missing_source", "error", "meta.source")
    ]


def test_a_waived_error_stays_as_a_warning_that_says_so() -> None:
    report = audited(meta(updated_at="2026-01-01T00:00:00Z"), allow_stale=True)
    (finding,) = report.findings
    assert report.passed
    assert (finding.rule, finding.severity) == ("stale_book", "warning")
    assert finding.message.endswith("(waived by --allow-stale)")
    report = audited(meta(source=None), allow_missing_source=True)
    assert report.passed
    assert [one.severity for one in report.findings] == ["warning", "warning"]
    assert all(one.message.endswith("(waived by --allow-missing-source)") for one in report.findings)


def test_a_waiver_waives_nothing_else() -> None:
    options = {"allow_stale": True, "allow_missing_source": True}
    assert told(book(None, source="a page"), **options) == [("missing_meta", "error", "meta")]
    assert told(meta(updated_at="2027-01-01T00:00:00Z"), **options) == [
        ("updated_in_future", "error", "meta.updated_at")
    ]


@pytest.mark.parametrize(
    ("row", "findings"),
    [
        ({"checked": "2026-10-22"}, []),
        ({"checked": "2026-10-21"}, [("row_stale", "warning", f"{MODEL}.checked")]),
        ({"checked": "2026-12-01"}, [("checked_in_future", "warning", f"{MODEL}.checked")]),
        ({"checked": "last week"}, []),
        ({"checked": "2026-01-01", "valid_to": "2026-11-21"}, []),
        ({"id": "a", "checked": "2026-01-01", "rates": [RATES | {"supersedes": "a"}]}, []),
        (
            {"valid_to": "2026-11-01", "rates": [RATES | {"valid_from": "2026-11-01", "status": "scheduled"}]},
            [("scheduled_past_its_date", "warning", f"{MODEL}.rates[0].valid_from")],
        ),
        ({"valid_to": "2026-12-01", "rates": [RATES | {"valid_from": "2026-12-01", "status": "scheduled"}]}, []),
    ],
)
def test_a_row_is_looked_after_while_it_may_price(row: dict[str, Any], findings: list[tuple[str, str, str]]) -> None:
    assert told(book(**row)) == findings
    assert audited(book(**row)).passed


def test_a_model_in_use_after_it_was_withdrawn_is_named() -> None:
    used = {
        "claude-opus-5": date(2026, 11, 20),
        "claude-2": date(2026, 10, 22),
        "gpt-5": date(2026, 10, 21),
        "gpt-4": date(2026, 11, 20),
        "gpt-5-mini": date(2026, 11, 20),
    }
    withdrawn = {
        "claude-opus-5": date(2026, 11, 20),
        "claude-2": date(2026, 1, 1),
        "gpt-5": date(2026, 1, 1),
        "gpt-4": date(2026, 11, 21),
    }
    assert told(book(), used_models=used, deprecations=withdrawn) == [
        ("deprecated_model_in_use", "warning", "models.claude-2"),
        ("deprecated_model_in_use", "warning", MODEL),
    ]


@pytest.mark.parametrize(("content", "rule"), [(b"{", "not_json"), (b"[]", "wrong_type"), (b"\xff", "not_json")])
def test_what_is_no_book_fails_with_one_finding(content: bytes, rule: str) -> None:
    report = audited(content)
    assert (report.passed, report.as_of, report.age_days, report.source) == (False, None, None, None)
    assert [one.rule for one in report.findings] == [rule]


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.dates().map(str) | st.datetimes().map(str)
TIMES = st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-11-21T00:00:00.5Z", "TODO"])


@given(
    st.dictionaries(st.sampled_from(["source", "updated_at", "version"]), VALUES | TIMES),
    st.dictionaries(
        st.sampled_from(["checked", "valid_from", "valid_to", "status", "supersedes", "source"]), VALUES | TIMES
    ),
)
def test_no_value_makes_a_traceback(about: dict[str, Any], row: dict[str, Any]) -> None:
    report = audited(book(about, **row))
    encode_json(report)
    assert report.passed == all(one.severity == "warning" for one in report.findings)


# the built-in price list


def test_the_built_in_list_is_as_old_as_its_sources_day() -> None:
    built = json.loads((CONFIG / "rates.meta.json").read_text(encoding="utf-8"))
    assert audit_price_list(built, TODAY, installed="0.2.3") == []
    (finding,) = audit_price_list(built, date(2026, 12, 22))
    assert (finding.rule, finding.severity, finding.place) == (
        "price_list_stale",
        "warning",
        "config/rates.meta.json.as_of",
    )
    assert finding.actual == "31 days"


def test_another_installed_version_is_named_beside_the_one_it_was_built_from() -> None:
    (finding,) = audit_price_list({"as_of": "2026-11-21", "source_version": "0.2.3"}, TODAY, installed="0.3.0")
    assert (finding.rule, finding.actual, finding.expected) == ("price_list_version", "0.2.3", "0.3.0")


@pytest.mark.parametrize("meta", [{}, {"as_of": None}, {"as_of": 5}, {"as_of": "soon"}])
def test_a_list_without_a_day_is_broken(meta: dict[str, Any]) -> None:
    assert [(one.rule, one.severity) for one in audit_price_list(meta, TODAY)] == [("price_list_bad_as_of", "error")]


def test_our_own_patch_is_no_source_of_rates() -> None:
    meta = {"source": "tokenledger pricing reconcile", "updated_at": "2026-11-20T08:00:00Z"}
    assert told(book(meta)) == [("row_without_source", "error", f"{MODEL}.source")]
    assert told(book(meta, source="a page")) == []
