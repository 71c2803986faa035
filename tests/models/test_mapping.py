"""What a name of each kind is mapped to: maker, model, channel, modifiers, and when the answer is none."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models import rules
from tokenledger_dagster.models.mapping import COLUMNS, FileCounts, MappedName, map_file, map_name

FRESH = Path(__file__).with_name("fresh_names.csv")


# ------------------------------------------------------------------ one name


@pytest.mark.parametrize(
    ("name", "context", "maker", "model", "channel", "modifiers"),
    [
        # the maker's own id, dated or not
        ("gpt-5.3-codex", "codex", "openai", "gpt-5.3-codex", "openai", {}),
        ("claude-opus-5-20260601", "claude_code", "anthropic", "claude-opus-5", "anthropic", {"date": "2026-06-01"}),
        ("glm-4-7-251222", "volcengine", "zai", "glm-4.7", "volcengine", {"date": "2025-12-22"}),
        ("gpt-4-0613", "", "openai", "gpt-4", "openai", {"revision": "06-13"}),
        # dates that are identities
        ("deepseek-v4-flash-0731", "", "deepseek", "deepseek-v4-flash-0731", "deepseek", {}),
        ("Kimi K2 0905", "aider", "moonshotai", "kimi-k2-0905", "moonshotai", {}),
        # suffixes that are identities
        ("gpt-5.1-codex-max", "codex", "openai", "gpt-5.1-codex-max", "openai", {}),
        ("kimi-k2-thinking", "kimi", "moonshotai", "kimi-k2-thinking", "moonshotai", {}),
        ("grok-4-fast", "opencode", "xai", "grok-4-fast", "x-ai", {}),
        # suffixes that are modes
        ("claude-4.5-sonnet-thinking", "Cursor", "anthropic", "claude-sonnet-4-5", "cursor", {"thinking": "on"}),
        ("gpt-5.5-high-fast", "cursor", "openai", "gpt-5.5", "cursor", {"effort": "high", "speed": "fast"}),
        ("claude-sonnet-5[1m]", "claude-code", "anthropic", "claude-sonnet-5", "anthropic", {"context": "1m"}),
        ("grok-4-1-fast-non-reasoning", "xai", "xai", "grok-4.1-fast", "x-ai", {"reasoning": "off"}),
        ("gemini-3.5-flash-extra-low", "antigravity", "google", "gemini-3.5-flash", "google", {"effort": "minimal"}),
        # channels and regions
        (
            "us.anthropic.claude-opus-4-8-v1:0",
            "bedrock",
            "anthropic",
            "claude-opus-4-8",
            "aws",
            {"region": "us"},
        ),
        ("bedrock/eu-west-2/qwen.qwen3-coder-next", "", "alibaba", "qwen3-coder-next", "aws", {"region": "eu-west-2"}),
        ("vertex_ai/claude-haiku-5-5@default", "litellm", "anthropic", "claude-haiku-5-5", "google", {}),
        ("azure/swedencentral/gpt-5-mini", "", "openai", "gpt-5-mini", "azure", {"region": "swedencentral"}),
        ("azure_ai/FW-GLM-5.3-Flash", "", "zai", "glm-5.3-flash", "azure", {}),
        ("fireworks_ai/accounts/fireworks/models/glm-4p6", "", "zai", "glm-4.6", "fireworks", {}),
        ("@cf/meta/llama-4-scout-17b-16e-instruct", "", "meta", "llama-4-scout", "cloudflare", {}),
        ("openrouter/anthropic/claude-sonnet-4.5", "opencode", "anthropic", "claude-sonnet-4-5", "openrouter", {}),
        ("anthropic/claude-sonnet-4.5", "openrouter", "anthropic", "claude-sonnet-4-5", "openrouter", {}),
        ("new-gateway/gpt-5.5", "", "openai", "gpt-5.5", "new-gateway", {}),
        # local builds
        (
            "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M",
            "ollama",
            "alibaba",
            "qwen3-coder-30b-a3b-instruct",
            "ollama",
            {"quant": "q4_k_m"},
        ),
        ("glm-4.6:cloud", "ollama", "zai", "glm-4.6", "ollama", {"variant": "cloud"}),
        ("llama3.1:8b", "ollama", "meta", "llama-3.1-8b-instruct", "ollama", {}),
        # names as tables show them
        ("Claude Opus 4.6 (Thinking: Max)", "aider", "anthropic", "claude-opus-4-6", "anthropic", {"effort": "max"}),
        ("GPT-5.2 (Med)", "benchmark_table", "openai", "gpt-5.2", "openai", {"effort": "medium"}),
        ("Anthropic: Claude Haiku 4.5", "openrouter", "anthropic", "claude-haiku-4-5", "openrouter", {}),
        ("DeepSeek V3.2 (Non-reasoning)", "", "deepseek", "deepseek-v3.2", "deepseek", {"thinking": "off"}),
        # what is no chat model is itself
        ("gpt-image-2", "codex", "openai", "gpt-image-2", "openai", {}),
        ("ft:gpt-4o-2024-08-06:acme:support:9x", "openai", "openai", "ft:gpt-4o", "openai", {"date": "2024-08-06"}),
    ],
)  # fmt: skip
def test_a_name_is_mapped(
    name: str, context: str, maker: str, model: str, channel: str, modifiers: dict[str, str]
) -> None:
    found = map_name(name, context)
    assert (found.maker, found.model, found.channel, found.modifiers) == (maker, model, channel, modifiers)
    assert found.confidence >= 85


@pytest.mark.parametrize(
    ("name", "maker", "rule"),
    [
        # versions nobody has published
        ("claude-opus-9-9", "anthropic", "unknown_name"),
        ("gpt-7-sol", "openai", "unknown_name"),
        ("kimi-k9", "moonshotai", "unknown_name"),
        ("grok-9-turbo", "xai", "unknown_name"),
        # never shortened to a shorter model
        ("gpt-5.2-codex-max", "openai", "unknown_name"),
        ("minimax-m3-turbo", "minimax", "unknown_name"),
        ("glm-5.3-abliterated", "zai", "unknown_name"),
        # families, moving names, routers
        ("opus", "anthropic", "reserved.family"),
        ("sonnet[1m]", "anthropic", "reserved.family"),
        ("~z-ai/glm-latest", "zai", "reserved.family"),
        ("mistral/mistral-large-latest", "mistral", "unknown_name"),
        ("openrouter/auto", "openrouter", "reserved.router"),
        ("default", None, "reserved.router"),
        # stealth, placeholders, tests
        ("Quasar Alpha", None, "reserved.stealth"),
        ("unknown", None, "reserved.non_model"),
        ("gpt-5-mock", None, "unknown_name"),
        ("level-model(xhigh)", None, "unknown_name"),
        ("<synthetic>", None, "synthetic"),
        ("", None, "missing"),
        # two models are not one
        ("o3 (high) + gpt-4.1", None, "unknown_name"),
    ],
)
def test_what_is_not_one_known_model_is_not_guessed(name: str, maker: str | None, rule: str) -> None:
    found = map_name(name)
    assert (found.model, found.maker, found.model_rule) == (None, maker, rule)
    assert (found.model_confidence, found.confidence, found.modifiers) == (0, 0, {})


def test_a_name_that_moves_is_resolved_by_its_day_alone() -> None:
    assert map_name("codex-auto-review", "codex").model is None
    assert map_name("codex-auto-review", "codex").maker == "openai"
    assert map_name("codex-auto-review", "codex", "2026-02-10").model == "gpt-5.3-codex"


def test_every_answer_names_its_rules() -> None:
    assert map_name("claude-opus-4-5@20251101", "vertex") == MappedName(
        maker="anthropic",
        maker_rule="anthropic.claude",
        maker_confidence=95,
        model="claude-opus-4-5",
        model_rule="vertex.date",
        model_confidence=95,
        channel="google",
        modifiers={"date": "2025-11-01"},
        confidence=95,
    )


def test_a_maker_that_only_the_catalogue_knows_is_as_sure_as_the_model() -> None:
    found = map_name("ember-1")
    assert (found.maker_rule, found.maker_confidence, found.confidence) == ("catalogue", 100, 100)


@pytest.mark.parametrize("context", ["github_copilot", "GitHub Copilot", "copilot-cli", "Copilot"])
def test_a_context_is_known_in_any_spelling(context: str) -> None:
    assert map_name("gpt-5.5", context).channel == "github-copilot"


def test_the_name_itself_tells_the_channel_before_its_context_does() -> None:
    assert map_name("azure/gpt-5.5", "copilot").channel == "azure"


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_has_an_answer(name: str, context: str) -> None:
    found = map_name(name, context)
    assert 0 <= found.confidence <= 100
    assert found.model is None or found.maker is not None or found.confidence == 0


@given(st.text(alphabet="abgptclaude0123456789.-:/()[]@ +", max_size=60))
def test_text_that_looks_like_a_name_leads_to_the_catalogue_or_nowhere(name: str) -> None:
    model = map_name(name).model
    assert model is None or model in rules.catalog()


@given(st.sampled_from(sorted(rules.catalog())))
def test_a_canonical_id_is_its_own_name(model: str) -> None:
    found = map_name(model)
    assert (found.model, found.model_confidence, found.modifiers) == (model, 100, {})
    assert found.maker == rules.catalog()[model]


@given(st.sampled_from(sorted(rules.catalog())), st.sampled_from(["", " ", "\t ", "\n"]))
def test_case_and_blanks_around_a_name_do_not_matter(model: str, blank: str) -> None:
    assert map_name(f"{blank}{model.upper()}{blank}") == map_name(model)


def test_text_too_long_for_a_name_is_none() -> None:
    assert map_name("gpt-5" + "-x" * 100_000).model is None


# ------------------------------------------------------------------ names labelled by hand


def _fresh() -> list[dict[str, str]]:
    with FRESH.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("row", _fresh(), ids=lambda row: row["source_name"])
def test_labelled_names_are_mapped_as_labelled(row: dict[str, str]) -> None:
    found = map_name(row["source_name"], row["context_provider"])
    also = row["acceptable_alternatives"].split(";")
    wanted = dict(pair.split("=") for pair in row["expected_modifiers"].split(";") if pair)

    assert (found.maker or "") == row["expected_provider"]
    assert (found.model or "") in {row["expected_canonical_model"], *filter(None, also)} or (
        found.model is None and "<abstain>" in also
    )
    assert found.model is None or wanted.items() <= found.modifiers.items()
    assert (found.channel or "") == row["expected_channel"] or found.model is None


# ------------------------------------------------------------------ a file of names


def test_a_file_is_mapped_row_by_row(tmp_path: Path) -> None:
    source, target = tmp_path / "names.csv", tmp_path / "out" / "mapped.csv"
    source.write_bytes(
        b"\xef\xbb\xbfsource_name,context_provider,note\r\n"
        b"claude-4.5-sonnet-thinking,cursor,x\r\n"
        b"\r\n"
        b'"Claude Opus 4.7 (Adaptive Reasoning, Max Effort)",,\r\n'
        b"kimi-k9,kimi,\r\n"
        b"<synthetic>,claude_code,\r\n"
    )

    assert map_file(source, target) == FileCounts(rows=4, mapped=2, maker_only=1, abstained=1)
    assert target.read_text("utf-8") == (
        "source_name,context_provider,maker,canonical_model,channel,modifiers,rule,confidence\n"
        "claude-4.5-sonnet-thinking,cursor,anthropic,claude-sonnet-4-5,cursor,thinking=on,mode.thinking_claude,90\n"
        '"Claude Opus 4.7 (Adaptive Reasoning, Max Effort)",,anthropic,claude-opus-4-7,anthropic,effort=max,'
        "display.effort,90\n"
        "kimi-k9,kimi,moonshotai,,moonshotai,,unknown_name,0\n"
        "<synthetic>,claude_code,,,,,synthetic,0\n"
    )


def test_a_file_of_names_alone_and_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = tmp_path / "names.csv"
    source.write_bytes(b"source_name\ngpt-5-2025-08-07\n")
    assert map_file(source, "-").mapped == 1
    assert capfdbinary.readouterr().out == (
        ",".join(COLUMNS).encode() + b"\ngpt-5-2025-08-07,,openai,gpt-5,openai,date=2025-08-07,date.iso,95\n"
    )


def test_modifiers_of_a_file_are_sorted_and_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_text("source_name\nus.anthropic.claude-sonnet-4-5-20250929-v1:0\n", "utf-8")
    targets = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for target in targets:
        map_file(source, target)
    assert ",date=2025-09-29;region=us," in targets[0].read_text("utf-8")
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_a_file_with_its_header_alone_maps_nothing(tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_text("source_name,context_provider\n", "utf-8")
    assert map_file(source, tmp_path / "out.csv") == FileCounts(rows=0, mapped=0, maker_only=0, abstained=0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column source_name"),
        (b"name,context\ngpt-5,codex\n", "has no column source_name"),
        (b"source_name\ngpt\xff\n", "is no UTF-8"),
        (b"source_name\n" + b"x" * 200_000 + b"\n", "line 2: field larger than field limit"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_writes_nothing(tmp_path: Path, content: bytes, problem: str) -> None:
    source, target = tmp_path / "names.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    with pytest.raises(TokenLedgerError) as caught:
        map_file(source, target)
    assert str(caught.value).startswith(f"{source}: ")
    assert problem in str(caught.value)
    assert not target.exists()


def test_a_missing_file_and_a_folder_as_target_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match=r"absent\.csv: No such file"):
        map_file(tmp_path / "absent.csv", "-")
    source = tmp_path / "names.csv"
    source.write_text("source_name\n", "utf-8")
    with pytest.raises(TokenLedgerError, match=re.escape(str(tmp_path))):
        map_file(source, tmp_path)


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        # a bracket may be part of the identity
        ("GPT-5 [mini]", "openai"),
        ("GPT-5.1 Codex [max]", "openai"),
        ("Gemini 2.5 Flash [lite]", "google"),
        ("Llama 3.3 70B Instruct [lora]", "meta"),
        # other weights of the same family
        ("Qwen2.5-7B-Instruct-1M", "alibaba"),
        ("ollama/deepseek-r1", "deepseek"),
        ("ollama/qwen3-coder", "alibaba"),
        # a customer's own models
        ("accounts/acme/models/gpt-oss-120b", None),
        ("arn:aws:bedrock:us-east-1:123456789012:custom-model/claude-3-haiku", None),
        ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/claude-opus-4-5", None),
        # names that move with time
        ("magistral-medium-latest", "mistral"),
        ("hunyuan-turbos-latest", "tencent"),
        # families that only begin alike
        ("gpt-neox-20b", None),
        ("gpt-j-6b", None),
        ("tngtech/deepseek-r1t2-chimera", None),
        ("llama-3.1-tulu-3-405b", None),
    ],
)
def test_what_may_be_another_model_is_not_told(name: str, maker: str | None) -> None:
    found = map_name(name)

    assert (found.maker, found.model, found.confidence) == (maker, None, 0)


@pytest.mark.parametrize(
    ("name", "model", "modifiers"),
    [
        ("deepseek-v3-250324", "deepseek-v3-0324", {}),
        ("deepseek-r1-250528", "deepseek-r1-0528", {}),
        ("kimi-k2-250905", "kimi-k2-0905", {}),
        ("glm-4-7-251222", "glm-4.7", {"date": "2025-12-22"}),
        ("claude-opus-4-6[fast]", "claude-opus-4-6", {"speed": "fast"}),
        ("Claude Opus 4.6 [anthropic]", "claude-opus-4-6", {}),
        ("gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106", {}),
        ("ollama/qwen3-coder:480b", "qwen3-coder-480b-a35b", {}),
    ],
)
def test_dates_and_brackets_that_say_which_model_it_is(name: str, model: str, modifiers: dict[str, str]) -> None:
    found = map_name(name)

    assert (found.model, found.modifiers) == (model, modifiers)
