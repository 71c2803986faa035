"""The review queue of model names (`tokenledger ledger review`, `mapping_suggestions.json`).

Here: its shape and schema version.  Not here: which names wait and what they may mean
(`inference.mapping_suggestions`), or how it is printed (`cli.ledger`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

MAPPING_SUGGESTIONS_SCHEMA_VERSION = 1
OVERRIDES_HEAD = "schema_version: 1\noverrides:\n"
"""How `overrides.yaml` begins; entries follow."""


class MappingSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One model that a name may stand for; nothing is priced by it until a person says so."""

    model: str
    """Canonical id, of the catalogue."""
    maker: str
    modifiers: dict[str, str]
    """What the rules take out of the name before it is compared: channel, date, effort, ..."""
    method: Literal["dice-tfidf", "dice-tfidf, ranked by embedding"]
    score: float
    """Likeness of the names, 0 to 1; no probability."""
    margin: float
    """By how much it is more alike than the next canonical name, whether the guard lets that one pass or not; below 0
    where another name is more alike, such as another version."""
    cosine: float | None
    """Of the embeddings of both names; null where inference is off."""
    is_estimate: Literal[True] = True
    override: str
    """An entry for `overrides.yaml`, to be pasted below `overrides:`."""


class NameInReview(msgspec.Struct, frozen=True, kw_only=True):
    """A name of the logs that no rule explains for certain."""

    client: str
    name: str
    """As logged."""
    maker: str | None
    rule: str
    """Why it is not mapped: the rule, as in the contract of model names."""
    confidence: int
    """Of the mapping, below what is priced."""
    events: int
    tokens: int
    first_day: str
    """UTC."""
    last_day: str
    suggestions: list[MappingSuggestion]
    """The likeliest first; empty where nothing passes the guard."""


class MappingReview(msgspec.Struct, frozen=True, kw_only=True):
    """The queue."""

    schema_version: int = MAPPING_SUGGESTIONS_SCHEMA_VERSION
    generated_at: str
    overrides_path: str
    """Where entries go."""
    below_confidence: int
    """Names below it are in the queue."""
    min_score: float
    embedding: str
    """`on`, with the backend, or why the suggestions were ranked by likeness alone."""
    names_total: int
    """How many names wait; `names` may be fewer."""
    names: list[NameInReview]
    """By tokens, the largest first."""
