"""The UI snapshot, schema version 1: a month in one small JSON file, for status bars and editor extensions.

Here: its shape, and whether a document has it.  Not here: its figures (``exports.ui_snapshot``).  Fields are only ever
added; consumers ignore keys they do not know.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

SNAPSHOT_SCHEMA_VERSION = 1

SnapshotMode = Literal["compact", "extended"]


class SnapshotTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The month in all."""

    cost_usd: Decimal
    """Effective cost including idle subscription, USD."""
    tokens: int
    blended_usd_per_mtok: Decimal
    """``cost_usd / (tokens / 1e6)``; 0 without tokens."""
    session_count: int
    skipped_unpriced_count: int
    """Requests without a list price; their tokens count, their cost does not."""
    # additive
    list_price_usd: Decimal
    estimated_tokens: int = 0
    """Part of ``tokens`` that no provider counted."""
    idle_subscription_usd: Decimal = Decimal(0)
    """Part of ``cost_usd``: fees of plans that no request carries."""


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """One provider, model or client."""

    name: str
    tokens: int
    total_cost_usd: Decimal
    blended_usd_per_mtok: Decimal
    session_count: int
    # additive
    list_price_usd: Decimal


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The document.  Rows stand by tokens, largest first, then by name; ``compact`` keeps the first few."""

    schema_version: int = SNAPSHOT_SCHEMA_VERSION
    generated_at: str
    """RFC 3339, UTC."""
    month: str
    """YYYY-MM, in ``timezone``."""
    mode: SnapshotMode
    totals: SnapshotTotals
    top_providers: list[SnapshotRow]
    top_models: list[SnapshotRow]
    suggestions: list[str]
    reconcile_latest_summary_path: str | msgspec.UnsetType = msgspec.UNSET
    # additive
    timezone: str
    """IANA name of the zone that the month is cut in."""
    top_clients: list[SnapshotRow]
    suggestions_path: str | msgspec.UnsetType = msgspec.UNSET
    """Where the whole of ``suggestions`` lies; only where some were worked out for this month and zone."""


_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_LISTS = ("top_providers", "top_models")
_NUMBERS = ("cost_usd", "blended_usd_per_mtok")
_COUNTS = ("tokens", "session_count", "skipped_unpriced_count")


def validate_snapshot(payload: object) -> list[str]:
    """What is wrong with a decoded JSON document under contract version 1, one line each; empty when nothing is.

    Keys that the contract does not name are ignored, as consumers must.
    """
    if not isinstance(payload, dict):
        return ["the document is no object"]
    problems = []
    if payload.get("schema_version") != SNAPSHOT_SCHEMA_VERSION or isinstance(payload.get("schema_version"), bool):
        problems.append(f"schema_version is {payload.get('schema_version')!r}, not {SNAPSHOT_SCHEMA_VERSION}")
    if not _is_utc(payload.get("generated_at")):
        problems.append(f"generated_at is {payload.get('generated_at')!r}, not an RFC 3339 time in UTC")
    if not isinstance(payload.get("month"), str) or not _MONTH.fullmatch(payload["month"]):
        problems.append(f"month is {payload.get('month')!r}, not YYYY-MM")
    if payload.get("mode") not in ("compact", "extended"):
        problems.append(f"mode is {payload.get('mode')!r}, not compact or extended")
    problems += _totals_problems(payload.get("totals"))
    for name in _LISTS:
        problems += _rows_problems(name, payload.get(name))
    suggestions = payload.get("suggestions")
    if not isinstance(suggestions, list) or not all(isinstance(one, str) for one in suggestions):
        problems.append("suggestions is not a list of strings")
    if not isinstance(payload.get("reconcile_latest_summary_path", ""), str):
        problems.append("reconcile_latest_summary_path is not a string")
    return problems


def _totals_problems(totals: Any) -> list[str]:
    if not isinstance(totals, dict):
        return ["totals is no object"]
    return [
        *(f"totals.{name} is not a number" for name in _NUMBERS if not _is_number(totals.get(name))),
        *(f"totals.{name} is not a count" for name in _COUNTS if not _is_count(totals.get(name))),
    ]


def _rows_problems(name: str, rows: Any) -> list[str]:
    if not isinstance(rows, list):
        return [f"{name} is not a list"]
    problems = []
    for place, row in enumerate(rows):
        where = f"{name}[{place}]"
        if not isinstance(row, dict):
            problems.append(f"{where} is no object")
            continue
        if not isinstance(row.get("name"), str):
            problems.append(f"{where}.name is not a string")
        numbers = ("total_cost_usd", "blended_usd_per_mtok")
        problems += [f"{where}.{key} is not a number" for key in numbers if not _is_number(row.get(key))]
        counts = ("tokens", "session_count")
        problems += [f"{where}.{key} is not a count" for key in counts if not _is_count(row.get(key))]
    if not problems and rows != sorted(rows, key=lambda row: (-row["tokens"], row["name"])):
        problems.append(f"{name} is not sorted by tokens, largest first, then by name")
    return problems


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_utc(value: object) -> bool:
    if not isinstance(value, str) or not value.endswith("Z"):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
