"""Every figure of `config/models.csv` has one source, and its prices are the labelled ones."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tokenledger_dagster.models.pipe_table import decode_table
from tokenledger_dagster.models.priors import coverage_by_model, number_of
from tokenledger_dagster.models.seed import SeedRow, normalise

ROOT = Path(__file__).parents[2]
COLUMNS = [
    "benchmark",
    "notes_configuration",
    "model",
    "metric",
    "direction",
    "unit",
    "sample_size",
    "source",
    "as_of",
]
TRUTH_COLUMNS = [
    "source_model",
    "maker",
    "canonical_model",
    "modifiers",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "reason",
]
LAST_DAY = date(2026, 11, 20)

Row = tuple[str, str]


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, strict=True))


def read_seed() -> list[SeedRow]:
    path = ROOT / "config" / "models.csv"
    return normalise(decode_table(path.read_bytes(), name=path.name), name=path.name)


SEED = read_seed()
SOURCES = records(ROOT / "config" / "models_sources.csv")
TRUTH = [row for row in records(ROOT / "tests" / "models" / "ledger_truth.csv") if "/" not in row["source_model"]]
"""Labels of what the table names; the ledger adds rows of its own, named `provider/model`."""
MODELS = list(dict.fromkeys(row.model for row in SEED))
FOUND = [row for row in SEED if not row.is_missing]


def key(source: dict[str, str]) -> Row:
    return source["benchmark"], source["notes_configuration"]


def sources_of(row: SeedRow) -> list[dict[str, str]]:
    asked = (row.benchmark, row.notes_configuration)
    return [source for source in SOURCES if key(source) == asked and source["model"] in ("*", row.model)]


def test_the_table_is_of_the_size_it_was_made() -> None:
    assert len(MODELS) == 82
    assert len(SEED) == 82 * 40


def test_no_two_rows_are_the_same_benchmark_and_configuration() -> None:
    rows = {(row.benchmark, row.notes_configuration, row.source_row_index) for row in SEED}
    assert [row for row, count in Counter(row[:2] for row in rows).items() if count > 1] == []


def test_every_row_holds_a_value() -> None:
    assert {row.source_row_index for row in FOUND} == {row.source_row_index for row in SEED}


def test_every_value_has_exactly_one_source() -> None:
    several = [(row.benchmark, row.notes_configuration, row.model, len(sources_of(row))) for row in FOUND]
    assert [found for found in several if found[-1] != 1] == []


def test_every_source_has_a_value() -> None:
    cells = {(row.benchmark, row.notes_configuration, model) for row in FOUND for model in ("*", row.model)}
    assert [source for source in SOURCES if (*key(source), source["model"]) not in cells] == []


def test_sources_say_what_a_reader_needs() -> None:
    assert list(SOURCES[0]) == COLUMNS
    for source in SOURCES:
        assert source["direction"] in ("higher", "lower", "none")
        assert source["unit"] in ("percent", "usd", "seconds", "index", "usd_per_mtok")
        assert source["metric"]
        assert source["source"].startswith("https://")
        assert date.fromisoformat(source["as_of"]) <= LAST_DAY


def test_one_row_has_one_metric_unit_and_direction() -> None:
    said = {(key(one), one["metric"], one["unit"], one["direction"], one["sample_size"]) for one in SOURCES}
    assert len(said) == len({row for row, *_ in said})


def test_sample_sizes_are_those_of_the_benchmarks() -> None:
    assert {key(one): one["sample_size"] for one in SOURCES if one["sample_size"]} == {
        ("SWE-Bench Pro", "Public set, Scale leaderboard"): "731",
        ("SWE-bench Verified", "Vendor or model card"): "500",
        ("SWE-bench Verified", "swebench.com leaderboard"): "500",
        ("Aider Polyglot pass rate", "225 exercises, two tries; best run / other setting"): "225",
        ("Aider Polyglot cost per case", "USD per exercise; same runs"): "225",
        ("Aider Polyglot seconds per case", "Seconds per exercise; same runs"): "225",
    }


@pytest.mark.parametrize("part", ["value_primary", "value_secondary"])
def test_every_value_is_a_number(part: str) -> None:
    values = [getattr(row, part) for row in FOUND]
    assert [value for value in values if value and number_of(value) is None] == []


def test_percentages_are_percentages() -> None:
    percent = {key(one) for one in SOURCES if one["unit"] == "percent"}
    for row in FOUND:
        if (row.benchmark, row.notes_configuration) in percent:
            assert "%" in row.value_primary
            assert 0 <= number_of(row.value_primary) <= 100  # type: ignore[operator]


def test_every_model_is_labelled_once_in_the_order_of_the_columns() -> None:
    assert list(TRUTH[0]) == TRUTH_COLUMNS
    assert [label["source_model"] for label in TRUTH] == MODELS
    assert all(label["reason"] for label in TRUTH)


def test_the_price_rows_are_the_labelled_prices() -> None:
    coverage = coverage_by_model(SEED)
    differing = []
    for label in TRUTH:
        found = coverage[label["source_model"]]
        labelled = [Decimal(label[f"{unit}_usd_per_mtok"] or "NaN") for unit in ("input", "output")]
        shown = [found.benchmark_input_usd_per_mtok, found.benchmark_output_usd_per_mtok]
        if [None if price.is_nan() else price for price in labelled] != shown:
            differing.append(label["source_model"])
    assert differing == []


def test_a_label_is_priced_or_says_why_not() -> None:
    for label in TRUTH:
        prices = [label[column] for column in TRUTH_COLUMNS if column.endswith("_mtok")]
        if not label["input_usd_per_mtok"]:
            assert prices == ["", "", "", ""]
            assert label["reason"].startswith(("no price", "no public first-party price"))
