"""The naming data agrees with itself: every alias leads to a known model and shadows none."""

from __future__ import annotations

import itertools
from datetime import date

from tokenledger_dagster.models import rules


def test_every_alias_leads_to_a_model_of_the_catalogue() -> None:
    targets = {alias.model for entries in rules.aliases().values() for alias in entries}
    assert targets <= rules.catalog().keys()


def test_no_alias_shadows_a_model() -> None:
    assert not rules.aliases().keys() & rules.catalog().keys()


def test_no_two_models_share_a_spelling() -> None:
    assert len(rules.catalog_by_spelling()) == len(rules.catalog())


def test_no_reserved_word_is_a_model() -> None:
    assert not rules.reserved_names().keys() & rules.catalog().keys()


def test_rule_names_are_unique() -> None:
    names = [rule.name for rule in rules.rewrite_rules()]
    assert len(names) == len(set(names))


def test_dated_aliases_of_one_name_do_not_overlap() -> None:
    for entries in rules.aliases().values():
        spans = sorted((alias.valid_from, alias.valid_to or "9999") for alias in entries)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_every_rule_has_a_name_a_day_and_a_confidence() -> None:
    named = [(rule.name, rule.added) for rule in rules.rewrite_rules()]
    named += [(rule.name, rule.added) for rule in rules.maker_rules()]
    assert all(name and date.fromisoformat(added).isoformat() == added for name, added in named)
    assert all(60 <= rule.confidence <= 100 for rule in rules.rewrite_rules())


def test_names_of_maker_rules_are_unique() -> None:
    names = [rule.name for rule in rules.maker_rules()]
    assert len(names) == len(set(names))


def test_the_maker_of_a_model_is_not_denied_by_a_rule_of_makers() -> None:
    denied = {}
    for model, maker in rules.catalog().items():
        found = next((rule for rule in rules.maker_rules() if rule.pattern.search(model)), None)
        if found is not None and found.maker != maker:
            denied[model] = found.name
    assert denied == {}


def test_every_reserved_word_says_why() -> None:
    rows = rules.read_config("model_reserved.csv")
    assert all(row["source"] for row in rows)
    assert {row["kind"] for row in rows} == {"router", "stealth", "non_model", "family"}


def test_contexts_are_written_as_they_are_looked_up() -> None:
    for row in rules.read_config("model_contexts.csv"):
        assert rules.context(row["context"]) == rules.Context(row["client"], row["channel"])


def test_rules_find_their_end_on_long_text() -> None:
    patterns = [rule.pattern for rule in rules.rewrite_rules()] + [rule.pattern for rule in rules.maker_rules()]
    for text in ("a-" * 150, "(" * 300, "claude-" + "9" * 290, "qwen3." + "5p" * 140, "x/" * 150):
        for pattern in patterns:
            pattern.search(text)
