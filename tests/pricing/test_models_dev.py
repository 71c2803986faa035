"""models.dev's price list as rate rows: what each of its fields becomes, and what is passed over."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest

from tokenledger_dagster.pricing.lists import converted, models_dev
from tokenledger_dagster.pricing.lists.converted import Converted, PriceListError
from tokenledger_dagster.pricing.rates import COLUMNS

DAY = date(2026, 11, 20)
OPUS = {"input": 4, "output": 20, "cache_read": 0.2, "cache_write": 5}


def convert(providers: object) -> Converted:
    return models_dev.rows(providers if isinstance(providers, bytes) else json.dumps(providers).encode(), DAY)


def one(model: str, cost: Any, provider: str = "openai") -> Converted:
    """The list of one provider with one model; a cost of None leaves the field out."""
    entry = {"id": model, "name": "A model", "limit": {"context": 400_000}}
    return convert({provider: {"id": provider, "models": {model: entry if cost is None else {**entry, "cost": cost}}}})


def cells(found: Converted) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in found.rows]


def rates(row: dict[str, str], suffix: str = "") -> str:
    """Input, cache read, 5-minute write, 1-hour write, output in USD per million tokens."""
    names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    return " ".join(f"{int(row[name + suffix]) / 10**9:g}" if row[name + suffix] else "-" for name in names)


def test_a_model_is_a_row_of_the_rate_table() -> None:
    models = {"claude-opus-5-5": {"id": "claude-opus-5-5", "cost": OPUS}}
    content = json.dumps({"anthropic": {"id": "anthropic", "models": models}}).encode()

    found = models_dev.rows(content, DAY)

    version = hashlib.sha256(content).hexdigest()[:12] + "@2026-11-20"
    assert found.source_version == version
    assert found.rows == [
        [
            *("anthropic", "claude-opus-5-5", "standard", "", "", "", "", "", ""),
            *("4000000000", "200000000", "5000000000", "5000000000", "20000000000"),
            *("", "", "", "", ""),
            *("yes", "anthropic/claude-opus-5-5", "models.dev", version, "active", "80"),
        ]
    ]
    assert (found.skipped, found.notes) == ({}, {})


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ({"input": 2, "output": 10}, "2 2 2 2 10"),
        ({"input": "2", "output": "10.0"}, "2 2 2 2 10"),
        ({"input": 0.1, "output": 0.30000000000000004}, "0.1 0.1 0.1 0.1 0.3"),
        ({"input": 2, "output": 10, "cache_read": 0.2}, "2 0.2 2 2 10"),
        ({"input": 2, "output": 10, "cache_read": 0, "cache_write": 0}, "2 2 2 2 10"),
        ({"input": 2, "output": 10, "cache_read": None, "cache_write": 2.5}, "2 2 2.5 2.5 10"),
        ({"input": 2, "output": 10, "input_audio": 40, "novelty": {"a": 1}}, "2 2 2 2 10"),
    ],
)
def test_units(cost: dict[str, Any], expected: str) -> None:
    assert [rates(row) for row in cells(one("gpt-5.4", cost))] == [expected]


@pytest.mark.parametrize(("reasoning", "notes"), [(30, {"reasoning_rate_differs": 1}), (10, {}), (10.0, {}), (0, {})])
def test_another_price_for_reasoning_is_noted(reasoning: float, notes: dict[str, int]) -> None:
    assert one("gpt-5.4", {"input": 2, "output": 10, "reasoning": reasoning}).notes == notes


def test_a_tier_begins_above_its_size() -> None:
    tier = {"input": 4, "output": 15, "cache_read": 0.4, "tier": {"type": "context", "size": 272_000}}
    # the old field repeats the tier, with another threshold in its name
    old = {"input": 4, "output": 15, "cache_read": 0.4}

    found = one("gpt-5.4", {"input": 2, "output": 10, "cache_read": 0.2, "tiers": [tier], "context_over_200k": old})

    row = cells(found)[0]
    assert (row["tier_from_tokens"], row["tier_inclusive"]) == ("272000", "false")
    assert (rates(row), rates(row, "_high")) == ("2 0.2 2 2 10", "4 0.4 4 4 15")


def test_above_the_tier_a_unit_keeps_its_rate() -> None:
    found = one("claude-opus-5-5", {**OPUS, "tiers": [{"input": 8, "tier": {"size": 200_000}}]}, "anthropic")

    assert rates(cells(found)[0], "_high") == "8 0.2 5 5 20"


@pytest.mark.parametrize("tiers", [None, []])
def test_an_old_list_has_its_only_threshold_in_a_name(tiers: object) -> None:
    found = one("gpt-5.4", {"input": 2, "output": 10, "tiers": tiers, "context_over_200k": {"input": 4, "output": 15}})

    row = cells(found)[0]
    assert (row["tier_from_tokens"], rates(row, "_high")) == ("200000", "4 4 4 4 15")


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ([{"input": 4, "tier": {"size": 32_000}}, {"input": 6, "tier": {"size": 128_000}}], "more_than_one_tier"),
        ([7, 8], "more_than_one_tier"),
        ({"input": 4}, "bad_tier"),
        (7, "bad_tier"),
        ([7], "bad_tier"),
        ([{"input": 4}], "bad_tier"),
        ([{"input": 4, "tier": 200_000}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context"}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "hour", "size": 8}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context", "size": 0}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context", "size": -200_000}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context", "size": 0.5}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context", "size": True}}], "bad_tier"),
        ([{"input": 4, "tier": {"type": "context", "size": 1e300}}], "bad_tier"),
        ([{"input": -4, "tier": {"type": "context", "size": 200_000}}], "bad_rate"),
    ],
)
def test_a_tier_that_cannot_be_told_costs_the_model(tiers: object, reason: str) -> None:
    found = one("gpt-5.4", {"input": 2, "output": 10, "tiers": tiers})

    assert (found.rows, found.skipped) == ([], {reason: 1})


@pytest.mark.parametrize("old", [7, "text", [1]])
def test_an_old_tier_that_cannot_be_told_costs_the_model(old: object) -> None:
    assert one("gpt-5.4", {"input": 2, "output": 10, "context_over_200k": old}).skipped == {"bad_tier": 1}


def test_channels_and_models() -> None:
    cost = {"cost": {"input": 2, "output": 10}}
    found = convert(
        {
            "openai": {"models": {"gpt-5.4": cost}},
            "azure-cognitive-services": {"models": {"gpt-5.4": cost}},
            "google-vertex-anthropic": {"models": {"claude-opus-5-5@default": cost}},
            "amazon-bedrock": {"models": {"anthropic.claude-opus-5-5": cost, "global.anthropic.claude-opus-5-5": cost}},
            "openrouter": {"models": {"anthropic/claude-opus-5.5": cost}},
            "moonshotai": {"models": {"kimi-k3": cost}},
            "a-stranger": {"models": {"gpt-5.4": cost, "kimi-k3": cost}},
        }
    )

    assert [tuple(row[name] for name in (*COLUMNS[:3], "own_channel")) for row in cells(found)] == [
        ("aws", "claude-opus-5-5", "endpoint=global", ""),
        ("aws", "claude-opus-5-5", "standard", ""),
        ("azure", "gpt-5.4", "standard", ""),
        ("google", "claude-opus-5-5", "standard", ""),
        ("moonshotai", "kimi-k3", "standard", "yes"),
        ("openai", "gpt-5.4", "standard", "yes"),
        ("openrouter", "claude-opus-5-5", "standard", ""),
    ]
    assert found.skipped == {"unmapped_provider": 2}


def test_one_of_several_models_of_a_name_counts() -> None:
    dear, cheap = {"cost": {"input": 3, "output": 10}}, {"cost": {"input": 2, "output": 10}}

    found = convert({"openai": {"models": {"gpt-5.4-2026-03-05": dear, "gpt-5.4": cheap}}})

    assert [(row["price_list_model"], rates(row)) for row in cells(found)] == [("openai/gpt-5.4", "2 2 2 2 10")]
    assert (found.skipped, found.notes) == ({"same_model_again": 1}, {"ambiguous": 1})


@pytest.mark.parametrize("cost", [{"input": 0, "output": 0}, {"input": 0.0, "output": 0, "cache_read": 0}, None])
@pytest.mark.parametrize("provider", ["zai-coding-plan", "minimax-coding-plan"])
def test_a_plan_has_no_price(provider: str, cost: Any) -> None:
    found = one("glm-5.3", cost, provider)

    assert (found.rows, found.skipped) == ([], {"plan_without_price": 1})


def test_a_plan_that_does_price_is_like_any_provider() -> None:
    assert one("glm-5.3", {"input": 1, "output": 2}, "zai-coding-plan").skipped == {"unmapped_provider": 1}


def test_free_only_where_the_model_says_so() -> None:
    nothing = {"cost": {"input": 0, "output": 0, "cache_read": 0}}
    found = convert(
        {
            "openrouter": {"models": {"z-ai/glm-4.6:free": nothing, "z-ai/glm-5.3": nothing}},
            "opencode": {"models": {"gpt-5.4-free": nothing}},
            "github-copilot": {"models": {"gpt-5.4": nothing}},
            "openai": {"models": {"gpt-5.4-free": {"cost": {"input": 1, "output": 2}}}},
        }
    )

    assert [(row["channel"], row["model"], row["context"], rates(row)) for row in cells(found)] == [
        ("opencode", "gpt-5.4", "variant=free", "0 0 0 0 0"),
        ("openrouter", "glm-4.6", "variant=free", "0 0 0 0 0"),
    ]
    assert found.skipped == {"free_with_price": 1, "zero_rate": 2}


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (None, "no_price"),
        ({}, "no_price"),
        ({"input": 2}, "no_price"),
        ({"output": 10}, "no_price"),
        ({"input": None, "output": 10}, "no_price"),
        (7, "not_an_object"),
        ([2, 10], "not_an_object"),
        ({"input": -1, "output": 10}, "bad_rate"),
        ({"input": True, "output": 10}, "bad_rate"),
        ({"input": "a lot", "output": 10}, "bad_rate"),
        ({"input": float("nan"), "output": 10}, "bad_rate"),
        ({"input": 10_000.1, "output": 10}, "bad_rate"),
        ({"input": 1e-10, "output": 10}, "bad_rate"),
        ({"input": 2, "output": [10]}, "bad_rate"),
        ({"input": 2, "output": 10, "cache_read": {"5m": 1}}, "bad_rate"),
        ({"input": 2, "output": 10, "reasoning": "much"}, "bad_rate"),
    ],
)
def test_what_is_no_price_is_counted(cost: Any, reason: str) -> None:
    found = one("gpt-5.4", cost)

    assert (found.rows, found.skipped) == ([], {reason: 1})


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, {"models": None}, {"models": []}])
def test_a_provider_without_models_is_counted(value: object) -> None:
    assert convert({"openai": value}).skipped == {"not_an_object": 1}


def test_what_stands_twice_is_passed_over() -> None:
    model = '{"cost": {"input": 2, "output": 10}}'
    again = '{"cost": {"input": 2, "input": 3, "output": 10}}'

    found = convert(
        f'{{"xai": {{"models": {{}}}}, "xai": {{"models": {{}}}}, "openai": {{"models": '
        f'{{"gpt-5.4": {model}, "gpt-5.4": {model}, "gpt-5.5": {again}, "gpt-5.2": {model}}}}}}}'.encode()
    )

    assert [row["model"] for row in cells(found)] == ["gpt-5.2"]
    assert found.skipped == {"duplicate_key": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "models.dev price list: is not JSON (line 1, column 2); fetch the list anew from its publisher"),
        (b"[{}]", "models.dev price list: is not a JSON object of models; fetch the list anew from its publisher"),
        (b"\xfe\xff", "models.dev price list: byte 0 is not UTF-8; fetch the list anew from its publisher"),
        (
            b'{"openai": ' + b'{"models":' * 100_000,
            "models.dev price list: is nested too deeply for a price list; fetch the list anew from its publisher",
        ),
    ],
)
def test_what_is_no_list_is_one_line_with_a_remedy(content: bytes, message: str) -> None:
    with pytest.raises(PriceListError) as caught:
        convert(content)

    assert str(caught.value) == message


def test_a_list_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "MOST_ENTRIES", 2)

    with pytest.raises(PriceListError, match=r"^models.dev price list: has more than 2 entries; "):
        convert({"openai": {"models": {"gpt-5.4": {}, "gpt-5.5": {}}}})
