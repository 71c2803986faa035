"""LiteLLM's real list, and a table in which 50 of its models were compared by hand with the built-in price list.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.lists import litellm
from tokenledger_dagster.pricing.lists.compare import disagreements, missing
from tokenledger_dagster.pricing.lists.converted import Converted, channel_of
from tokenledger_dagster.pricing.rates import COLUMNS

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "pricing"
LIST = FILES / "litellm" / "model_prices_and_context_window_backup.json"
COMPARED = FILES / "price_compare_2026-11-20.csv"
DAY = date(2026, 11, 20)
NOON = "12:00"
"""The table compares the rates of this time, UTC."""
TOD_FROM, TOD_TO = COLUMNS.index("tod_from"), COLUMNS.index("tod_to")

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(
        not (LIST.is_file() and COMPARED.is_file()), reason="TOKENLEDGER_CONFORMANCE_DIR has no price lists below it"
    ),
]


@pytest.fixture(scope="module")
def converted() -> Converted:
    return litellm.rows(LIST.read_bytes(), DAY)


@pytest.fixture(scope="module")
def compared() -> list[dict[str, str]]:
    with COMPARED.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def built_in() -> list[list[str]]:
    with (CONFIG_DIRECTORY / "rates.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))[1:]


def canonical(line: dict[str, str]) -> str:
    return resolve_model(line["model"], "", DAY.isoformat()).model


def keys(compared: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(line["genai_provider"], canonical(line)) for line in compared}


def flagged(compared: list[dict[str, str]], flag: str) -> set[str]:
    return {canonical(line) for line in compared if flag in line["flags"]}


def at_noon(rows: Sequence[list[str]]) -> list[list[str]]:
    return [row for row in rows if not row[TOD_FROM] or row[TOD_FROM] <= NOON < row[TOD_TO]]


def nano(usd: str) -> str:
    return str(int(Decimal(usd) * 10**9))


def test_every_entry_is_a_row_or_counted(converted: Converted) -> None:
    used = {row[COLUMNS.index("price_list_model")] for row in converted.rows}

    assert converted.source_version == "8f8060d8ce7a@2026-11-20"
    assert len(used) + sum(converted.skipped.values()) == len(json.loads(LIST.read_bytes())) == 4553
    # what does not depend on which models the ledger knows
    assert {
        name: converted.skipped[name] for name in ("not_a_model", "other_mode", "no_price", "more_than_one_tier")
    } == {
        "not_a_model": 2,
        "other_mode": 1051,
        "no_price": 114,
        "more_than_one_tier": 12,
    }
    assert converted.skipped.keys() <= {
        *("not_a_model", "other_mode", "no_price", "more_than_one_tier"),
        *("unmapped_provider", "unknown_model", "zero_rate", "same_model_again"),
    }
    assert len(converted.rows) > 1000


def test_every_price_of_the_table_is_what_the_conversion_gives(
    converted: Converted, compared: list[dict[str, str]]
) -> None:
    entries = json.loads(LIST.read_bytes())
    names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    rows = {tuple(row[:3]): dict(zip(COLUMNS, row, strict=True)) for row in converted.rows}
    priced = [line for line in compared if line["litellm_input"]]
    expected, found = {}, {}
    for line in priced:
        given = {name: line[f"litellm_{name}"] for name in names}
        # what the list does not price costs what its parent does
        given["cache_write_5m"] = given["cache_write_5m"] or given["input"]
        given["cache_write_1h"] = given["cache_write_1h"] or given["cache_write_5m"]
        key = line["litellm_key"]
        place = (channel_of("litellm", entries[key]["litellm_provider"]), canonical(line), "standard")
        expected[key] = {name: nano(given[name]) for name in names}
        found[key] = {name: rows[place][name] for name in names}

    assert len(priced) == 44
    assert found == expected


def test_models_disagree_where_the_table_says_so(
    converted: Converted, compared: list[dict[str, str]], built_in: list[list[str]]
) -> None:
    noon = at_noon(built_in)
    differing = disagreements(noon, converted.rows, DAY, keys=keys(compared))

    assert {one.model for one in differing if one.unit != "tier"} == flagged(compared, "DISAGREE")
    assert {one.model for one in differing if one.unit == "tier"} == flagged(compared, "tier only in")
    both = keys(compared) - {(one.channel, one.model) for one in missing(noon, converted.rows, keys(compared))}
    both &= {(row[0], row[1]) for row in noon}
    assert (len(both), len(flagged(compared, "DISAGREE"))) == (42, 4)


def test_rates_by_the_time_of_day_disagree_only_off_peak(
    converted: Converted, compared: list[dict[str, str]], built_in: list[list[str]]
) -> None:
    """LiteLLM lists DeepSeek's peak price: at noon, off peak, it is twice the built-in list's, at peak the same."""
    noon = disagreements(at_noon(built_in), converted.rows, DAY, keys=keys(compared))
    day = disagreements(built_in, converted.rows, DAY, keys=keys(compared))

    assert [
        (one.model, one.unit, str(one.ours_usd_per_mtok), str(one.theirs_usd_per_mtok), str(one.difference_percent))
        for one in noon
        if one.time_of_day
    ] == [
        ("deepseek-v4-flash", "cache_read", "0.003", "0.006", "100.00"),
        ("deepseek-v4-flash", "cache_write_1h", "0.15", "0.3", "100.00"),
        ("deepseek-v4-flash", "cache_write_5m", "0.15", "0.3", "100.00"),
        ("deepseek-v4-flash", "input", "0.15", "0.3", "100.00"),
        ("deepseek-v4-flash", "output", "0.6", "1.2", "100.00"),
        ("deepseek-v4-pro", "cache_read", "0.022", "0.044", "100.00"),
        ("deepseek-v4-pro", "cache_write_1h", "0.66", "1.32", "100.00"),
        ("deepseek-v4-pro", "cache_write_5m", "0.66", "1.32", "100.00"),
        ("deepseek-v4-pro", "input", "0.66", "1.32", "100.00"),
        ("deepseek-v4-pro", "output", "1.98", "3.96", "100.00"),
    ]
    assert {(one.model, one.unit == "tier") for one in day} == {
        ("claude-sonnet-4-5", True),
        ("grok-code-fast-1", False),
        ("grok-code-fast-1", True),
        ("mistral-large-4", False),
    }
    assert not any(one.time_of_day for one in day)


def test_models_are_missing_where_the_table_says_so(
    converted: Converted, compared: list[dict[str, str]], built_in: list[list[str]]
) -> None:
    lacking = missing(built_in, converted.rows, keys([line for line in compared if line["genai_input"]]))

    assert {(one.model, one.only_in) for one in lacking} == {
        (model, "ours") for model in flagged(compared, "missing in LiteLLM")
    }
    # LiteLLM has these on their makers' channels, which the built-in list lacks altogether
    theirs = {(one.channel, one.model) for one in missing(built_in, converted.rows) if one.only_in == "theirs"}
    assert {("alibaba", "qwen3.8-max"), ("cognition", "swe-1.7")} <= theirs
    assert flagged(compared, "missing in genai") == {"qwen3.8-max", "swe-1.7"}
