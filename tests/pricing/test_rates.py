"""The rate arithmetic and the table itself."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import msgspec
import pytest

from tokenledger_dagster.pricing.rate_table import RateTable, RateTableError
from tokenledger_dagster.pricing.rates import COLUMNS, Rate, price_nano


@pytest.fixture
def rate(table: RateTable) -> Rate:
    found = table.resolve("anthropic", "claude-sonnet-4-5", "standard", 1_790_000_000_000_000)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("nano_per_mtok", "tokens", "nano"),
    [(500_000, 1, 0), (500_000, 3, 2), (500_001, 1, 1), (1_500_000, 1, 2), (2_500_000, 1, 2)],
)
def test_half_a_nano_dollar_rounds_to_even(rate: Rate, nano_per_mtok: int, tokens: int, nano: int) -> None:
    assert price_nano(msgspec.structs.replace(rate, input=nano_per_mtok), tokens, 0, 0, 0, 0) == nano


def test_rounding_happens_once_per_request_not_once_per_counter(rate: Rate) -> None:
    thirds = msgspec.structs.replace(rate, input=400_000, cache_read=400_000, output=400_000)
    assert price_nano(thirds, 1, 1, 0, 0, 1) == 1


def test_the_snapshot_id_is_the_content_of_the_file(table: RateTable, config_directory: Path, tmp_path: Path) -> None:
    changed = tmp_path / "rates.csv"
    changed.write_bytes((config_directory / "rates.csv").read_bytes().replace(b",active,100", b",active,99", 1))
    assert len(table.snapshot_id) == 16
    assert RateTable.load(changed).snapshot_id != table.snapshot_id


def test_foreign_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("model,price\n", encoding="utf-8")
    with pytest.raises(RateTableError, match="has the columns of another version of this program"):
        RateTable.load(path)


def test_only_models_with_time_of_day_rates_use_half_hour_buckets(table: RateTable) -> None:
    ts = 1_790_000_000_000_000
    assert table.bucket("anthropic", "claude-opus-5-5", ts) == ts // 86_400_000_000
    assert table.bucket("deepseek", "deepseek-v4-pro", ts) == ts // 1_800_000_000
    assert table.bucket_start_us("deepseek", "deepseek-v4-pro", ts // 1_800_000_000) <= ts


def test_resolved_rates_are_memoised(table: RateTable) -> None:
    first = table.resolve("openai", "gpt-5.5", "standard", 1_790_000_000_000_000)
    assert table.resolve("openai", "gpt-5.5", "standard", 1_790_000_000_000_001) is first


def rows(config_directory: Path) -> list[dict[str, str]]:
    with (config_directory / "rates.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_committed_table_is_sorted_and_has_lf_line_ends(config_directory: Path) -> None:
    content = (config_directory / "rates.csv").read_bytes()
    lines = [list(row.values()) for row in rows(config_directory)]
    assert b"\r" not in content
    assert content.startswith(",".join(COLUMNS).encode())
    assert lines == sorted(lines)


def test_periods_of_one_model_and_context_never_overlap(config_directory: Path) -> None:
    seen: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for row in rows(config_directory):
        key = (row["channel"], row["model"], row["context"])
        seen.setdefault((*key, row["tod_from"]), []).append((row["valid_from_utc"], row["valid_to_utc"] or "9999"))
    for spans in seen.values():
        ordered = sorted(spans)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ordered))


def test_a_tier_is_never_below_its_base(config_directory: Path) -> None:
    tiered = [row for row in rows(config_directory) if row["tier_from_tokens"]]
    assert tiered
    assert all(int(row["input_high"]) >= int(row["input"]) for row in tiered)


def test_every_rate_is_at_most_a_thousand_dollars_per_mtok(config_directory: Path) -> None:
    assert all(0 <= int(row[unit]) <= 10**12 for row in rows(config_directory) for unit in ("input", "output"))
