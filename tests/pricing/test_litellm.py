"""LiteLLM's price list as rate rows: what each of its fields becomes, and what is passed over."""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.models import rules
from tokenledger_dagster.pricing.context import channels
from tokenledger_dagster.pricing.lists import converted, litellm
from tokenledger_dagster.pricing.lists.converted import Converted, PriceListError
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import COLUMNS

DAY = date(2026, 11, 20)
OPUS = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 4e-06,
    "output_cost_per_token": 2e-05,
    "cache_creation_input_token_cost": 5e-06,
    "cache_creation_input_token_cost_above_1hr": 8e-06,
    "cache_read_input_token_cost": 2e-07,
}


def plain(provider: str = "openai", **fields: Any) -> dict[str, Any]:
    """An entry at 2 USD in and 10 USD out per million tokens; None leaves a field out."""
    entry = {
        "litellm_provider": provider,
        "mode": "chat",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 1e-05,
        **fields,
    }
    return {name: value for name, value in entry.items() if value is not None}


def convert(entries: object, observed: date = DAY) -> Converted:
    return litellm.rows(entries if isinstance(entries, bytes) else json.dumps(entries).encode(), observed)


def cells(found: Converted) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in found.rows]


def units(found: Converted) -> dict[str, str]:
    """Input, cache read, 5-minute write, 1-hour write, output in USD per million tokens, by context."""
    return {row["context"]: rates(row, "") for row in cells(found)}


def high(found: Converted) -> dict[str, str]:
    """Where another rate begins, and the units above it, by context."""
    return {row["context"]: f"{row['tier_from_tokens']}: {rates(row, '_high')}" for row in cells(found)}


def rates(row: dict[str, str], suffix: str) -> str:
    names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    return " ".join(f"{int(row[name + suffix]) / 10**9:g}" if row[name + suffix] else "-" for name in names)


# ------------------------------------------------------------------ rows


def test_an_entry_is_a_row_of_the_rate_table() -> None:
    content = json.dumps({"claude-opus-5-5": OPUS}).encode()

    found = litellm.rows(content, DAY)

    version = hashlib.sha256(content).hexdigest()[:12] + "@2026-11-20"
    assert found.source_version == version
    assert found.rows == [
        [
            *("anthropic", "claude-opus-5-5", "standard", "", "", "", "", "", ""),
            *("4000000000", "200000000", "5000000000", "8000000000", "20000000000"),
            *("", "", "", "", ""),
            *("yes", "claude-opus-5-5", "litellm", version, "active", "80"),
        ]
    ]
    assert (found.skipped, found.notes) == ({}, {})


def test_rows_resolve_in_a_rate_table() -> None:
    table = RateTable(convert({"claude-opus-5-5": OPUS}).rows, "snapshot")

    rate = table.resolve("anthropic", "claude-opus-5-5", "standard", 0)

    assert rate is not None
    assert (rate.input, rate.output, rate.confidence, rate.source) == (4_000_000_000, 20_000_000_000, 80, "litellm")


def test_rows_are_sorted_whatever_the_order_of_the_list() -> None:
    entries = {"gpt-5.4": plain(), "claude-opus-5-5": OPUS, "azure/gpt-5.4": plain("azure")}

    found = convert(entries)
    turned = convert(dict(reversed(entries.items())))

    assert [row[:2] for row in found.rows] == [
        ["anthropic", "claude-opus-5-5"],
        ["azure", "gpt-5.4"],
        ["openai", "gpt-5.4"],
    ]
    # the version differs: the bytes do
    assert [row[:22] for row in turned.rows] == [row[:22] for row in found.rows]


@pytest.mark.parametrize(
    ("literal", "nano"),
    [
        ("4e-06", "4000000000"),
        ("0.000004", "4000000000"),
        ("4E-6", "4000000000"),
        # what a float makes of 1e-07; the noise is below a nano-USD
        ("1.0000000000000001e-07", "100000000"),
        ("7.5e-08", "75000000"),
        ("1.23456789012345e-06", "1234567890"),
        # half a nano-USD goes to the even neighbour
        ("1.2345678905e-06", "1234567890"),
        ("1.2345678915e-06", "1234567892"),
        ('"0.000004"', "4000000000"),
        ("0.01", "10000000000000"),
    ],
)
def test_prices_are_exact(literal: str, nano: str) -> None:
    found = convert(
        b'{"gpt-5.4": {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-05, '
        b'"input_cost_per_token": ' + literal.encode() + b"}}"
    )

    assert cells(found)[0]["input"] == nano


@settings(max_examples=100)
@given(st.integers(1, 10**13))
def test_a_nano_usd_per_million_tokens_survives_the_list(nano: int) -> None:
    found = convert({"gpt-5.4": plain(input_cost_per_token=f"{nano}e-15")})

    assert cells(found)[0]["input"] == str(nano)


# ------------------------------------------------------------------ units that are not priced apart


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "2 2 2 2 10"),
        ({"cache_read_input_token_cost": 2e-07}, "2 0.2 2 2 10"),
        ({"input_cost_per_token_cache_hit": 2e-07}, "2 0.2 2 2 10"),
        ({"input_cost_per_token_cache_hit": 9e-07, "cache_read_input_token_cost": 2e-07}, "2 0.2 2 2 10"),
        ({"cache_creation_input_token_cost": 2.5e-06}, "2 2 2.5 2.5 10"),
        (
            {"cache_creation_input_token_cost": 2.5e-06, "cache_creation_input_token_cost_above_1hr": 4e-06},
            "2 2 2.5 4 10",
        ),
        ({"cache_creation_input_token_cost": 0, "cache_read_input_token_cost": 0.0}, "2 2 2 2 10"),
        (
            {"cache_creation_input_token_cost": 2.5e-06, "cache_creation_input_token_cost_above_1hr": 0},
            "2 2 2.5 2.5 10",
        ),
        ({"cache_creation_input_token_cost_above_12hr": 5e-06}, "2 2 2 2 10"),
        ({"cache_read_input_token_cost": None, "input_cost_per_audio_token": 1e-03}, "2 2 2 2 10"),
    ],
)
def test_a_unit_without_a_price_costs_what_its_parent_does(fields: dict[str, Any], expected: str) -> None:
    assert units(convert({"gpt-5.4": plain(**fields)})) == {"standard": expected}


def test_another_price_for_reasoning_is_noted() -> None:
    found = convert(
        {
            "gpt-5.4": plain(output_cost_per_reasoning_token=3e-05),
            "gpt-5.5": plain(output_cost_per_reasoning_token=1e-05),
            "gpt-5.2": plain(output_cost_per_reasoning_token=0),
        }
    )

    assert found.notes == {"reasoning_rate_differs": 1}
    assert len(found.rows) == 3


def test_off_peak_windows_are_noted() -> None:
    windows = {"input_cost_per_token": 1e-06, "windows": [{"hours_utc": "00:00-01:00", "weekdays": [6, 7]}]}

    assert convert({"gpt-5.4": plain(off_peak_pricing=windows)}).notes == {"off_peak_not_kept": 1}


# ------------------------------------------------------------------ tiers


@pytest.mark.parametrize("thousands", [1, 32, 128, 200, 272, 512, 1000])
def test_a_tier_begins_above_any_number_of_tokens(thousands: int) -> None:
    found = convert(
        {
            "gpt-5.4": plain(
                **{
                    f"input_cost_per_token_above_{thousands}k_tokens": 4e-06,
                    f"output_cost_per_token_above_{thousands}k_tokens": 1.5e-05,
                }
            )
        }
    )

    row = cells(found)[0]
    assert (row["tier_from_tokens"], row["tier_inclusive"]) == (f"{thousands}000", "false")
    assert high(found) == {"standard": f"{thousands}000: 4 4 4 4 15"}


def test_above_the_tier_a_unit_keeps_its_rate_or_follows_its_parent() -> None:
    found = convert(
        {
            "claude-opus-5-5": {
                **OPUS,
                "input_cost_per_token_above_200k_tokens": 8e-06,
                "cache_creation_input_token_cost_above_200k_tokens": 1e-05,
            },
            "gpt-5.4": plain(
                input_cost_per_token_above_200k_tokens=4e-06,
                cache_creation_input_token_cost=2.5e-06,
                cache_creation_input_token_cost_above_1hr_above_200k_tokens=8e-06,
                cache_creation_input_token_cost_above_200k_tokens=5e-06,
            ),
        }
    )

    # reads, 1-hour writes and output have a rate below and none above; gpt-5.4's reads have none at all
    assert [rates(row, "_high") for row in cells(found)] == ["8 0.2 10 8 20", "4 4 5 5 10"]


def test_a_price_above_the_tier_alone_is_a_slip() -> None:
    found = convert(
        {
            "gemini-2.5-pro": plain(
                "vertex_ai-language-models",
                input_cost_per_token_above_200k_tokens=4e-06,
                cache_creation_input_token_cost_above_200k_tokens=2.5e-07,
            )
        }
    )

    assert high(found) == {"standard": "200000: 4 4 4 4 10"}


@pytest.mark.parametrize(
    "fields",
    [
        {"input_cost_per_token_above_128k_tokens": 4e-06, "input_cost_per_token_above_256k_tokens": 6e-06},
        {"input_cost_per_token_above_128k_tokens": 4e-06, "input_cost_per_token_above_256k_tokens_priority": 6e-06},
        {"input_cost_per_token_above_128k_tokens": 4e-06, "tiered_pricing": [[0, 256_000], [256_000, 10**6]]},
        {"tiered_pricing": [[0, 32_000], [32_000, 256_000], [256_000, 10**6]]},
    ],
)
def test_a_model_with_more_than_one_tier_is_passed_over(fields: dict[str, Any]) -> None:
    if bands := fields.get("tiered_pricing"):
        prices = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
        fields = {**fields, "tiered_pricing": [{"range": band, **prices} for band in bands]}

    found = convert({"gpt-5.4": plain(**fields)})

    assert (found.rows, found.skipped) == ([], {"more_than_one_tier": 1})


def test_tiered_pricing_stands_for_prices_and_a_tier() -> None:
    found = convert(
        {
            "dashscope/qwen3.7-plus": plain(
                "dashscope",
                input_cost_per_token=None,
                output_cost_per_token=None,
                tiered_pricing=[
                    {"range": [256e3, 1e6], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 4.8e-06},
                    {
                        "range": [0, 256e3],
                        "input_cost_per_token": 4e-07,
                        "cache_read_input_token_cost": 8e-08,
                        "output_cost_per_token": 1.6e-06,
                        "output_cost_per_reasoning_token": 4e-06,
                    },
                ],
            ),
            "dashscope/qwen3.8-max": plain(
                "dashscope",
                cache_read_input_token_cost=1e-07,
                tiered_pricing=[{"range": [0, 1e6], "input_cost_per_token": 3e-06}],
            ),
        }
    )

    first, second = cells(found)
    assert (first["channel"], first["tier_from_tokens"], first["own_channel"]) == ("alibaba", "256000", "yes")
    assert (rates(first, ""), rates(first, "_high")) == ("0.4 0.08 0.4 0.4 1.6", "1.2 0.08 1.2 1.2 4.8")
    assert (rates(second, ""), second["tier_from_tokens"]) == ("3 0.1 3 3 10", "")
    assert found.notes == {"reasoning_rate_differs": 1}


@pytest.mark.parametrize(
    "bands",
    [
        7,
        {"range": [0, 1]},
        [7],
        [{}],
        [{"range": [0]}],
        [{"range": ["a", "b"]}],
        [{"range": [5, 5]}],
        [{"range": [0, 1.5]}],
        [{"range": [0, -1]}],
        [{"range": [0, "1e400"]}],
        [{"range": [1000, 2000]}],
        [{"range": [0, 1000]}, {"range": [2000, 3000]}],
        [{"range": [0, 2000]}, {"range": [1000, 3000]}],
        [{"range": [0, None]}],
    ],
)
def test_bands_that_do_not_follow_each_other_are_passed_over(bands: object) -> None:
    assert convert({"gpt-5.4": plain(tiered_pricing=bands)}).skipped == {"bad_tier": 1}


# ------------------------------------------------------------------ contexts


def test_services_are_contexts_with_tiers_of_their_own() -> None:
    found = convert(
        {
            "gpt-5.4": plain(
                input_cost_per_token_above_272k_tokens=4e-06,
                output_cost_per_token_above_272k_tokens=1.5e-05,
                input_cost_per_token_priority=4e-06,
                output_cost_per_token_priority=2e-05,
                input_cost_per_token_above_272k_tokens_priority=8e-06,
                input_cost_per_token_flex=1e-06,
                output_cost_per_token_flex=5e-06,
                input_cost_per_token_batches=1e-06,
                output_cost_per_token_batches=5e-06,
                input_cost_per_token_ultrafast=1e-05,
                output_cost_per_token_ultrafast=5e-05,
            )
        }
    )

    assert units(found) == {
        "standard": "2 2 2 2 10",
        "processing=batch": "1 1 1 1 5",
        "service_tier=flex": "1 1 1 1 5",
        "service_tier=priority": "4 4 4 4 20",
    }
    assert high(found) == {
        "standard": "272000: 4 4 4 4 15",
        "processing=batch": ": - - - - -",
        "service_tier=flex": ": - - - - -",
        "service_tier=priority": "272000: 8 8 8 8 20",
    }


def test_a_service_without_both_prices_is_noted() -> None:
    found = convert(
        {
            "gpt-5.4": plain(input_cost_per_token_flex=1e-06),
            "gpt-5.5": plain(input_cost_per_token_priority=0, output_cost_per_token_priority=0),
        }
    )

    assert found.notes == {"variant_without_price": 2}
    assert [row["context"] for row in cells(found)] == ["standard", "standard"]


def test_what_only_the_standard_context_prices_holds_for_a_service_too() -> None:
    batch = {"input_cost_per_token_batches": 2e-06, "output_cost_per_token_batches": 1e-05}

    unnamed = convert({"claude-opus-5-5": {**OPUS, **batch}})
    named = convert(
        {
            "claude-opus-5-5": {
                **OPUS,
                **batch,
                "cache_read_input_token_cost_batches": 1e-07,
                "cache_creation_input_token_cost_batches": 2.5e-06,
            }
        }
    )

    # writes keep their ratio to input; a read costs what it does in the standard context
    assert units(unnamed)["processing=batch"] == "2 0.2 2.5 4 10"
    assert units(named)["processing=batch"] == "2 0.1 2.5 4 10"


def test_a_read_of_a_service_costs_at_most_its_input() -> None:
    found = convert(
        {
            "gpt-5.4": plain(
                cache_read_input_token_cost=1.5e-06,
                input_cost_per_token_flex=1e-06,
                output_cost_per_token_flex=5e-06,
                input_cost_per_token_priority=4e-06,
                output_cost_per_token_priority=2e-05,
            )
        }
    )

    assert units(found) == {
        "standard": "2 1.5 2 2 10",
        "service_tier=flex": "1 1 1 1 5",
        "service_tier=priority": "4 1.5 4 4 20",
    }


def test_a_services_tier_is_completed_from_the_standard_one() -> None:
    found = convert(
        {
            "gpt-5.4": plain(
                cache_read_input_token_cost=2e-07,
                input_cost_per_token_above_272k_tokens=4e-06,
                cache_read_input_token_cost_above_272k_tokens=4e-07,
                input_cost_per_token_batches=1e-06,
                output_cost_per_token_batches=5e-06,
                input_cost_per_token_above_272k_tokens_batches=2e-06,
            )
        }
    )

    assert units(found)["processing=batch"] == "1 0.2 1 1 5"
    assert high(found)["processing=batch"] == "272000: 2 0.4 2 2 5"


def test_fast_is_a_multiple_of_the_standard_rates() -> None:
    found = convert(
        {
            "claude-opus-5-5": {
                **OPUS,
                "provider_specific_entry": {"fast": 2, "us": 1.1},
                "input_cost_per_token_above_200k_tokens": 6e-06,
            }
        }
    )

    assert units(found) == {"standard": "4 0.2 5 8 20", "speed=fast": "8 0.4 10 16 40"}
    assert high(found)["speed=fast"] == "200000: 12 0.4 10 16 40"


@pytest.mark.parametrize("factor", [0, -2, True, "two", None, [2], 1e400, 101])
def test_an_impossible_multiplier_is_noted(factor: object) -> None:
    found = convert({"claude-opus-5-5": {**OPUS, "provider_specific_entry": {"fast": factor}}})

    assert (list(units(found)), found.notes) == (["standard"], {"bad_multiplier": 1})


@pytest.mark.parametrize("multipliers", [{"us": 1.1}, {}, None, 2, "fast", [{"fast": 2}]])
def test_other_multipliers_are_ignored(multipliers: object) -> None:
    found = convert({"claude-opus-5-5": {**OPUS, "provider_specific_entry": multipliers}})

    assert (list(units(found)), found.notes) == (["standard"], {})


def test_global_endpoints_join_the_other_contexts() -> None:
    found = convert(
        {
            "global.anthropic.claude-opus-5-5": {
                **OPUS,
                "litellm_provider": "bedrock_converse",
                "input_cost_per_token_batches": 2e-06,
                "output_cost_per_token_batches": 1e-05,
            }
        }
    )

    assert [(row["channel"], row["model"], row["context"], row["own_channel"]) for row in cells(found)] == [
        ("aws", "claude-opus-5-5", "endpoint=global", ""),
        ("aws", "claude-opus-5-5", "processing=batch;endpoint=global", ""),
    ]


def test_a_fast_model_of_its_own_name_is_the_fast_context() -> None:
    found = convert(
        {
            "azure_ai/claude-opus-5-5-fast": {
                **OPUS,
                "litellm_provider": "azure_ai",
                "input_cost_per_token_batches": 2e-06,
                "output_cost_per_token_batches": 1e-05,
            }
        }
    )

    assert [row[:3] for row in found.rows] == [["azure", "claude-opus-5-5", "speed=fast"]]
    assert found.notes == {"variant_of_a_variant": 1}


# ------------------------------------------------------------------ nothing to pay


def test_free_only_where_the_key_says_so() -> None:
    nothing = {"input_cost_per_token": 0, "output_cost_per_token": 0.0}
    found = convert(
        {
            "openrouter/z-ai/glm-4.6:free": plain("openrouter", **nothing),
            "opencode_go/gpt-5.4-free": plain("opencode_go", **nothing, input_cost_per_token_batches=1e-06),
            "gpt-5.5": plain(**nothing),
            "gpt-5.2": plain(input_cost_per_token=0),
            "gpt-5.1": plain(output_cost_per_token=0),
            "openrouter/openai/gpt-5.4:free": plain("openrouter"),
            "openrouter/openai/gpt-5.5:free": plain("openrouter", **nothing, cache_read_input_token_cost=1e-06),
        }
    )

    assert [(row["channel"], row["model"], row["context"], rates(row, "")) for row in cells(found)] == [
        ("opencode", "gpt-5.4", "variant=free", "0 0 0 0 0"),
        ("openrouter", "glm-4.6", "variant=free", "0 0 0 0 0"),
    ]
    assert found.skipped == {"free_with_price": 1, "zero_rate": 4}


# ------------------------------------------------------------------ which entries


@pytest.mark.parametrize(
    ("key", "entry", "reason"),
    [
        ("sample_spec", plain(), "not_a_model"),
        ("fallback_generalizations", {"rules": []}, "not_a_model"),
        ("gpt-5.4", "text", "not_an_object"),
        ("gpt-5.4", None, "not_an_object"),
        ("gpt-5.4", [plain()], "not_an_object"),
        ("gpt-5.4", {}, "other_mode"),
        ("gpt-5.4", plain(mode="embedding"), "other_mode"),
        ("gpt-5.4", plain(mode=["chat"]), "other_mode"),
        ("gpt-5.4", plain("a_stranger"), "unmapped_provider"),
        ("gpt-5.4", plain(litellm_provider=None), "unmapped_provider"),
        ("gpt-5.4", plain(litellm_provider={"name": "openai"}), "unmapped_provider"),
        ("gpt-5.4", plain(input_cost_per_token=None), "no_price"),
        ("gpt-5.4", plain(output_cost_per_token=None), "no_price"),
        ("openrouter/openai/gpt-5.4:nitro", plain("openrouter"), "other_variant"),
        ("gemini/gemini-2.5-pro_prompt_greater_than_200k_tokens", plain("gemini"), "other_variant"),
        ("my-own-model", plain(), "unknown_model"),
        ("gpt-5.4-nonesuch", plain(), "unknown_model"),
        ("openai/", plain(), "unknown_model"),
        ("", plain(), "bad_key"),
        ("gpt-5.4\u0000", plain(), "bad_key"),
        ("gpt-5.4\n", plain(), "bad_key"),
        ("gpt-5.4\ud800", plain(), "bad_key"),
        ("\u202egpt-5.4", plain(), "bad_key"),
        ("openai/" * 40 + "gpt-5.4", plain(), "bad_key"),
    ],
)
def test_what_is_no_price_of_a_known_model_is_counted(key: str, entry: object, reason: str) -> None:
    found = convert({key: entry, "claude-opus-5-5": OPUS})

    assert found.skipped == {reason: 1}
    assert len(found.rows) == 1


@pytest.mark.parametrize("mode", ["chat", "responses", "completion"])
def test_modes_that_give_text(mode: str) -> None:
    assert len(convert({"gpt-5.4": plain(mode=mode)}).rows) == 1


@pytest.mark.parametrize(
    "literal",
    [
        *("-1e-06", "NaN", "Infinity", "-Infinity", "1e400", "1e99999999999999999999", "0.010000001", "1e-17"),
        *("true", "false", "[1]", "{}", '""', '"free"', '"1_0"', '" 1e-06"', '"0x10"', r'"\u0661"'),
        '"' + "1" * 101 + '"',
    ],
)
@pytest.mark.parametrize("field", ["input_cost_per_token", "cache_read_input_token_cost", "output_cost_per_token_flex"])
def test_a_rate_that_is_none_costs_the_entry(field: str, literal: str) -> None:
    entry = json.dumps(plain(**{field: "HERE"})).replace('"HERE"', literal)

    found = convert(f'{{"gpt-5.4": {entry}}}'.encode())

    assert (found.rows, found.skipped) == ([], {"bad_rate": 1})


def test_the_channel_comes_from_the_provider_or_the_key() -> None:
    keys = {
        "gpt-5.4": "openai",
        "azure/gpt-5.4": "azure",
        "github_copilot/gpt-5.4": "github_copilot",
        "vertex_ai/claude-opus-5-5": "vertex_ai-anthropic_models",
        "us.anthropic.claude-opus-5-5": "bedrock_converse",
        "xai/grok-4.7": "xai",
        "moonshot/kimi-k3": "moonshot",
        "minimax/MiniMax-M3": "minimax",
        "zai/glm-5.3": "zai",
        "openrouter/anthropic/claude-opus-5.5": None,
        "vercel_ai_gateway/openai/gpt-5.4": "vercel_ai_gateway",
    }

    found = convert({key: plain(litellm_provider=provider) for key, provider in keys.items()})

    assert {(row["price_list_model"], row["channel"], row["model"], row["own_channel"]) for row in cells(found)} == {
        ("gpt-5.4", "openai", "gpt-5.4", "yes"),
        ("azure/gpt-5.4", "azure", "gpt-5.4", ""),
        ("github_copilot/gpt-5.4", "github-copilot", "gpt-5.4", ""),
        ("vertex_ai/claude-opus-5-5", "google", "claude-opus-5-5", ""),
        ("us.anthropic.claude-opus-5-5", "aws", "claude-opus-5-5", ""),
        ("xai/grok-4.7", "x-ai", "grok-4.7", "yes"),
        ("moonshot/kimi-k3", "moonshotai", "kimi-k3", "yes"),
        ("minimax/MiniMax-M3", "minimax", "minimax-m3", "yes"),
        ("zai/glm-5.3", "zai", "glm-5.3", "yes"),
        ("openrouter/anthropic/claude-opus-5.5", "openrouter", "claude-opus-5-5", ""),
        ("vercel_ai_gateway/openai/gpt-5.4", "vercel", "gpt-5.4", ""),
    }
    assert found.skipped == {}


@pytest.mark.parametrize(
    ("keys", "best"),
    [
        # the id itself
        (["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"], "claude-sonnet-4-5"),
        # the surer name
        (["claude-sonnet-4-5-20250929", "claude-4-5-sonnet"], "claude-sonnet-4-5-20250929"),
        # the shorter key
        (["anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"], "claude-sonnet-4-5"),
        # the first by the alphabet
        (["claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"], "claude-sonnet-4-5-20250929"),
    ],
)
def test_one_of_several_keys_of_a_model_counts(keys: list[str], best: str) -> None:
    for order in (keys, keys[::-1]):
        found = convert(dict.fromkeys(order, OPUS))

        assert [row["price_list_model"] for row in cells(found)] == [best]
        assert (found.skipped, found.notes) == ({"same_model_again": 1}, {})


def test_keys_that_differ_in_price_are_ambiguous() -> None:
    found = convert({"gpt-5.4-2026-03-05": plain(output_cost_per_token=9e-06), "gpt-5.4": plain()})

    assert units(found) == {"standard": "2 2 2 2 10"}
    assert (found.skipped, found.notes) == ({"same_model_again": 1}, {"ambiguous": 1})


@pytest.mark.parametrize(("day", "model"), [(date(2026, 2, 4), "gpt-5.2-codex"), (DAY, "gpt-5.5")])
def test_moving_names_are_resolved_by_the_day(day: date, model: str) -> None:
    assert [row["model"] for row in cells(convert({"codex-auto-review": plain()}, day))] == [model]


# ------------------------------------------------------------------ hostile lists


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list.json: is not JSON (line 1, column 1); fetch the list anew from its publisher"),
        (b'{"gpt-5.4": ', "list.json: is not JSON (line 1, column 13); fetch the list anew from its publisher"),
        (b"<html>\n", "list.json: is not JSON (line 1, column 1); fetch the list anew from its publisher"),
        (b'{"a\x00": 1}', "list.json: is not JSON (line 1, column 4); fetch the list anew from its publisher"),
        (b'{"a": "\xff"}', "list.json: byte 7 is not UTF-8; fetch the list anew from its publisher"),
        (b"[]", "list.json: is not a JSON object of models; fetch the list anew from its publisher"),
        (b"null", "list.json: is not a JSON object of models; fetch the list anew from its publisher"),
        (b"1e400", "list.json: is not a JSON object of models; fetch the list anew from its publisher"),
        (
            b"[" * 100_000 + b"]" * 100_000,
            "list.json: is nested too deeply for a price list; fetch the list anew from its publisher",
        ),
        (
            b'{"gpt-5.4": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
            "list.json: is nested too deeply for a price list; fetch the list anew from its publisher",
        ),
    ],
)
def test_what_is_no_list_is_one_line_with_a_remedy(content: bytes, message: str) -> None:
    with pytest.raises(PriceListError) as caught:
        litellm.rows(content, DAY, name="list.json")

    assert str(caught.value) == message


def test_a_byte_order_mark_is_no_fault() -> None:
    assert len(convert(b"\xef\xbb\xbf" + json.dumps({"gpt-5.4": plain()}).encode()).rows) == 1


def test_what_stands_twice_is_passed_over() -> None:
    entry = json.dumps(plain())
    twice = entry[:-1] + ', "input_cost_per_token": 9e-06}'

    found = convert(f'{{"gpt-5.4": {entry}, "gpt-5.4": {entry}, "gpt-5.5": {twice}, "gpt-5.2": {entry}}}'.encode())

    assert [row["model"] for row in cells(found)] == ["gpt-5.2"]
    assert found.skipped == {"duplicate_key": 2}


def test_a_number_of_a_million_digits_is_no_rate() -> None:
    entry = json.dumps(plain(input_cost_per_token="HERE")).replace('"HERE"', "9" * 1_000_000)

    assert convert(f'{{"gpt-5.4": {entry}}}'.encode()).skipped == {"bad_rate": 1}


def test_a_list_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "MOST_ENTRIES", 2)
    assert len(convert({"gpt-5.4": plain(), "gpt-5.5": plain()}).rows) == 2

    with pytest.raises(PriceListError, match=r"^LiteLLM price list: has more than 2 entries; fetch the list anew"):
        convert({"gpt-5.4": plain(), "gpt-5.5": plain(), "gpt-5.2": plain()})


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        *("mode", "litellm_provider", "tiered_pricing", "provider_specific_entry", "off_peak_pricing"),
        *("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost"),
        *("input_cost_per_token_above_200k_tokens", "output_cost_per_reasoning_token"),
        *("input_cost_per_token_priority", "output_cost_per_token_priority"),
    ]
)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["gpt-5.4", "xai/grok-4.7", "sample_spec"]) | st.text(), st.dictionaries(FIELDS, JSON)
    )
)
def test_whatever_an_entry_holds_it_is_a_row_or_counted(entries: dict[str, dict[str, Any]]) -> None:
    found = convert({key: {**plain(), **fields} for key, fields in entries.items()})

    keys = {row["price_list_model"] for row in cells(found)}
    assert len(keys) + sum(found.skipped.values()) == len(entries)
    assert all(int(row[name]) > 0 for row in cells(found) for name in ("input", "output"))


@settings(max_examples=100)
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_rows_or_an_error(content: bytes) -> None:
    with contextlib.suppress(PriceListError):
        litellm.rows(content, DAY)


# ------------------------------------------------------------------ the channel table


def test_channels_of_price_lists_are_channels_of_the_ledger() -> None:
    table = rules.read_config("price_list_channels.csv")
    kinds = ("price_list", "maker", "upstream")
    named = {channel for kind in kinds for channel in channels(kind).values()}
    named |= {value for rule in rules.rewrite_rules() for key, value in rule.modifiers if key == "channel"}
    resellers = next(rule for rule in rules.rewrite_rules() if rule.name == "channel.reseller")
    places = {row["channel"] for row in table} - named

    assert {place for place in places if not resellers.pattern.match(f"{place}/x")} == set()
    assert {row["list"] for row in table} == {"litellm", "models.dev"}
    assert len({(row["list"], row["key"]) for row in table}) == len(table)


def test_the_day_on_which_a_maker_withdraws_a_model_is_told_by_its_own_channel() -> None:
    content = json.dumps(
        {
            "claude-opus-4-20250514": {"litellm_provider": "anthropic", "deprecation_date": "2026-05-14"},
            "anthropic.claude-opus-4-20250514-v1:0": {"litellm_provider": "bedrock", "deprecation_date": "2027-01-01"},
            "gpt-5": {"litellm_provider": "openai", "deprecation_date": "soon"},
            "house-model": {"litellm_provider": "openai", "deprecation_date": "2026-01-01"},
            "gpt-5.1": {"litellm_provider": "openai", "deprecation_date": 20260101},
        }
    ).encode()
    assert litellm.deprecations(content, date(2026, 11, 20)) == {"claude-opus-4": date(2026, 5, 14)}
