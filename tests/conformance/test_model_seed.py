"""On the table of the tool this one grew out of, the seed and its counts are that tool's own."""

from __future__ import annotations

import csv
import os
from decimal import Decimal
from pathlib import Path

import pytest

from tokenledger_dagster.models.pipe_table import decode_table
from tokenledger_dagster.models.priors import coverage_by_model
from tokenledger_dagster.models.seed import SeedRow, normalise, normalized_csv

_SHARED = os.environ.get("TOKENLEDGER_CONFORMANCE_DIR")
FOLDER = Path(_SHARED or ".") / "pricing" / "original"
pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(
        _SHARED is None or not (FOLDER / "models.csv").exists(),
        reason="TOKENLEDGER_CONFORMANCE_DIR names no folder with the original's model table",
    ),
]
COUNTS = [
    "benchmark_rows_total",
    "benchmark_rows_non_missing",
    "benchmark_rows_missing",
    "benchmark_prior_rows_total",
    "benchmark_prior_rows_non_missing",
    "benchmark_prior_rows_missing",
    "benchmark_distinct_total",
    "benchmark_distinct_non_missing",
]
PRICES = ["benchmark_input_usd_per_mtok", "benchmark_output_usd_per_mtok"]


@pytest.fixture(scope="module")
def text() -> str:
    return decode_table((FOLDER / "models.csv").read_bytes(), name="models.csv")


@pytest.fixture(scope="module")
def seed(text: str) -> list[SeedRow]:
    return normalise(text, name="models.csv")


@pytest.fixture(scope="module")
def ledger() -> dict[str, dict[str, str]]:
    with (FOLDER / "ledger" / "unified_model_provider_ledger.csv").open(encoding="utf-8", newline="") as handle:
        return {row["source_model"]: row for row in csv.DictReader(handle)}


def test_the_long_form_is_the_originals_but_for_line_ends(seed: list[SeedRow]) -> None:
    # ours end with a line feed on every machine, the original's are those of Python's csv module
    original = (FOLDER / "models_normalized.csv").read_bytes().decode("utf-8")
    assert original.count("\r\n") == original.count("\n") == 3305
    assert normalized_csv(seed) == original.replace("\r\n", "\n")


def test_fifty_nine_rows_of_fifty_six_models(seed: list[SeedRow]) -> None:
    assert len(seed) == 59 * 56 == 3304
    assert sum(row.is_missing for row in seed) == 2725
    assert sum(row.split_kind == "slash" for row in seed) == 48


def test_dashes_read_for_windows_1252_are_missing_too(text: str, seed: list[SeedRow]) -> None:
    # the original counts them as values: its code, unlike its worklog, does not know this spelling
    mojibake = normalise(text.replace("—", "—".encode().decode("cp1252")), name="models.csv")
    assert [(row.is_missing, row.value_primary, row.value_secondary) for row in mojibake] == [
        (row.is_missing, row.value_primary, row.value_secondary) for row in seed
    ]


def test_an_added_separator_moves_the_lines_and_nothing_else(text: str, seed: list[SeedRow]) -> None:
    # the original takes a separator for a benchmark of its own
    header, rest = text.split("\n", 1)
    separated = normalise(f"{header}\n{'|---' * 58}|\n{rest}", name="models.csv")
    assert [row.source_row_index - 1 for row in separated] == [row.source_row_index for row in seed]
    assert [row.raw_value for row in separated] == [row.raw_value for row in seed]


def test_counts_of_every_model_are_the_originals(seed: list[SeedRow], ledger: dict[str, dict[str, str]]) -> None:
    # distinct names count prices too, and a benchmark with two rows once
    found = coverage_by_model(seed)
    assert {model: [getattr(one, name) for name in COUNTS] for model, one in found.items()} == {
        model: [int(row[name]) for name in COUNTS] for model, row in ledger.items()
    }
    assert len(found) == 56


def test_prices_of_every_model_are_the_originals(seed: list[SeedRow], ledger: dict[str, dict[str, str]]) -> None:
    assert {model: [getattr(one, name) for name in PRICES] for model, one in coverage_by_model(seed).items()} == {
        model: [Decimal(row[name]) if row[name] else None for name in PRICES] for model, row in ledger.items()
    }


def test_every_value_of_the_original_is_a_number(seed: list[SeedRow]) -> None:
    assert sum(one.unreadable_values for one in coverage_by_model(seed).values()) == 0
