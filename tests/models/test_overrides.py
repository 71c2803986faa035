"""What a person says names stand for: how the file is read, what it answers, and how it says what is wrong with it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.docs.generated import ROOT, blocks
from tokenledger_dagster.models.mapping import map_name
from tokenledger_dagster.models.overrides import Override, Overrides, OverridesError, decode, load_overrides

EXAMPLE = """
schema_version: 1
overrides:
  - {name: Claude-Sonnet-4-5, client: claude_code, model: glm-4.6, modifiers: {channel: zai}, reason: gateway}
  - {name: claude-sonnet-4-5, model: kimi-k2, from: 2026-05-01, to: 2026-06-01, reason: a month of trial}
  - {name: house-large, model: house-large-2, maker: example, reason: ours}
"""

Load = Callable[[str], Overrides]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(text: str) -> Overrides:
        path = tmp_path / "overrides.yaml"
        path.write_text(text, encoding="utf-8")
        return load_overrides(path)

    return from_text


@pytest.mark.parametrize(
    ("name", "client", "day", "expected"),
    [
        ("claude-sonnet-4-5", "claude-code", "2026-01-01", ("glm-4.6", "zai")),
        (" CLAUDE-SONNET-4-5 ", "claude-code", "2026-05-10", ("glm-4.6", "zai")),
        ("claude-sonnet-4-5", "droid", "2026-05-01", ("kimi-k2", "moonshotai")),
        ("claude-sonnet-4-5", "droid", "2026-05-31", ("kimi-k2", "moonshotai")),
        ("claude-sonnet-4-5", "droid", "2026-06-01", None),
        ("claude-sonnet-4-5", "droid", "2026-04-30", None),
        ("claude-sonnet-4-5", "droid", None, None),
        ("house-large", "codex", None, ("house-large-2", "example")),
        ("claude-sonnet-4-5-20250929", "claude-code", "2026-05-10", None),
        (None, "codex", "2026-05-10", None),
    ],
)
def test_a_name_is_looked_up_by_client_and_day(
    load: Load, name: str | None, client: str, day: str | None, expected: tuple[str, str] | None
) -> None:
    found = load(EXAMPLE).named(name, client, day)

    assert (found and (found.model, found.maker)) == expected
    assert found is None or (found.rule, found.confidence) == ("override", 95)


def test_no_file_and_an_empty_one_say_nothing(load: Load, tmp_path: Path) -> None:
    for found in (load_overrides(tmp_path / "none.yaml"), load(""), load("schema_version: 1\n")):
        assert not found
        assert found.digest == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("overrides: []", "schema_version is not 1; write `schema_version: 1` or use a newer TokenLedger"),
        ("schema_version: 1\nrules: []", "unknown key rules; use one of schema_version, overrides"),
        ("schema_version: 1\noverrides: {}", "overrides: is no list; write `- ` before each entry"),
        ("schema_version: 1\noverrides: [x]", "overrides[0]: is no mapping; write `name: value` lines"),
        ("schema_version: 1\noverrides: [{name: x, model: y}]", "overrides: x: reason is missing; add it"),
        (
            "schema_version: 1\noverrides: [{name: x, model: y, reason: z, price: 1}]",
            "overrides: x: unknown key price; use one of name, model, reason, client, maker, modifiers, from, to",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: 'y z', reason: z}]",
            "overrides: x: model: is empty or not spelt as it must be; use plain letters and digits",
        ),
        (
            "schema_version: 1\noverrides: [{name: ' ', model: y, reason: z}]",
            "overrides:  : name: is empty or not spelt as it must be; use plain letters and digits",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: y, reason: z, from: May}]",
            "overrides: x: from: is no day; write it as 2026-01-31",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: y, reason: z, from: 2026-05-02, to: 2026-05-02}]",
            "overrides: x: to: 2026-05-02 is not after from: 2026-05-02; correct one of them",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: y, reason: z}, {name: X, model: w, reason: z}]",
            "overrides: X: is named twice on the same day; remove one or give them days",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: y, reason: z, from: 9999-12-31}, "
            "{name: x, model: w, reason: z, from: 9999-12-31}]",
            "overrides: x: is named twice on the same day; remove one or give them days",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: Claude-Sonnet-4.5, reason: z}]",
            "overrides: x: model: Claude-Sonnet-4.5 is another spelling; write claude-sonnet-4-5",
        ),
        (
            "schema_version: 1\noverrides: [{name: x, model: gpt-5-fast, reason: z}]",
            "overrides: x: model: gpt-5-fast is another spelling; write gpt-5 with modifiers: {speed: fast}",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(load: Load, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OverridesError) as refused:
        load(text)

    assert str(refused.value) == f"{tmp_path / 'overrides.yaml'}: {message}"


def test_a_client_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(OverridesError, match="client: copilto is no client; use one of claude-code, "):
        load("schema_version: 1\noverrides: [{name: x, model: y, reason: z, client: copilto}]")


@pytest.mark.parametrize(
    "content", [b"\x80a: b", b"a: [", b"schema_version: 1\n\x00", b"a: &x 1\nb: *x\n", b"- 1\n- 2"]
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "overrides.yaml"
    path.write_bytes(content)

    with pytest.raises(OverridesError, match=re.escape(str(path))):
        load_overrides(path)


_ENTRIES = st.lists(
    st.builds(
        Override,
        name=st.text("abc-", min_size=1, max_size=4),
        model=st.sampled_from(["glm-4.6", "kimi-k2", "house-1"]),
        reason=st.sampled_from(["why", "because"]),
        client=st.sampled_from([None, "codex", "claude-code"]),
    ),
    max_size=6,
    unique_by=lambda one: (one.name, one.client),
)


@given(_ENTRIES, st.randoms())
def test_order_and_reasons_change_nothing(entries: list[Override], chance: random.Random) -> None:
    mixed = list(entries)
    chance.shuffle(mixed)
    other = Overrides([msgspec.structs.replace(one, reason="another") for one in mixed])

    assert other.digest == Overrides(entries).digest
    for one in entries:
        assert other.named(one.name, one.client or "", None) == Overrides(entries).named(
            one.name, one.client or "", None
        )


@given(_ENTRIES)
def test_what_is_kept_is_read_back(entries: list[Override]) -> None:
    assert decode(Overrides(entries).encode()) == Overrides(entries)


def test_what_cannot_be_read_back_is_none() -> None:
    assert not decode(None)
    assert not decode('[{"name": 1}]')


def test_a_mapped_name_follows_it(load: Load) -> None:
    found = map_name("house-large", overrides=load(EXAMPLE))

    assert (found.maker, found.model, found.channel, found.model_rule, found.confidence) == (
        *("example", "house-large-2", "example", "override", 95),
    )
    assert map_name("house-large").model is None
    assert map_name("claude-sonnet-4-5", "Claude Code", overrides=load(EXAMPLE)).channel == "zai"


def test_the_documented_example_is_one(load: Load) -> None:
    (example,) = blocks(ROOT / "docs" / "contracts" / "mapping.md", "yaml")

    assert [one.model for one in load(example).entries] == ["glm-4.6", "house-large-2"]
