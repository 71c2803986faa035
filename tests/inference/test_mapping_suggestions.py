"""Names that wait for a review: what may be suggested for one, what never, and that a suggestion changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.small import rows
from tests.inference.words import Words
from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.contracts.mapping_suggestions import OVERRIDES_HEAD, MappingReview
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.tables import build
from tokenledger_dagster.inference.backend import BackendError
from tokenledger_dagster.inference.embedder import Embeddings
from tokenledger_dagster.inference.likeness import Names, distance, parts
from tokenledger_dagster.inference.mapping_suggestions import (
    Asked,
    load_rules,
    review,
    review_path,
    rules,
    suggestions,
    write_review,
)
from tokenledger_dagster.models.names import resolve, taken_apart
from tokenledger_dagster.models.overrides import load_overrides
from tokenledger_dagster.models.rules import catalog

OFF = Asked(None, "off: no model")


def suggested(name: str) -> list[str]:
    return [one.model for one in suggestions(name, "claude-code")]


# ------------------------------------------------------------------ one name


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-sonet-4-5", "claude-sonnet-4-5"),
        ("claude_opuss_4.5", "claude-opus-4-5"),
        ("gemni-2.5-pro", "gemini-2.5-pro"),
        ("deepsek-v3", "deepseek-v3"),
        ("gemini-2.5-flsh", "gemini-2.5-flash"),
        ("mini-gpt-5.4", "gpt-5.4-mini"),
        ("4-5-sonnet-claude", "claude-sonnet-4-5"),
        ("4.5 haiku", "claude-haiku-4-5"),
        ("claude-opus-4-5-prod", "claude-opus-4-5"),
        ("gpt-4o-mini-eastus-deployment", "gpt-4o-mini"),
        ("acme-internal-claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonet-4.5:thinking", "claude-sonnet-4-5"),
    ],
)
def test_a_typing_error_another_order_or_words_of_a_house_are_seen_through(name: str, model: str) -> None:
    assert resolve(name, "claude-code", None).name.confidence < 60, "else it would not be in the queue"
    assert suggested(name) == [model]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "claude-sonnet-9",
            "gpt-6",
            "claude-opus-9-9",
            "grok-33",
            "gemini-9-pro",
            "claude-opus-5-4",
            "claude-sonet-9",
        ),
        *("gpt-5.2-codex-max", "gpt-5.2-codx-max", "claude-opus-4-5-ultra", "gpt-5-supermax", "gpt-5.4-mimi-mini"),
        *("claude-sonet-9", "gpt-o4-mini", "kimi-k22", "glm-4.6-ari", "gpt-4.5.1", "mycorp-gpt-5"),
        # numbers put together in another way, also to another size
        *("gpt-5-chat-1", "gemini-3-pro-1", "1-gpt-5-image", "gpt-oss-1-20b", "1-gpt-oss-safeguard-20b", "2claude-1"),
        # what was made of a model, or stands in for it
        *(
            "sft-claude-sonnet-4-5",
            "merged-qwen3-32b",
            "draft-qwen3-8b",
            "judge-gpt-5",
            "not-gpt-5",
            "mega-gpt-5.4-mini",
        ),
        # words and digits of other scripts are words and digits
        *("claude-sonnet-4-5-\u6700\u5927", "gpt-5-\u043c\u0438\u043d\u0438", "claude-opus-4\u00b2"),
        *("claude-opus-4-\u0665", "gpt-5-m\u0456ni"),
        *("opus", "auto", "gpt-test", "claude-sonet-4-5-test", "o3 (high) + gpt-4.1", "big-pickle"),
        *("acme-coder-9", "house-model-7", "", "   ", "-", "4-5", "\0claude-sonet-4-5", "claude-sonet-4-5 " * 40),
    ],
)
def test_another_version_or_tier_and_what_is_no_one_model_have_no_suggestion(name: str) -> None:
    assert suggested(name) == []


def test_a_suggestion_says_how_it_was_found_and_how_sure() -> None:
    (one,) = suggestions("openrouter/anthropic/claude-sonet-4.5:thinking", "opencode")

    assert (one.method, one.maker, one.is_estimate, one.cosine) == ("dice-tfidf", "anthropic", True, None)
    assert one.modifiers == {"channel": "openrouter", "thinking": "on"}
    assert 0.9 < one.score < 1
    assert 0.2 < one.margin < one.score


def test_the_margin_is_against_every_other_name_not_only_those_that_may_be_suggested() -> None:
    (one,) = suggestions("mini-gpt-5.4", "codex")
    nearest = Names(catalog()).next_best("mini-gpt-5.4", "gpt-5.4-mini")

    assert one.margin == pytest.approx(one.score - nearest, abs=0.001)
    assert nearest > 0.7, "which is why likeness alone decides nothing"


# ------------------------------------------------------------------ the guard


@pytest.mark.parametrize("name", ["acme-flashx", "acme-xflash", "acme-flashes", "acme-flash-5-1", "acme-flash-51"])
def test_a_longer_word_and_numbers_put_together_otherwise_are_another_name(name: str) -> None:
    known = Names(["acme-flash", "acme-5-flash-1", "acme-flash-5"])

    assert known.candidates(name) == []
    assert [one.model for one in known.candidates("acme-flashh")] == ["acme-flash"]
    assert [one.model for one in known.candidates("acme-flahs-5")] == ["acme-flash-5"]


def test_what_takes_long_to_make_is_not_made_for_a_name_with_nothing_to_be_taken_for() -> None:
    known = Names(catalog(), rules().neutral, rules().families, rules().derived)

    assert known.candidates("acme-coder-9") == []
    assert "_letters" not in vars(known)
    assert known.candidates("claude-sonet-4-5")
    assert "_letters" in vars(known)


def test_no_two_names_of_the_catalogue_pass_the_guard_for_one_another() -> None:
    """All pairs at once: a canonical name, however alike to others, is taken for itself alone."""
    known = Names(catalog(), rules().neutral, rules().families, rules().derived)

    assert {model: [one.model for one in known.candidates(model)] for model in catalog()} == {
        model: [model] for model in catalog()
    }


def test_words_that_may_follow_a_name_are_no_words_of_the_catalogue() -> None:
    words = {word for model in catalog() for word in parts(model).words}
    assert set(rules().neutral) & words == set()
    assert set(rules().families) | set(rules().families.values()) <= words


_NAMES = st.sampled_from(sorted(catalog()))
_EDITS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abotx5-.19 ")), max_size=4)


@settings(max_examples=50)
@given(_NAMES, _EDITS)
def test_whatever_is_suggested_has_the_same_digits_and_is_of_the_catalogue(model: str, edits: Any) -> None:
    name = model
    for place, letter in edits:
        name = name[: place % (len(name) + 1)] + letter + name[place % (len(name) + 1) + (place % 2) :]

    text, _ = taken_apart(name)
    found = suggestions(name, "codex")

    assert len(found) <= rules().most
    for one in found:
        assert one.model in catalog()
        assert Counter(filter(str.isdecimal, one.model)) == Counter(filter(str.isdecimal, text))
        assert parts(one.model).digits == parts(text).digits
        assert rules().min_score <= one.score <= 1


@given(st.text(max_size=60))
def test_any_text_is_answered(name: str) -> None:
    for one in suggestions(name, "codex"):
        assert one.model in catalog()


@pytest.mark.parametrize(
    ("one", "other", "most", "expected"),
    [
        ("sonet", "sonnet", 1, 1),
        ("cladu", "claude", 1, None),
        ("calude", "claude", 1, 1),
        ("abc", "abc", 0, 0),
        ("a", "", 1, 1),
    ],
)
def test_the_distance_counts_letters_and_exchanges(one: str, other: str, most: int, expected: int | None) -> None:
    assert distance(one, other, most) == expected
    assert distance(other, one, most) == expected


def test_a_word_that_is_two_words_typed_wrong_is_left_alone() -> None:
    known = Names(["acme-coder", "acme-codex"])
    assert [one.model for one in known.candidates("acme-codr")] == ["acme-coder"]
    assert known.candidates("acme-codep") == []


# ------------------------------------------------------------------ the queue


def named_world(folder: Path, *names: str) -> World:
    """A request of each of these models, the first with most tokens; and one of a model that is known."""
    world = World(folder)
    listed = enumerate(["claude-sonnet-4-5", *names])
    world.claude(
        *(claude(f"m{place}", f"r{place}", input=10_000 - place, minutes=place, model=name) for place, name in listed)
    )
    world.codex(meta(), turn("acme-coder-9"), tokens((1000, 400, 50), (1000, 400, 50), minutes=30))
    world.sync()
    return world


def queue(world: World, asked: Asked = OFF) -> MappingReview:
    with duckdb.connect() as con:
        events = build("events", con, world.ledger, "UTC")
        return review(world.ledger, con, events.path, asked)


def test_the_queue_holds_what_no_rule_explains_most_tokens_first(tmp_path: Path) -> None:
    world = named_world(tmp_path, "claude-sonet-4-5", "opus", "<synthetic>", "claude-sonnet-9")

    found = queue(world)

    told = [(one.client, one.name, one.rule, one.events, len(one.suggestions)) for one in found.names]
    assert told == [
        ("claude-code", "claude-sonet-4-5", "unknown_name", 1, 1),
        ("claude-code", "opus", "reserved.family", 1, 0),
        ("claude-code", "claude-sonnet-9", "unknown_name", 1, 0),
        ("codex", "acme-coder-9", "unknown_name", 1, 0),
    ]
    assert (found.names_total, found.embedding, found.below_confidence) == (4, "off: no model", 85)
    assert (found.names[0].first_day, found.names[0].last_day) == ("2026-02-18", "2026-02-18")


def test_what_the_pricing_book_names_waits_for_nobody(tmp_path: Path) -> None:
    prices = {"house-large": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}}
    book = {
        "schema_version": 1,
        "meta": {"source": "test", "updated_at": "2026-02-01T00:00:00Z"},
        "providers": {"claude": {"models": prices}},
    }
    without, with_book = tmp_path / "without", tmp_path / "with"
    (with_book / "ledger").mkdir(parents=True)
    (with_book / "ledger" / "pricing.json").write_text(json.dumps(book), encoding="utf-8")

    assert [one.name for one in queue(named_world(without, "house-large")).names] == ["house-large", "acme-coder-9"]
    assert [one.name for one in queue(named_world(with_book, "house-large")).names] == ["acme-coder-9"]


def everything(world: World) -> list[Any]:
    """All that is booked, priced and summed."""
    with duckdb.connect() as con:
        for name in ("events", "event_costs", "unpriced", "usage_daily", "usage_models"):
            build(name, con, world.ledger, "UTC")
    names = ("events", "event_costs", "unpriced", "usage_daily", "usage_models")
    return [world.booked(), *(sorted(map(repr, rows(world, name))) for name in names)]


def test_a_suggestion_changes_no_price_no_total_and_no_booked_row(tmp_path: Path) -> None:
    world = named_world(tmp_path, "claude-sonet-4-5", "mini-gpt-5.4")
    before = everything(world)

    with duckdb.connect() as con:
        assert write_review(world.ledger, con, OFF).review.names[0].suggestions
    world.sync()

    assert everything(world) == before
    assert ("claude-sonet-4-5", None) in rows(world, "event_costs", "model", "list_price_usd")
    assert not world.ledger.overrides_path.exists()


def test_only_when_a_person_pastes_the_entry_is_it_priced(tmp_path: Path) -> None:
    world = named_world(tmp_path, "claude-sonet-4-5")
    ((entry,),) = [[some.override for some in one.suggestions] for one in queue(world).names if one.suggestions]
    world.ledger.overrides_path.write_text(OVERRIDES_HEAD + entry, encoding="utf-8")
    world.sync()

    assert [(one.model_raw, one.model, one.nano is None) for one in world.events()][:2] == [
        ("claude-sonnet-4-5", "claude-sonnet-4-5", False),
        ("claude-sonet-4-5", "claude-sonnet-4-5", False),
    ]
    assert [one.name for one in queue(world).names] == ["acme-coder-9"]


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonet-4-5",
        "openrouter/claude-sonet-4.5:thinking",
        'acme "\\ # \u00e9-claude-sonnet-4-5',
        "\u2028-claude-sonet-4-5",
        "\U0001f680 claude-sonet-4-5",
    ],
)
def test_the_entry_means_what_it_says_whatever_is_in_the_name(tmp_path: Path, name: str) -> None:
    (one,) = suggestions(name, "claude-code")
    path = tmp_path / "overrides.yaml"
    path.write_text(OVERRIDES_HEAD + one.override, encoding="utf-8")

    found = load_overrides(path).named(name, "claude-code", "2026-02-18")

    assert found is not None
    assert (found.model, found.modifiers, found.rule) == (one.model, one.modifiers, "override")


def test_a_name_that_no_file_can_hold_has_no_entry_and_so_no_suggestion() -> None:
    assert suggestions("\ud800-claude-sonet-4-5", "claude-code") == []


# ------------------------------------------------------------------ with a model, and kept


class Backend(Words):
    """Likes the names that it is told to."""

    @contextmanager
    def opened(self) -> Iterator[Words]:
        yield self


class Broken:
    """A model of which no backend answers."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        raise BackendError("onnx: not ready; numpy: not ready")

    @contextmanager
    def opened(self) -> Iterator[Broken]:
        yield self


def test_with_a_model_the_likeness_of_embeddings_stands_beside_and_lets_nothing_more_pass(tmp_path: Path) -> None:
    world = named_world(tmp_path, "claude-sonet-4-5", "claude-sonnet-9")
    backend = Backend()

    found = queue(world, Asked(backend.opened, "on, with the model 5a5a"))

    (one,) = found.names[0].suggestions
    assert (one.cosine, one.method) == (1.0, "dice-tfidf, ranked by embedding")
    assert backend.asked == ["claude-sonet-4-5", "claude-sonnet-4-5"], "names without a suggestion are never embedded"
    assert found.names[1].suggestions == []


def test_where_no_backend_answers_likeness_does_and_says_so(tmp_path: Path) -> None:
    found = queue(named_world(tmp_path, "claude-sonet-4-5"), Asked(Broken().opened, "on"))

    assert found.embedding == "off: onnx: not ready; numpy: not ready"
    assert found.names[0].suggestions[0].method == "dice-tfidf"


def test_the_kept_queue_is_made_anew_only_where_something_changed(tmp_path: Path) -> None:
    world = named_world(tmp_path, "claude-sonet-4-5")
    with duckdb.connect() as con:
        empty = write_review(world.ledger, con, OFF)
        assert empty.review.names == []
        build("events", con, world.ledger, "UTC")
        first = write_review(world.ledger, con, OFF)
        again = write_review(world.ledger, con, OFF)
        assert (first.is_new, again.is_new, again.digest, again.review) == (True, False, first.digest, first.review)
        review_path(world.ledger).write_bytes(b'{"key": ')
        assert write_review(world.ledger, con, OFF)[1:3] == (first.digest, True)
    kept = json.loads(review_path(world.ledger).read_bytes())
    assert kept["schema_version"] == 1
    assert [one["name"] for one in kept["names"]] == ["claude-sonet-4-5", "acme-coder-9"]
    assert set(kept) == {*MappingReview.__struct_fields__, "key"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("min_score: 0.7", "min_score: 7"), "<= 1.0"),
        (("  opus: claude", "  Opus: claude"), "matching regex"),
        (("most: 3", "most: 3\nleast: 1"), "unknown field `least`"),
        (("families:", "families: {"), "while parsing"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_in_one_line(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    path = tmp_path / "mapping_suggestions.yaml"
    text = (Path(__file__).parents[2] / "config" / path.name).read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change, 1), encoding="utf-8")

    with pytest.raises(TokenLedgerError) as caught:
        load_rules(path)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_queue_ends_where_the_rules_say(tmp_path: Path) -> None:
    world = named_world(tmp_path, "a-1", "b-1", "c-1")
    with duckdb.connect() as con:
        events = build("events", con, world.ledger, "UTC")
        short = msgspec.structs.replace(rules(), most_names=2)
        found = review(world.ledger, con, events.path, OFF, using=short)

    assert (found.names_total, [one.name for one in found.names]) == (4, ["a-1", "b-1"])
