"""The rules of suggestions: `config/suggestions.yaml` as values.

Here: reading and checking the file. Not here: evaluating rules (`usage.suggestions`, `usage.plan_suggestions`).
"""

from __future__ import annotations

import string
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.suggestions import Confidence, RuleStanding, Severity
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.plainyaml import Given, YamlFile

PATH = CONFIG_DIRECTORY / "suggestions.yaml"

REQUESTS, SAVING, SHARE = "minimum_requests", "minimum_saving_usd", "minimum_saving_share"
"""Thresholds with the same meaning for every rule that has them."""
_SAVED = (REQUESTS, SAVING, SHARE)
THRESHOLDS: dict[str, tuple[str, ...]] = {
    "cache_reuse": (
        *("minimum_sessions", "minimum_session_requests", "minimum_session_prompt_tokens", "gap_share"),
        *_SAVED,
    ),
    "model_routing": (
        *("minimum_model_requests", "shape_quantile", "maximum_prompt_tokens", "maximum_output_tokens"),
        *_SAVED,
    ),
    "premium_speed": _SAVED,
    "long_context": _SAVED,
    "one_hour_writes": _SAVED,
    "tool_share": (REQUESTS, "minimum_tool_share", "minimum_total_tokens"),
    "unpriced_usage": (REQUESTS, "minimum_unpriced_tokens"),
    "undeclared_plan": (REQUESTS,),
    "idle_subscription": ("minimum_periods", "maximum_leverage", SAVING),
    "plan_below_list": ("minimum_periods", "maximum_leverage", SAVING),
    "plan_above_list": ("minimum_periods", "minimum_leverage"),
}
"""Every rule that there is, with the thresholds that it needs."""


class SuggestionRulesError(TokenLedgerError):
    """The file cannot be used; the message names it, the place and the remedy."""


class Rule(Given, frozen=True, kw_only=True):
    """One rule."""

    enabled: bool
    dated: date
    severity: Severity
    confidence: Confidence
    measures: str
    thresholds: dict[str, Decimal]
    title: str
    text: str
    method: str
    assumptions: tuple[str, ...]
    limits: tuple[str, ...]

    def standing(self, name: str) -> RuleStanding:
        """The rule as a document tells of it."""
        return RuleStanding(
            rule=name,
            dated=self.dated.isoformat(),
            enabled=self.enabled,
            measures=self.measures,
            thresholds=self.thresholds,
        )

    def fill(self, template: str, values: dict[str, str]) -> str:
        """A text with its figures.  Raises SuggestionRulesError for a figure that the rule does not have."""
        try:
            return template.format_map(values)
        except KeyError as error:
            told = f"{template[:60]!r}: there is no figure {error}; use one of {', '.join(sorted(values))}"
            raise SuggestionRulesError(f"{PATH}: {told}") from error


_FILE = YamlFile(SuggestionRulesError, "suggestion rules", choices={"severity": Severity, "confidence": Confidence})


def load_rules(path: Path = PATH) -> dict[str, Rule]:
    """Return the rules by name, in the order of the file.

    Raises:
        SuggestionRulesError: the file is missing or says something that cannot be meant.
    """
    try:
        document = _FILE.document(path, "rules")
    except FileNotFoundError as error:
        raise SuggestionRulesError(f"{path}: is not there; install TokenLedger again") from error
    rules = _FILE.by_key(Rule, _FILE.entries(document, "rules", dict, path), path, "rules")
    for name, rule in rules.items():
        problem = _problem(name, rule)
        if problem:
            raise SuggestionRulesError(f"{path}: rules: {name}: {problem}")
    return rules


def _problem(name: str, rule: Rule) -> str:
    if name not in THRESHOLDS:
        return f"no such rule; use one of {', '.join(THRESHOLDS)}"
    needed = set(THRESHOLDS[name])
    if set(rule.thresholds) != needed:
        return f"thresholds: needs {', '.join(sorted(needed))}, no others"
    for threshold, value in rule.thresholds.items():
        if not value.is_finite() or value < 0:
            return f"thresholds: {threshold}: is no number from 0 on; write one"
    for quantile in ("shape_quantile", "gap_share", "minimum_tool_share"):
        if rule.thresholds.get(quantile, Decimal(0)) > 1:
            return f"thresholds: {quantile}: is above 1; write a share"
    for field in ("title", "text"):
        try:
            named = [part for _, part, _, _ in string.Formatter().parse(getattr(rule, field)) if part is not None]
        except ValueError:
            return f"{field}: its braces do not match; write {{figure}}"
        if not all(part.isidentifier() for part in named):
            return f"{field}: a figure in braces is no name; write {{figure}}"
    return ""


def as_key(rules: dict[str, Rule]) -> str:
    """Stands for all rules."""
    return msgspec.json.encode(rules).decode()
