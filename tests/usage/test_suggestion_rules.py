"""The rules of suggestions as they are shipped, and what is refused of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenledger_dagster.usage.suggestion_rules import PATH, THRESHOLDS, SuggestionRulesError, load_rules
from tokenledger_dagster.usage.suggestions import COUNTED, PRICED

_TEXT = PATH.read_text("utf-8")
PAGE = Path(__file__).parents[2] / "docs" / "contracts" / "suggestions.md"


def test_the_shipped_rules_are_all_there_are_and_each_is_documented() -> None:
    rules = load_rules()
    assert set(rules) == set(THRESHOLDS)
    assert {*PRICED, *COUNTED} < set(rules)
    page = PAGE.read_text("utf-8")
    assert [name for name in rules if f"| `{name}` |" not in page] == []


def test_every_rule_says_what_it_measures_and_what_it_cannot_say() -> None:
    for rule in load_rules().values():
        assert all((rule.measures, rule.method, rule.limits))
        assert len(rule.text) < 300


@pytest.mark.parametrize(
    ("find", "put", "told"),
    [
        ("  cache_reuse:", "  cache_rescue:", "rules: cache_rescue: no such rule"),
        ("minimum_sessions: 5, ", "", "rules: cache_reuse: thresholds: needs"),
        ("minimum_sessions: 5, ", "minimum_sessions: many, ", "is no number; write it as 18.40"),
        ("minimum_sessions: 5, ", "minimum_sessions: -5, ", "minimum_sessions: is no number from 0 on"),
        ("minimum_sessions: 5, ", "minimum_sessions: NaN, ", "minimum_sessions: is no number from 0 on"),
        ("shape_quantile: 0.9", "shape_quantile: 9", "shape_quantile: is above 1"),
        ("severity: warning", "severity: alarm", "is none of warning, notice, info"),
        ("dated: 2026-11-21\n    severity: warning", "dated: soon\n    severity: warning", "is no day"),
        ("{client}: {requests} to {model} with prompts", "{client: {requests} with prompts", "text: its braces"),
        ("schema_version: 1", "schema_version: 2", "schema_version is not 1"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_in_one_line(tmp_path: Path, find: str, put: str, told: str) -> None:
    path = tmp_path / "suggestions.yaml"
    assert find in _TEXT
    path.write_text(_TEXT.replace(find, put, 1), encoding="utf-8")

    with pytest.raises(SuggestionRulesError) as found:
        load_rules(path)
    assert told in str(found.value)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_missing_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuggestionRulesError, match="install TokenLedger again"):
        load_rules(tmp_path / "none.yaml")
