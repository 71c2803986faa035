"""The naming data agrees with itself: every alias leads to a known model and shadows none."""

from __future__ import annotations

import itertools

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
