"""What a logged model string resolves to: identity, modifiers and how sure that is."""

from __future__ import annotations

import pytest

from tokenledger_dagster.models.names import ModelName, resolve, resolve_model

DAY = "2026-11-20"


def resolved(raw: str | None, client: str = "claude-code", day: str = DAY) -> ModelName:
    return resolve_model(raw, client, day)


@pytest.mark.parametrize(
    ("raw", "model", "modifiers", "confidence"),
    [
        ("claude-opus-5-5", "claude-opus-5-5", {}, 100),
        ("gpt-5.1-codex-max", "gpt-5.1-codex-max", {}, 100),
        ("claude-opus-4-5-20251101", "claude-opus-4-5", {"date": "2025-11-01"}, 95),
        ("claude-opus-4-5@20251101", "claude-opus-4-5", {"channel": "google", "date": "2025-11-01"}, 95),
        ("gpt-5.4-2026-03-05", "gpt-5.4", {"date": "2026-03-05"}, 95),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-sonnet-4-5",
            {"channel": "aws", "region": "us", "date": "2025-09-29"},
            95,
        ),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5", {"channel": "aws", "date": "2025-11-01"}, 95),
        ("openrouter/anthropic/claude-opus-4.5", "claude-opus-4-5", {"channel": "openrouter"}, 92),
        ("openai/gpt-5.1-codex", "gpt-5.1-codex", {}, 98),
        ("claude-sonnet-4-5-20250929[1m]", "claude-sonnet-4-5", {"date": "2025-09-29", "context": "1m"}, 90),
        ("gpt-5.2-codex-xhigh", "gpt-5.2-codex", {"effort": "xhigh"}, 90),
        ("gpt-5.1-codex-max-high", "gpt-5.1-codex-max", {"effort": "high"}, 90),
        ("claude-opus-4-6-fast", "claude-opus-4-6", {"speed": "fast"}, 90),
        ("claude-4.5-sonnet-thinking", "claude-sonnet-4-5", {"thinking": "on"}, 90),
        ("claude-4.5-sonnet", "claude-sonnet-4-5", {}, 92),
        ("claude-4-sonnet", "claude-sonnet-4", {}, 92),
        ("claude-5.0-opus", "claude-opus-5", {}, 92),
        ("claude-haiku-3", "claude-3-haiku", {}, 92),
        ("claude-sonnet-3.7", "claude-3-7-sonnet", {}, 92),
        ("Claude Opus 4.5", "claude-opus-4-5", {}, 92),
        ("kimi-k2-thinking", "kimi-k2-thinking", {}, 100),
        ("grok-4-fast", "grok-4-fast", {}, 100),
        ("z-ai/glm-4.6", "glm-4.6", {}, 98),
        ("GLM-4.7-FP8", "glm-4.7", {"quant": "fp8"}, 90),
    ],
)
def test_a_name_resolves_to_its_model_and_keeps_the_rest_as_modifiers(
    raw: str, model: str, modifiers: dict[str, str], confidence: int
) -> None:
    name = resolved(raw)
    assert (name.model, name.modifiers, name.confidence) == (model, modifiers, confidence)


@pytest.mark.parametrize(
    ("raw", "maker"),
    [
        ("claude-opus-4-5", "anthropic"),
        ("gpt-5.3-codex", "openai"),
        ("gemini-3-pro-preview", "google"),
        ("grok-code-fast-1", "xai"),
        ("claude-opus-9-9", "anthropic"),
        ("my-finetune-v2", None),
    ],
)
def test_the_maker_is_told_even_for_unknown_versions(raw: str, maker: str | None) -> None:
    assert resolved(raw).maker == maker


@pytest.mark.parametrize(
    "raw",
    [
        "claude-opus-9-9",
        "claude-opus-5-7",
        "claude-sonnet-4-5-turbo",
        "gpt-5.2-codex-max",
        "gpt-5.7-codex",
        "gpt-6-sol-law",
        "kimi-k9",
        "grok-9-turbo",
        "Gemma-4-31B-Claude-4.6-Opus-Distill",
        "DeepSeek R1 + claude-3-5-sonnet-20241022",
    ],
)
def test_an_unknown_name_keeps_itself_and_is_too_uncertain_to_be_priced(raw: str) -> None:
    name = resolved(raw)
    assert name.model == raw
    assert name.confidence < 60


@pytest.mark.parametrize("raw", ["opus", "auto", "openrouter/auto", "default", "big-pickle"])
def test_families_and_routers_identify_no_model(raw: str) -> None:
    assert resolved(raw).confidence == 0


def test_synthetic_messages_have_their_own_bucket() -> None:
    assert resolved("<synthetic>") == ModelName("<synthetic>", None, {}, "synthetic", 100)


@pytest.mark.parametrize("raw", [None, "", "  "])
def test_a_missing_model_is_unknown(raw: str | None) -> None:
    assert resolved(raw) == ModelName("unknown", None, {}, "missing", 0)


def test_a_missing_model_in_codex_is_its_old_default() -> None:
    assert resolved(None, "codex") == ModelName("gpt-5", "openai", {}, "codex.fallback_model", 60)


@pytest.mark.parametrize(
    ("day", "model"),
    [
        ("2025-12-31", "gpt-5.2-codex"),
        ("2026-02-04", "gpt-5.2-codex"),
        ("2026-02-05", "gpt-5.3-codex"),
        ("2026-03-04", "gpt-5.3-codex"),
        ("2026-03-05", "gpt-5.4"),
        ("2026-04-23", "gpt-5.5"),
        ("2026-11-20", "gpt-5.5"),
    ],
)
def test_codex_auto_review_is_the_newest_codex_model_of_the_day(day: str, model: str) -> None:
    name = resolved("codex-auto-review", "codex", day)
    assert (name.model, name.modifiers) == (model, {"label": "codex-auto-review"})


def test_the_deciding_rule_is_the_least_certain_one() -> None:
    assert resolved("openrouter/anthropic/claude-opus-4.5-20251101[1m]").rule == "context.window"


def test_a_moving_label_without_a_day_is_no_model() -> None:
    found = resolve("codex-auto-review", "codex", None)
    assert (found.name.model, found.name.maker, found.name.confidence) == ("codex-auto-review", "openai", 30)


def test_the_channel_of_an_unknown_name_is_kept() -> None:
    assert resolve("openrouter/anthropic/claude-opus-9-9", "opencode", DAY).channel == "openrouter"


def test_the_maker_of_a_hosted_name_is_told_by_the_model() -> None:
    assert resolve("gemini-claude-opus-4-5-thinking", "antigravity", DAY).name.maker == "anthropic"
