"""A suggestion put into words.

Here: figures with their units, and the templates of the rules filled with them. Not here: any figure.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import get_args

from tokenledger_dagster.contracts.suggestions import (
    Figure,
    Suggestion,
    SuggestionEvidence,
    SuggestionScope,
    Unit,
)
from tokenledger_dagster.printable import printable
from tokenledger_dagster.usage.suggestion_rules import Rule

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CENT, _TENTH = Decimal("0.01"), Decimal("0.1")
_LONGEST_NAME = 80


def usd(nano: int) -> Decimal:
    """USD of nano-USD."""
    return Decimal(nano).scaleb(-9, _EXACT)


def figure(name: str, value: Decimal | int) -> Figure:
    """A figure whose unit is the last part of its name (`read_share`: share); another name is a count of its own."""
    last = name.rpartition("_")[2]
    units: dict[str, Unit] = {one: one for one in get_args(Unit)}
    return Figure(name=name, value=Decimal(value), unit=units[last])


def made(
    name: str,
    rule: Rule,
    *,
    suggestion_id: str,
    scope: SuggestionScope,
    evidence: SuggestionEvidence,
    saving: Decimal | None,
    detail: str = "",
) -> Suggestion:
    """A suggestion in the words of its rule."""
    values = {one.name: _told(one) for one in evidence.figures}
    # `fee_usd` is {fee} in a template
    values |= {key.removesuffix("_usd"): text for key, text in values.items() if key.endswith("_usd")}
    values |= {key: _number(value) for key, value in rule.thresholds.items()}
    names = ("client", "provider", "model", "subscription")
    values |= {key: _name(getattr(scope, key) or "") for key in names}
    values |= {
        "month": scope.month,
        "detail": _name(detail),
        "requests": _counted(evidence.requests, "request"),
        "sessions": _counted(evidence.sessions, "session"),
        "saving": _dollars(saving) if saving is not None else "",
    }
    return Suggestion(
        id=suggestion_id,
        rule=name,
        rule_dated=rule.dated.isoformat(),
        severity=rule.severity,
        scope=scope,
        title=rule.fill(rule.title, values),
        text=rule.fill(rule.text, values),
        evidence=evidence,
        estimated_saving_usd=saving,
        method=rule.method,
        assumptions=list(rule.assumptions),
        confidence=rule.confidence,
        limits=list(rule.limits),
    )


def _told(one: Figure) -> str:
    if one.unit == "usd":
        return _dollars(one.value)
    if one.unit == "share":
        return f"{one.value:.0%}"
    if one.unit == "ratio":
        return f"{one.value:.1f}"
    return f"{one.value:,f}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _number(value: Decimal) -> str:
    """A threshold as a person would write it."""
    return f"{value.normalize():f}"


def _dollars(value: Decimal) -> str:
    return f"${value:,.2f}" if not value or abs(value) >= _CENT else "less than a cent"


def _name(text: str) -> str:
    """A name from a log, so that it cannot break a line of ours."""
    text = printable(text)
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
