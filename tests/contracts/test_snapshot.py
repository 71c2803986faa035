"""What a UI snapshot must be for a consumer of contract version 1."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tokenledger_dagster.contracts.snapshot import validate_snapshot

EXAMPLE: dict[str, Any] = {
    "schema_version": 1,
    "generated_at": "2026-02-21T02:00:00Z",
    "month": "2026-02",
    "mode": "compact",
    "totals": {
        "cost_usd": 2.0,
        "tokens": 200000,
        "blended_usd_per_mtok": 10.0,
        "session_count": 3,
        "skipped_unpriced_count": 1,
    },
    "top_providers": [
        {
            "name": "provider-a",
            "tokens": 120000,
            "total_cost_usd": 1.4,
            "blended_usd_per_mtok": 11.67,
            "session_count": 2,
        }
    ],
    "top_models": [
        {"name": "model-b", "tokens": 150000, "total_cost_usd": 1.6, "blended_usd_per_mtok": 10.67, "session_count": 2},
        {"name": "model-a", "tokens": 50000, "total_cost_usd": 0.4, "blended_usd_per_mtok": 8, "session_count": 2},
    ],
    "suggestions": ["tip"],
    "reconcile_latest_summary_path": "benchmarks/results/reconcile-latest-summary.json",
}
"""The example of the design document, with a second model."""


def changed(path: str, value: object) -> dict[str, Any]:
    found = copy.deepcopy(EXAMPLE)
    place: Any = found
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return found


def test_the_example_is_valid() -> None:
    assert validate_snapshot(EXAMPLE) == []


def test_unknown_keys_are_ignored() -> None:
    assert validate_snapshot(changed("totals.carbon_kg", 3)) == []
    assert validate_snapshot(changed("top_models.0.maker", "anthropic")) == []


def test_the_pointer_to_the_reconcile_summary_is_optional() -> None:
    assert validate_snapshot(changed("reconcile_latest_summary_path", ...)) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("schema_version", 2, "schema_version is 2, not 1"),
        ("schema_version", True, "schema_version is True, not 1"),
        ("generated_at", "2026-02-21T02:00:00+01:00", "generated_at"),
        ("generated_at", "todayZ", "generated_at"),
        ("month", "2026-13", "month is '2026-13', not YYYY-MM"),
        ("mode", "tiny", "mode is 'tiny', not compact or extended"),
        ("totals", ..., "totals is no object"),
        ("totals.cost_usd", "2.0", "totals.cost_usd is not a number"),
        ("totals.tokens", -1, "totals.tokens is not a count"),
        ("totals.tokens", 1.5, "totals.tokens is not a count"),
        ("totals.session_count", ..., "totals.session_count is not a count"),
        ("top_providers", {}, "top_providers is not a list"),
        ("top_models.0.name", 7, "top_models[0].name is not a string"),
        ("top_models.1.total_cost_usd", None, "top_models[1].total_cost_usd is not a number"),
        ("top_models.1.tokens", 150_001, "top_models is not sorted by tokens, largest first, then by name"),
        ("top_models.1.tokens", 150_000, "top_models is not sorted by tokens, largest first, then by name"),
        ("suggestions", [1], "suggestions is not a list of strings"),
        ("reconcile_latest_summary_path", 1, "reconcile_latest_summary_path is not a string"),
    ],
)
def test_each_breach_is_named(path: str, value: object, problem: str) -> None:
    (found,) = validate_snapshot(changed(path, value))

    assert found.startswith(problem)


def test_what_is_no_object_is_said_so() -> None:
    assert validate_snapshot([]) == ["the document is no object"]
