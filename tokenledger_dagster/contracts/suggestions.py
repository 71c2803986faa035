"""Suggestions, schema version 1: what a month's figures support, each with its evidence.

Here: the shape. Not here: the rules (`config/suggestions.yaml`), how they are evaluated (`usage.suggestions`). Fields
are only ever added; consumers ignore keys they do not know.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

SUGGESTIONS_SCHEMA_VERSION = 1

Severity = Literal["warning", "notice", "info"]
Confidence = Literal["high", "medium", "low"]
Unit = Literal["usd", "tokens", "share", "ratio", "requests", "sessions", "periods"]
KeyTable = Literal["event_costs", "subscriptions"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that a suggestion rests on."""

    name: str
    value: Decimal
    unit: Unit
    """`share` is 0 to 1, `ratio` any quotient."""


class SuggestionScope(msgspec.Struct, frozen=True, kw_only=True):
    """What a suggestion is about; null is every one."""

    month: str
    client: str | None = None
    provider: str | None = None
    model: str | None = None
    subscription: str | None = None


class SuggestionEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What shows it."""

    period_start: str
    """RFC 3339, UTC, included."""
    period_end: str
    """RFC 3339, UTC, not included."""
    requests: int
    sessions: int
    figures: list[Figure]
    table: KeyTable
    """Table of the analyst database that `keys` are of."""
    keys: list[str]
    """Event ids, those that weigh most first, at most five; of plans `<subscription>/<segment_start>`."""
    session_ids: list[str] = []
    """Sessions that weigh most, at most five."""


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One suggestion."""

    id: str
    """Rule and scope; the same for the same thing in another month."""
    rule: str
    rule_dated: str
    severity: Severity
    scope: SuggestionScope
    title: str
    text: str
    evidence: SuggestionEvidence
    estimated_saving_usd: Decimal | None
    """Of the month (of plans: of the last whole billing period), never more than what it speaks of cost; null where
    the figures do not tell."""
    method: str
    assumptions: list[str]
    confidence: Confidence
    limits: list[str]
    overlaps_with: list[str] = []
    """Ids of suggestions that speak of some of the same requests: their savings do not add up."""


class RuleStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as it was applied."""

    rule: str
    dated: str
    enabled: bool
    measures: str
    thresholds: dict[str, Decimal]


class ClientSavings(msgspec.Struct, frozen=True, kw_only=True):
    """One client's part of the document's sums."""

    client: str
    requests: int
    estimated_saving_usd: Decimal


class SuggestionsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The document: all suggestions of one month, the largest saving first, then those without one."""

    schema_version: int = SUGGESTIONS_SCHEMA_VERSION
    generated_at: str
    timezone: str
    month: str
    filters: dict[str, Any]
    requests: int
    """Booked requests of the month, those that are only estimates left out, since no rule looks at them."""
    estimated_saving_usd: Decimal
    """All suggestions together: of each request only the largest of its savings counts."""
    clients: list[ClientSavings]
    suggestions: list[Suggestion]
    rules: list[RuleStanding]
    state: str = ""
    """Stands for everything that the document was made from."""
