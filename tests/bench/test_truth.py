"""Comparing a report with the truth: every figure counts, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenledger_dagster.bench.truth import Cell, Truth, compare

NOTHING = dict.fromkeys(("cache_write_1h_tokens", "reasoning_tokens"), 0)


def truth() -> Truth:
    found = Truth()
    found.add("2026-02-18", "model-20260101", Cell(event_count=1, input_tokens=10, output_tokens=2))
    found.add("2026-02-18", "model-20260101", Cell(event_count=1, input_tokens=5, cache_read_tokens=7))
    found.add("2026-02-18", "model-latest", Cell(event_count=1, output_tokens=1, cache_write_tokens=3))
    return found


def report() -> dict[str, Any]:
    """What a right report says: both names are one canonical model."""
    sums = {
        "input_tokens": 15,
        "output_tokens": 3,
        "cache_write_tokens": 3,
        "cache_read_tokens": 7,
        "total_tokens": 28,
    }
    model = {"model": "model", "model_raw": ["model-20260101", "model-latest"], **sums}
    whole = {**sums, **NOTHING, "event_count": 3}
    return {"rows": [{"key": "2026-02-18", **whole, "models": [model]}], "totals": whole}


def wrong(document: dict[str, Any]) -> list[tuple[str, str, str, int, int]]:
    found = compare(document, truth())
    assert found.different == len(found.first_differences)
    return [(one.day, one.model, one.figure, one.actual, one.expected) for one in found.first_differences]


def test_right_report_passes() -> None:
    found = compare(report(), truth())

    assert (found.passed, found.different, found.compared) == (True, 0, 8 + 8 + 5)


def test_one_token_too_many_in_one_cell_is_found() -> None:
    document = report()
    document["rows"][0]["models"][0]["output_tokens"] = 4

    assert wrong(document) == [("2026-02-18", "model", "output_tokens", 4, 3)]


def test_a_day_that_should_not_be_there_is_found() -> None:
    document = report()
    document["rows"].append({"key": "2026-02-19", "event_count": 1, "models": []})

    assert wrong(document) == [("2026-02-19", "", "event_count", 1, 0)]


def test_a_model_that_is_missing_is_found() -> None:
    document = report()
    document["rows"][0]["models"] = []

    assert ("2026-02-18", "model-latest", "cache_write_tokens", 0, 3) in wrong(document)


def test_only_the_first_differences_are_kept_and_all_are_counted() -> None:
    many = Truth()
    for day in range(1, 10):
        many.add(f"2026-02-{day:02}", "m", Cell(event_count=1, input_tokens=1))

    found = compare({"rows": [], "totals": {}}, many)

    assert (len(found.first_differences), found.different) == (20, 3 + 9 * 3 + 9 * 2)


def test_truth_is_written_with_its_cells_in_order(tmp_path: Path) -> None:
    truth().write(tmp_path / "truth.json", {"seed": 1})
    found = json.loads((tmp_path / "truth.json").read_text())

    assert [(cell["day"], cell["model_raw"], cell["total_tokens"]) for cell in found["cells"]] == [
        ("2026-02-18", "model-20260101", 24),
        ("2026-02-18", "model-latest", 4),
    ]
    assert (found["schema_version"], found["seed"], found["totals"]["event_count"]) == (1, 1, 3)
