"""The unified ledger's rows: every model once, in order, with its own price or none."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.small_ledger import NOON, RATES, TABLE, by_name, entries, rate
from tokenledger_dagster.contracts.columns import Table
from tokenledger_dagster.contracts.ledger import (
    PARETO,
    RUNTIME_METRICS,
    UNIFIED_LEDGER,
    LedgerRow,
    ParetoRow,
    RuntimeMetric,
)
from tokenledger_dagster.models.unified import InUse, slug
from tokenledger_dagster.pricing.book import Book, parse_book


def named(columns: str) -> list[str]:
    return columns.replace(",", "").split()


CONTRACT = """
ledger_row_id, source_model, source_model_slug, inferred_provider, provider_mapping_rule,
provider_mapping_confidence, canonical_model_guess, model_mapping_rule, model_mapping_confidence,
pricing_provider, pricing_model, pricing_subscription_usd_month, pricing_input_usd_per_mtok,
pricing_output_usd_per_mtok, pricing_cache_write_usd_per_mtok, pricing_cache_read_usd_per_mtok,
pricing_tool_input_usd_per_mtok, pricing_tool_output_usd_per_mtok, benchmark_input_usd_per_mtok,
benchmark_output_usd_per_mtok, benchmark_rows_total, benchmark_rows_non_missing, benchmark_rows_missing,
benchmark_prior_rows_total, benchmark_prior_rows_non_missing, benchmark_prior_rows_missing,
benchmark_distinct_total, benchmark_distinct_non_missing, pricing_vs_benchmark_input_delta,
pricing_vs_benchmark_output_delta
"""
PARETO_CONTRACT = """
ledger_row_id, provider, model, objectives, is_frontier, front_rank, n_dominated_by, dominated_by_example,
pareto_score, quality_component, cost_component, latency_component, blended_cost_usd_per_mtok,
runtime_latency_ms, runtime_quality_score, benchmark_quality_score, eligibility, runtime_source_path
"""
RUNTIME_CONTRACT = """
provider, model, requests, failures, latency_p50_ms, latency_p95_ms, ttft_p50_ms, quality_score, source_path
"""
PRICES = [name for name in named(CONTRACT) if name.startswith("pricing_") and name.endswith("_usd_per_mtok")]


def rows(*args: object, **options: object) -> dict[str, LedgerRow]:
    return {name: one.row for name, one in by_name(entries(*args, **options)).items()}  # type: ignore[arg-type]


def table_of(*models: str) -> str:
    """A benchmark table that holds nothing but names."""
    return f"| Benchmark | Notes | {' | '.join(models)} |\n| Exam | None | {' | '.join('1%' for _ in models)} |\n"


def prices(row: LedgerRow) -> list[Decimal | None]:
    """Input, output, cache write, cache read, tool input, tool output."""
    return [getattr(row, name) for name in PRICES]


def usd(*amounts: str) -> list[Decimal]:
    return [Decimal(one) for one in amounts]


def book(**models: object) -> Book:
    """A pricing book of one provider, claude, with a fee."""
    document = {
        "meta": {"source": "a bill", "updated_at": "2026-11-01T00:00:00Z"},
        "providers": {"claude": {"subscription_usd_month": 200, "models": models}},
    }
    return parse_book(json.dumps(document).encode(), "pricing.json")


# ------------------------------------------------------------------ schema


@pytest.mark.parametrize(
    ("table", "kind", "contract"),
    [
        (UNIFIED_LEDGER, LedgerRow, CONTRACT),
        (PARETO, ParetoRow, PARETO_CONTRACT),
        (RUNTIME_METRICS, RuntimeMetric, RUNTIME_CONTRACT),
    ],
)
def test_columns_are_the_contracts_in_order_and_more_behind_them(
    table: Table, kind: type[msgspec.Struct], contract: str
) -> None:
    names, first = table.column_names, named(contract)
    assert list(names[: len(first)]) == first
    assert names == kind.__struct_fields__


def test_columns_are_null_just_where_fields_are() -> None:
    for table, kind in ((UNIFIED_LEDGER, LedgerRow), (PARETO, ParetoRow), (RUNTIME_METRICS, RuntimeMetric)):
        nullable = {field.name for field in msgspec.structs.fields(kind) if "None" in str(field.type)}
        assert {column.name for column in table.columns if column.nullable} == nullable


# ------------------------------------------------------------------ ids and order


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Claude Opus 4.5", "claude-opus-4-5"),
        ("GPT-5 (high)", "gpt-5-high"),
        ("  o3 ", "o3"),
        ("Qwen 3.5 (397B)", "qwen-3-5-397b"),
        ("claude/house_model.7", "claude-house-model-7"),
        ("—", ""),
    ],
)
def test_a_slug_is_small_letters_digits_and_single_dashes(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_rows_are_in_the_order_of_their_slugs_with_ids_from_one() -> None:
    assert [(one.row.ledger_row_id, one.row.source_model_slug) for one in entries()] == [
        (1, "acme-coder-9"),
        (2, "claude-opus-4-5"),
        (3, "codex-gpt-5"),
        (4, "glm-5"),
        (5, "gpt-5-4"),
        (6, "gpt-5-high"),
        (7, "gpt-5-low"),
        (8, "kimi-k2"),
    ]


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_order_of_table_prices_and_usage_does_not_matter(chance: random.Random) -> None:
    used = [InUse("codex", "gpt-5.4"), InUse("openrouter", "kimi-k2"), InUse("claude", "house-model-7")]
    straight = entries(in_use=tuple(used))
    lines = [line.strip("| \n").split(" | ") for line in TABLE.splitlines()]
    columns = [0, 1, *chance.sample(range(2, len(lines[0])), len(lines[0]) - 2)]
    turned = "".join(f"| {' | '.join(cells[place] for place in columns)} |\n" for cells in lines)
    chance.shuffle(used)
    assert entries(turned, chance.sample(RATES, len(RATES)), in_use=tuple(used)) == straight


# ------------------------------------------------------------------ prices


def test_a_row_carries_the_rates_of_its_own_model() -> None:
    row = rows()["Claude Opus 4.5"]
    assert (row.inferred_provider, row.maker, row.canonical_model_guess) == ("claude", "anthropic", "claude-opus-4-5")
    assert (row.pricing_provider, row.pricing_model, row.pricing_channel) == ("claude", "claude-opus-4-5", "anthropic")
    assert prices(row) == [*usd("5", "25", "6.25", "0.5"), None, None]
    assert (row.pricing_context, row.pricing_list_basis, row.pricing_confidence) == ("standard", "channel", 100)
    assert (row.pricing_source, row.pricing_source_version) == ("a list", "1")
    assert (row.pricing_as_of, row.pricing_note) == ("2026-11-21T12:00:00Z", "")


def test_a_model_that_nobody_knows_stays_without_maker_and_price() -> None:
    row = rows()["Acme Coder 9"]
    assert (row.inferred_provider, row.maker, row.canonical_model_guess) == (None, None, None)
    assert (row.provider_mapping_confidence, row.model_mapping_confidence, row.model_mapping_rule) == (
        0,
        0,
        "unknown_name",
    )
    assert prices(row) == [None] * 6
    assert (row.pricing_provider, row.pricing_model, row.pricing_channel, row.pricing_confidence) == (None,) * 4
    assert row.pricing_note == "the name does not say for certain which model it is"
    assert row.is_canonical is False
    # what the table says of it is kept
    assert [row.benchmark_input_usd_per_mtok, row.benchmark_quality_score] == usd("3", "70")


@pytest.mark.parametrize(
    ("name", "maker"),
    [("Claude Opus 9.9", "anthropic"), ("Opus", "anthropic"), ("GPT-5.4 Turbo Max", "openai")],
)
def test_a_name_that_only_tells_its_maker_has_no_relatives_price(name: str, maker: str) -> None:
    row = rows(table_of(name))[name]
    assert (row.maker, row.canonical_model_guess) == (maker, None)
    assert prices(row) == [None] * 6
    assert row.pricing_note


def test_a_resellers_price_is_not_the_makers() -> None:
    found = rows()
    assert prices(found["Kimi K2"]) == [None] * 6
    assert found["Kimi K2"].canonical_model_guess == "kimi-k2"
    assert found["Kimi K2"].pricing_note == "no list price of kimi-k2 on channel moonshotai"
    # two resellers list it, cheaper and dearer
    assert found["Claude Opus 4.5"].pricing_input_usd_per_mtok == 5


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("GPT-6.1 Sol", "gpt-6-sol"),
        ("GPT-6 Sol", "gpt-6.1-sol"),
        ("GPT-5.1 Codex Mini", "gpt-5.1-codex"),
        ("GPT-5.1 Codex Max", "gpt-5.1"),
        ("GPT-5 Mini", "gpt-5"),
        ("Claude Opus 5.5", "claude-opus-5"),
        ("Kimi K2 Thinking", "kimi-k2"),
        ("GLM-4.7 Flash", "glm-4.7"),
    ],
)
def test_a_relatives_price_is_not_its_own(name: str, listed: str) -> None:
    channels = ("anthropic", "openai", "moonshotai", "zai")
    row = rows(table_of(name), [rate(channel, listed, "1", "2", "1", "1") for channel in channels])[name]
    assert row.canonical_model_guess not in (None, listed)
    assert prices(row) == [None] * 6
    assert row.pricing_note.startswith(f"no list price of {row.canonical_model_guess} on channel ")


def test_a_mode_that_costs_more_never_carries_the_standard_price() -> None:
    name = "Claude Opus 4.5 Fast"
    assert prices(rows(table_of(name))[name]) == [None] * 6
    assert rows(table_of(name))[name].pricing_note == "claude-opus-4-5 has no list price in context speed=fast"

    fast = rate("anthropic", "claude-opus-4-5", "30", "150", "37.5", "3", context="speed=fast")
    row = rows(table_of(name), [*RATES, fast])[name]
    assert row.modifiers == row.pricing_context == "speed=fast"
    assert row.pricing_input_usd_per_mtok == 30


def test_effort_changes_no_price() -> None:
    high, low = (rows()[f"GPT-5 ({effort})"] for effort in ("high", "low"))
    assert (high.modifiers, low.modifiers) == ("effort=high", "effort=low")
    assert prices(high) == prices(low) == [*usd("1.25", "10", "1.25", "0.125"), None, None]


def test_a_step_for_long_prompts_stands_beside_the_price_below_it() -> None:
    row = rows()["GPT-5.4"]
    assert [row.pricing_input_usd_per_mtok, row.pricing_output_usd_per_mtok] == usd("2.5", "15")
    assert [row.long_context_input_usd_per_mtok, row.long_context_output_usd_per_mtok] == usd("5", "22.5")
    assert row.long_context_from_tokens == 272_000
    plain = rows()["GLM-5"]
    assert (plain.long_context_from_tokens, plain.long_context_input_usd_per_mtok) == (None, None)


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (datetime(2026, 11, 30, 23, tzinfo=UTC), "2"),
        (datetime(2026, 12, 1, 0, tzinfo=UTC), "4"),
        (datetime(2025, 1, 1, tzinfo=UTC), None),
    ],
)
def test_prices_are_those_of_the_moment(as_of: datetime, expected: str | None) -> None:
    rates = [
        rate("zai", "glm-5", "2", "3", "2", "2", valid_from_utc="2026-01-01", valid_to_utc="2026-12-01"),
        rate("zai", "glm-5", "4", "6", "4", "4", valid_from_utc="2026-12-01"),
    ]
    row = rows(table_of("GLM-5"), rates, as_of=as_of)["GLM-5"]
    assert row.pricing_input_usd_per_mtok == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(("hour", "expected"), [(12, "0.15"), (1, "0.3")])
def test_prices_that_change_within_the_day_are_those_of_the_hour(hour: int, expected: str) -> None:
    rates = [
        rate("deepseek", "deepseek-v4-flash", "0.3", "1", "0.3", "0.1", tod_from="00:30", tod_to="08:30"),
        rate("deepseek", "deepseek-v4-flash", "0.15", "1", "0.15", "0.1", tod_from="08:30", tod_to="24:00"),
    ]
    row = rows(table_of("DeepSeek V4 Flash"), rates, as_of=NOON.replace(hour=hour))["DeepSeek V4 Flash"]
    assert row.pricing_input_usd_per_mtok == Decimal(expected)


def test_a_book_comes_first_and_states_fee_and_tool_rates() -> None:
    own = {
        "input_usd_per_mtok": 3,
        "output_usd_per_mtok": 12,
        "cache_read_usd_per_mtok": 0.3,
        "tool_input_usd_per_mtok": 1,
    }
    found = rows(book=book(**{"claude-opus-4-5": own}))
    row = found["Claude Opus 4.5"]
    # what the book does not price apart costs as input
    assert prices(row) == [*usd("3", "12", "3", "0.3", "1"), None]
    assert (row.pricing_subscription_usd_month, row.pricing_source) == (Decimal(200), "a bill")
    # other providers are the price list's
    assert found["GPT-5.4"].pricing_input_usd_per_mtok == Decimal("2.5")
    assert found["GPT-5.4"].pricing_subscription_usd_month is None


# ------------------------------------------------------------------ the benchmark table beside it


def test_differences_to_the_tables_prices_are_stated_where_both_are_known() -> None:
    found = rows()
    differences = {
        name: (row.pricing_vs_benchmark_input_delta, row.pricing_vs_benchmark_output_delta)
        for name, row in found.items()
    }
    assert differences["Claude Opus 4.5"] == (Decimal(0), Decimal(0))
    assert differences["GLM-5"] == (Decimal(-1), None)
    assert differences["Acme Coder 9"] == differences["Kimi K2"] == (None, None)


def test_counts_of_the_table_are_those_of_the_model() -> None:
    row = rows()["GPT-5.4"]
    # two prices and one benchmark of six rows hold a value
    assert (row.benchmark_rows_total, row.benchmark_rows_non_missing, row.benchmark_rows_missing) == (6, 3, 3)
    assert row.benchmark_prior_rows_total == 4
    assert (row.benchmark_prior_rows_non_missing, row.benchmark_prior_rows_missing) == (1, 3)
    assert (row.benchmark_distinct_total, row.benchmark_distinct_non_missing) == (6, 3)


def test_quality_is_shown_with_the_name_of_its_benchmark() -> None:
    found = rows()
    assert {row.benchmark_quality_name for row in found.values()} == {"SWE-Bench Pro | Public set, Scale leaderboard"}
    assert found["GPT-5.4"].benchmark_quality_score == 60
    assert found["GPT-5 (low)"].benchmark_quality_score is None


# ------------------------------------------------------------------ what is joined to


def test_one_row_of_each_provider_and_model_is_there_to_join_to() -> None:
    found = rows(in_use=(InUse("codex", "gpt-5"), InUse("openrouter", "gpt-5")))
    joined = [(row.inferred_provider, row.canonical_model_guess) for row in found.values() if row.is_canonical]
    known = {
        (row.inferred_provider, row.canonical_model_guess)
        for row in found.values()
        if row.canonical_model_guess is not None
    }
    assert sorted(joined) == sorted(known)


def test_the_name_without_modifiers_is_the_one_to_join_to() -> None:
    found = rows(table_of("GPT-5 (high)", "GPT-5", "GPT-5 (low)"))
    assert {name: row.is_canonical for name, row in found.items()} == {
        "GPT-5": True,
        "GPT-5 (high)": False,
        "GPT-5 (low)": False,
    }


def test_a_model_of_which_the_table_has_efforts_alone_gets_a_row_that_all_its_usage_joins_to() -> None:
    row = rows()["codex/gpt-5"]
    assert (row.inferred_provider, row.canonical_model_guess, row.modifiers) == ("codex", "gpt-5", "")
    assert (row.is_canonical, row.is_in_use, row.provider_mapping_rule) == (True, False, "openai.gpt")
    assert prices(row) == prices(rows()["GPT-5 (high)"])
    # a figure of one effort is not that of the model
    assert (row.benchmark_rows_non_missing, row.benchmark_quality_score) == (0, None)


def test_models_in_use_that_the_table_has_are_marked_and_get_no_second_row() -> None:
    found = rows(in_use=(InUse("claude", "claude-opus-4-5"), InUse("codex", "gpt-5")))
    assert found.keys() == rows().keys()
    assert [name for name, row in found.items() if row.is_in_use] == [
        "Claude Opus 4.5",
        "codex/gpt-5",
        "GPT-5 (high)",
        "GPT-5 (low)",
    ]
    assert not any(row.is_in_use for row in rows().values())


def test_a_model_in_use_that_the_table_lacks_gets_a_row_with_nothing_measured() -> None:
    row = rows(table_of("GLM-5"), in_use=(InUse("codex", "gpt-5.4"),))["codex/gpt-5.4"]
    assert (row.inferred_provider, row.canonical_model_guess, row.is_canonical, row.is_in_use) == (
        *("codex", "gpt-5.4"),
        *(True, True),
    )
    assert (row.provider_mapping_rule, row.provider_mapping_confidence) == ("booked", 100)
    assert prices(row)[:4] == usd("2.5", "15", "2.5", "0.25")
    assert (row.benchmark_rows_total, row.benchmark_rows_non_missing, row.benchmark_rows_missing) == (1, 0, 1)
    assert row.benchmark_quality_score is None


def test_a_model_through_a_reseller_has_the_resellers_price() -> None:
    found = rows(in_use=(InUse("openrouter", "claude-opus-4-5"),))
    reseller, maker = found["openrouter/claude-opus-4-5"], found["Claude Opus 4.5"]
    assert (reseller.inferred_provider, reseller.maker, reseller.pricing_channel) == (
        "openrouter",
        "anthropic",
        "openrouter",
    )
    assert prices(reseller)[:4] == usd("4", "20", "4", "0.4")
    assert prices(maker)[:4] == usd("5", "25", "6.25", "0.5")


def test_a_reseller_without_a_list_is_marked_as_priced_by_the_maker() -> None:
    row = rows(in_use=(InUse("azure", "gpt-5.4"),))["azure/gpt-5.4"]
    assert (row.pricing_provider, row.pricing_channel) == ("azure", "openai")
    assert (row.pricing_list_basis, row.pricing_confidence) == ("maker", 84)


def test_a_model_in_use_that_nobody_knows_is_kept_by_its_own_name() -> None:
    row = rows(in_use=(InUse("claude", "house-model-7"),))["claude/house-model-7"]
    assert (row.inferred_provider, row.canonical_model_guess, row.maker) == ("claude", "house-model-7", None)
    assert (row.model_mapping_confidence, row.is_canonical) == (0, True)
    assert prices(row) == [None] * 6
