"""Sessions by meaning, schema version 1: the answer to one question, each session with its likeness and its cost.

Here: the shape. Not here: how it is found (`inference.search`). Fields are only ever added; consumers ignore keys they
do not know.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

SEARCH_SCHEMA_VERSION = 1


class SearchModel(msgspec.Struct, frozen=True, kw_only=True):
    """Who turned the question into a vector."""

    name: str
    sha256: str
    """Of the weights."""
    requested: str
    """The backend that was asked for."""
    actual: str
    """The backend that answered."""
    reason: str
    """Why that was not the one that was asked for; empty where it was."""
    precision: str
    compute_unit: str


class SearchedIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What was searched."""

    sessions: int
    """With vectors of this model and precision."""
    vectors: int
    matching: int
    """Sessions of these that the filters let through."""
    left_out: int
    """Sessions with vectors of another model or precision, which are not compared."""
    pending: int | None
    """Sessions that were found in the logs and are not embedded yet; null where nobody looked."""


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    rank: int
    client: str
    session_id: str
    score: float
    """Cosine of the question and the session's best part, -1 to 1: an estimate of likeness, not a probability."""
    margin: float | None
    """Score less that of the next session; null for the last one there is."""
    part: int
    """The part that is most like the question, from 1."""
    started_at: str | None
    """Time of the first prompt, RFC 3339, UTC; null where the log has none."""
    project: str | None
    models: list[str]
    """Canonical names, most tokens first."""
    event_count: int
    total_tokens: int
    unpriced_tokens: int
    list_price_usd: Decimal | None
    """Null where no request has a price."""
    effective_cost_usd: Decimal | None
    first_activity: str | None
    """Start of the quarter hour of the first request, RFC 3339, UTC; null where none is booked."""
    last_activity: str | None
    """The same of the last request."""
    prompts: list[str] | msgspec.UnsetType = msgspec.UNSET
    """What was typed, where it is kept and was asked for; else the key is left out."""


class SearchDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The document: sessions by score, the most alike first."""

    schema_version: int = SEARCH_SCHEMA_VERSION
    generated_at: str
    query: str
    timezone: str
    """The ledger's own zone, in which the days of the filters are cut."""
    filters: dict[str, Any]
    limit: int
    min_score: float
    basis: Literal["estimate"] = "estimate"
    """What scores and margins are; tokens and costs are the ledger's own figures."""
    model: SearchModel
    index: SearchedIndex
    results: list[SearchHit]
