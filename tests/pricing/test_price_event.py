"""What one event costs, in nano-USD, and when it has no price. Every expectation can be checked on paper."""

from __future__ import annotations

from datetime import datetime

import pytest

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.events import Pricing, price_event
from tokenledger_dagster.pricing.rate_table import RateTable

USD = 1_000_000_000


def priced(
    table: RateTable,
    model: str | None,
    *,
    client: str = "claude-code",
    at: str = "2026-11-20T12:00:00+00:00",
    message_id: str | None = None,
    speed: str | None = None,
    service_tier: str | None = None,
    input: int = 0,
    read: int = 0,
    write_5m: int = 0,
    write_1h: int = 0,
    output: int = 0,
) -> Pricing:
    return price_event(
        table,
        client=client,
        name=resolve_model(model, client, at[:10]),
        ts_us=int(datetime.fromisoformat(at).timestamp()) * 1_000_000,
        message_id=message_id,
        speed=speed,
        service_tier=service_tier,
        input=input,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output,
    )


def test_sonnet_4_pays_each_counter_at_its_own_rate(table: RateTable) -> None:
    price = priced(table, "claude-sonnet-4-20250514", input=1000, output=500, write_5m=200, read=100)
    # 1000 x $3 + 500 x $15 + 200 x $3.75 + 100 x $0.30 per million
    assert price.list_price_nano == 11_280_000
    assert (price.list_basis, price.priced_context, price.channel) == ("channel", "standard", "anthropic")


def test_an_hour_of_cache_costs_twice_the_input_rate_and_five_minutes_a_quarter_more(table: RateTable) -> None:
    assert priced(table, "claude-sonnet-4-5", write_5m=100_000).list_price_nano == 375_000_000
    assert priced(table, "claude-sonnet-4-5", write_1h=100_000).list_price_nano == 600_000_000


def test_above_the_long_context_threshold_every_token_pays_the_high_rate(table: RateTable) -> None:
    price = priced(table, "claude-sonnet-4-5", input=100_000, read=200_000, output=1000)
    # 100k x $6 + 200k x $0.60 + 1k x $22.50 per million
    assert price.list_price_nano == 600_000_000 + 120_000_000 + 22_500_000


def test_exactly_at_an_exclusive_threshold_the_low_rate_holds(table: RateTable) -> None:
    assert priced(table, "claude-sonnet-4-5", input=200_000).list_price_nano == 600_000_000
    assert priced(table, "claude-sonnet-4-5", input=200_001).list_price_nano == 1_200_006_000


def test_xai_counts_the_threshold_itself_as_long_context(table: RateTable) -> None:
    assert priced(table, "grok-4.7", client="opencode", input=199_999).list_price_nano == 399_998_000
    assert priced(table, "grok-4.7", client="opencode", input=200_000).list_price_nano == 800_000_000


@pytest.mark.parametrize(
    ("at", "usd_per_mtok"),
    [
        ("2026-11-20T00:59:59+00:00", 0.66),
        ("2026-11-20T01:00:00+00:00", 1.32),
        ("2026-11-20T04:00:00+00:00", 0.66),
        ("2026-11-20T06:00:00+00:00", 1.32),
        ("2026-11-20T10:00:00+00:00", 0.66),
    ],
)
def test_deepseek_charges_by_the_hour_of_the_day(table: RateTable, at: str, usd_per_mtok: float) -> None:
    price = priced(table, "deepseek-v4-pro", client="opencode", at=at, input=1_000_000)
    assert price.list_price_nano == round(usd_per_mtok * 100) * USD // 100


def test_a_price_change_holds_from_its_own_day_on(table: RateTable) -> None:
    before = priced(table, "gpt-5.6-sol", client="codex", at="2026-08-20T23:59:59+00:00", input=100_000)
    after = priced(table, "gpt-5.6-sol", client="codex", at="2026-08-21T00:00:00+00:00", input=100_000)
    assert before.list_price_nano == 500_000_000
    assert after.list_price_nano == 400_000_000


def test_an_announced_price_is_not_charged_before_the_book_is_renewed(table: RateTable) -> None:
    at = "2027-02-01T00:00:00+00:00"
    price = priced(table, "gemini-3.8-flash", client="gemini-cli", at=at, input=1_000_000)
    assert price.list_price_nano == 750_000_000
    rate = table.resolve("google", "gemini-3.8-flash", "standard", 1_801_440_000_000_000)
    assert rate is not None
    assert rate.status == "scheduled"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("claude-opus-9-9", "unknown_model"),
        ("my-finetune-v2", "unknown_model"),
        (None, "unknown_model"),
        ("unknown", "unknown_model"),
        ("opus", "low_confidence"),
        ("gpt-5.3-codex-spark", "no_rate"),
    ],
)
def test_what_cannot_be_priced_has_no_price_and_a_reason(table: RateTable, model: str | None, reason: str) -> None:
    price = priced(table, model, input=1)
    assert (price.list_price_nano, price.reason) == (None, reason)


def test_an_event_without_tokens_costs_nothing_even_for_an_unknown_model(table: RateTable) -> None:
    assert priced(table, "claude-opus-9-9").list_price_nano == 0


def test_synthetic_messages_cost_nothing(table: RateTable) -> None:
    price = priced(table, "<synthetic>", input=1000, output=1000)
    assert (price.list_price_nano, price.list_basis, price.reason) == (0, "channel", None)


def test_the_codex_fallback_is_priced_as_the_makers_list_price(table: RateTable) -> None:
    price = priced(table, None, client="codex", at="2025-09-20T00:00:00+00:00", input=1_000_000)
    assert price.list_price_nano == 1_250_000_000
    assert (price.list_basis, price.price_confidence) == ("maker", 60)


def test_a_channel_without_the_model_pays_the_makers_price_at_lower_confidence(table: RateTable) -> None:
    price = priced(table, "claude-4.5-sonnet", client="cursor", input=100_000)
    assert price.list_price_nano == 300_000_000
    assert (price.channel, price.list_basis, price.price_confidence) == ("cursor", "maker", 84)


def test_codex_max_is_priced_by_the_row_that_names_it(table: RateTable) -> None:
    price = priced(table, "gpt-5.1-codex-max", client="codex", input=1_000_000, read=1_000_000, output=1_000_000)
    assert price.list_price_nano == 1_250_000_000 + 125_000_000 + 10_000_000_000
    assert price.list_basis == "channel"


def test_codex_mini_is_not_the_big_model(table: RateTable) -> None:
    assert priced(table, "gpt-5.1-codex-mini", client="codex", input=1_000_000).list_price_nano == 250_000_000


@pytest.mark.parametrize(
    ("model", "factor_in_halves"), [("gpt-5.5", 5), ("gpt-5.4", 4), ("gpt-5.3-codex", 4), ("gpt-5.2-codex", 4)]
)
@pytest.mark.parametrize("at", ["2026-06-01T00:00:00+00:00", "2026-11-20T00:00:00+00:00"])
def test_codex_fast_costs_a_multiple(table: RateTable, model: str, factor_in_halves: int, at: str) -> None:
    slow = priced(table, model, client="codex", at=at, input=10_000, output=10_000).list_price_nano
    fast = priced(table, model, client="codex", at=at, speed="fast", input=10_000, output=10_000)
    assert slow is not None
    assert fast.list_price_nano == slow * factor_in_halves // 2
    assert (fast.requested_context, fast.priced_context) == ("speed=fast", "speed=fast")


def test_claude_fast_is_listed_for_opus_5_5(table: RateTable) -> None:
    assert priced(table, "claude-opus-5-5", speed="fast", input=1_000_000).list_price_nano == 8 * USD


@pytest.mark.parametrize(
    ("at", "nano", "context"),
    [
        ("2026-07-23T23:59:59+00:00", 30 * USD, "speed=fast"),
        ("2026-07-24T00:00:00+00:00", 5 * USD, "standard"),
    ],
)
def test_opus_4_7_fast_cost_six_times_until_it_was_withdrawn(
    table: RateTable, at: str, nano: int, context: str
) -> None:
    price = priced(table, "claude-opus-4-7", at=at, speed="fast", input=1_000_000)
    assert (price.list_price_nano, price.priced_context) == (nano, context)
    assert price.requested_context == "speed=fast"


def test_a_context_the_list_does_not_know_is_priced_standard_and_says_so(table: RateTable) -> None:
    price = priced(table, "claude-opus-5-5", service_tier="priority", input=1_000_000)
    assert price.list_price_nano == 4 * USD
    assert (price.requested_context, price.priced_context) == ("service_tier=priority", "standard")


def test_bedrock_regional_endpoints_cost_a_tenth_more_than_the_global_one(table: RateTable) -> None:
    regional = priced(table, "us.anthropic.claude-opus-4-5-20251101-v1:0", input=1_000_000)
    world = priced(table, "global.anthropic.claude-opus-4-5-20251101-v1:0", input=1_000_000)
    assert (regional.channel, regional.list_price_nano) == ("aws", 5_500_000_000)
    assert (world.channel, world.list_price_nano, world.priced_context) == ("aws", 5_000_000_000, "endpoint=global")


@pytest.mark.parametrize(
    ("model", "message_id", "channel"),
    [
        ("claude-opus-4-5-20251101", "msg_01", "anthropic"),
        ("claude-opus-4-5@20251101", None, "google"),
        ("claude-opus-4-5-20251101", "msg_vrtx_01", "google"),
        ("claude-opus-4-5-20251101", "msg_bdrk_01", "aws"),
        ("glm-4.6", None, "zai"),
        ("kimi-k2-thinking", None, "moonshotai"),
        ("openrouter/anthropic/claude-opus-4.5", None, "openrouter"),
    ],
)
def test_claude_code_is_billed_by_whoever_serves_it(
    table: RateTable, model: str, message_id: str | None, channel: str
) -> None:
    price = priced(table, model, message_id=message_id, input=1_000_000)
    assert price.channel == channel
    assert price.list_basis == "channel"


def test_a_price_beyond_the_column_is_refused_instead_of_wrapping(table: RateTable) -> None:
    assert priced(table, "gpt-5.5", client="codex", input=2**62).reason == "overflow"


@pytest.mark.parametrize(
    ("logged", "context"),
    [({"service_tier": "priorty"}, "service_tier=priorty"), ({"speed": "fats"}, "speed=fats")],
)
def test_a_misspelt_context_is_told_apart_from_what_was_priced(
    table: RateTable, logged: dict[str, str], context: str
) -> None:
    price = priced(table, "gpt-5.5", client="codex", input=100_000, **logged)  # type: ignore[arg-type]
    assert price.list_price_nano == USD // 2
    assert (price.requested_context, price.priced_context) == (context, "standard")


@pytest.mark.parametrize("tier", ["standard", "default", "auto", "", None])
def test_an_ordinary_tier_asks_for_nothing_special(table: RateTable, tier: str | None) -> None:
    assert priced(table, "gpt-5.5", client="codex", service_tier=tier).requested_context == "standard"
