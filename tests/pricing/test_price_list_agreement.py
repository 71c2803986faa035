"""The committed table prices as the price list it was built from does."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.events import price_event
from tokenledger_dagster.pricing.generate import build_rates, compare_rates
from tokenledger_dagster.pricing.rate_table import RateTable

# our name, the price list's provider and reference
MODELS = [
    ("claude-opus-4-5-20251101", "anthropic", "claude-opus-4-5-20251101"),
    ("claude-opus-4-6", "anthropic", "claude-opus-4-6"),
    ("claude-opus-5-5", "anthropic", "claude-opus-5-5"),
    ("claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    ("claude-sonnet-4-20250514", "anthropic", "claude-sonnet-4-20250514"),
    ("claude-haiku-5-5", "anthropic", "claude-haiku-5-5"),
    ("claude-3-5-haiku-20241022", "anthropic", "claude-3-5-haiku-20241022"),
    ("us.anthropic.claude-sonnet-4-6", "aws", "us.anthropic.claude-sonnet-4-6"),
    ("global.anthropic.claude-opus-5-5", "aws", "global.anthropic.claude-opus-5-5"),
    ("claude-opus-4-5@20251101", "google", "claude-opus-4-5@20251101"),
    ("openrouter/anthropic/claude-sonnet-4.5", "openrouter", "anthropic/claude-sonnet-4.5"),
    ("gpt-5-codex", "openai", "gpt-5-codex"),
    ("gpt-5.1-codex-max", "openai", "gpt-5.1-codex-max"),
    ("gpt-5.1-codex-mini", "openai", "gpt-5.1-codex-mini"),
    ("gpt-5.2-codex-xhigh", "openai", "gpt-5.2-codex"),
    ("gpt-5.5-2026-04-23", "openai", "gpt-5.5"),
    ("gpt-5.6-sol", "openai", "gpt-5.6-sol"),
    ("gpt-6.1-sol", "openai", "gpt-6.1-sol"),
    ("gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("gemini-3-flash-preview", "google", "gemini-3-flash-preview"),
    ("gemini-3.8-flash", "google", "gemini-3.8-flash"),
    ("grok-4.7", "x-ai", "grok-4.7"),
    ("kimi-k3", "moonshotai", "kimi-k3"),
    ("glm-5.3", "zai", "glm-5.3"),
    ("deepseek-v4-flash", "deepseek", "deepseek-v4-flash"),
    ("deepseek-v4-pro", "deepseek", "deepseek-v4-pro"),
    ("MiniMax-M2.5", "minimax", "MiniMax-M2.5"),
    ("mistral-large-4", "mistral", "mistral-large-4"),
]
COUNTER = st.one_of(st.just(0), st.integers(0, 400_000))
SECONDS = st.integers(1_751_328_000, 1_795_219_199)  # 2025-07-01 to 2026-11-20
# only what the list itself knows: our own fast multipliers begin where its rows end
CONTEXTS = st.sampled_from([("", ""), ("processing", "batch"), ("service_tier", "flex")])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MODELS), SECONDS, CONTEXTS, st.tuples(*[COUNTER] * 5))
def test_an_event_costs_what_the_price_list_says(
    table: RateTable,
    model: tuple[str, str, str],
    second: int,
    context: tuple[str, str],
    counts: tuple[int, int, int, int, int],
) -> None:
    raw, provider, reference = model
    if provider == "openrouter" and context[0] == "processing":
        # the router lists batch as a model of its own, we as a context of the model
        reference += ":batch"
    moment = datetime.fromtimestamp(second, UTC)
    uncached, read, write_5m, write_1h, output = counts
    usage = Usage(
        input_tokens=uncached + read + write_5m + write_1h,
        cache_read_tokens=read,
        cache_write_tokens=write_5m + write_1h,
        cache_write_1h_tokens=write_1h,
        output_tokens=output,
    )
    listed = calc_price(
        usage,
        reference,
        provider_id=provider,
        genai_request_timestamp=moment,
        price_context={context[0]: context[1]} if context[0] else None,
    )
    ours = price_event(
        table,
        client="opencode",
        name=resolve_model(raw, "opencode", f"{moment:%Y-%m-%d}"),
        ts_us=second * 1_000_000,
        message_id=None,
        speed=None,
        service_tier=context[1] or None,
        input=uncached,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output,
    )
    assert ours.list_price_nano is not None
    assert ours.channel == provider
    assert abs(Decimal(ours.list_price_nano) - listed.total_price * 10**9) <= 1


def test_the_committed_table_is_what_the_price_list_generates(config_directory: Path) -> None:
    assert compare_rates(config_directory) == []


def test_the_comparison_names_a_changed_rate(config_directory: Path, tmp_path: Path) -> None:
    for name in ("rates.csv", "rates.meta.json"):
        (tmp_path / name).write_bytes((config_directory / name).read_bytes())
    content = (tmp_path / "rates.csv").read_bytes()
    (tmp_path / "rates.csv").write_bytes(content.replace(b"claude-opus-5-5,standard", b"claude-opus-5-5,cheap", 1))
    differences = compare_rates(tmp_path)
    assert "rates.csv does not have the sha256 that rates.meta.json states" in differences
    assert any(line.startswith("only committed: anthropic,claude-opus-5-5,cheap") for line in differences)
    assert any(line.startswith("only regenerated: anthropic,claude-opus-5-5,standard") for line in differences)


def test_a_rate_starting_after_the_day_of_the_book_is_scheduled() -> None:
    early = build_rates("2026-08-01").decode()
    row = next(line for line in early.splitlines() if line.startswith("openai,gpt-5.6-sol,standard,2026-08-21"))
    assert ",scheduled," in row
