"""The UI snapshot and the last run's summary against the recomputed sums.

Here: the figures of these documents by name, theirs and what they should be.  Not here: recomputing
(``governance.recomputed``), tables (``governance.claims``).

A document is written at one moment and the tables at another.  Figures that differ are a failure where both tell of the
same state of the ledger; else the comparison is not made, and that is said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tokenledger_dagster.contracts.costs import IDLE
from tokenledger_dagster.contracts.snapshot import validate_snapshot
from tokenledger_dagster.governance import claims_basis
from tokenledger_dagster.governance.claims_basis import Basis
from tokenledger_dagster.governance.claims_compare import differences
from tokenledger_dagster.governance.outcome import Finding, Inspection

_NOTHING = dict.fromkeys(
    (
        *("total_tokens", "list_price_usd", "effective_cost_usd", "unpriced_count", "unpriced_tokens", "session_count"),
        *("estimated_tokens", "input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"),
        *("tool_input_tokens", "tool_output_tokens"),
    ),
    0,
)
_LISTS = {"top_providers": "provider", "top_models": "model", "top_clients": "client"}
_BREAKDOWNS = {"provider_breakdown": "provider", "model_breakdown": "model"}
_COUNTS = (
    *("total_tokens", "input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"),
    *("tool_input_tokens", "tool_output_tokens", "session_count", "unpriced_tokens"),
)

Sides = Iterator[tuple[tuple[str, str], Any, Any]]
"""(where, figure), what the document says, and what it should say; money in nano-USD."""


def state(look: Inspection) -> str:
    """Stands for the lake and for both documents."""
    digest = hashlib.blake2b(claims_basis.state(look).encode(), digest_size=16)
    for path in (look.home.ui_snapshot_path, look.home.pipeline_summary_path, look.home.ingest_summary_path):
        digest.update(path.read_bytes() if path.exists() else b"absent")
    return digest.hexdigest()


def ui_snapshot(look: Inspection, found: Basis) -> Finding:
    """Whether every figure of the UI snapshot is that of its month."""
    path = look.home.ui_snapshot_path
    document = _read(path)
    if document is None or validate_snapshot(document):
        message = f"{path} is not there, or has not the shape of its contract. Run `tokenledger snapshot`."
        return Finding(passed=False, message=message, actual=1, expected=0)
    zone, month = document["timezone"], document["month"]
    if not claims_basis.is_zone(zone):
        message = f"{path} names {zone}, which is no time zone. Run `tokenledger snapshot`."
        return Finding(passed=False, message=message, actual=1, expected=0)
    rows = _differences(_of_snapshot(document, found, zone, month), path)
    same = found.is_current and path.stat().st_mtime >= claims_basis.last_read(look)
    return _finding(path, rows, month, is_same=same)


def pipeline_summary(look: Inspection, found: Basis) -> Finding:
    """Whether the last run's costs of its month are those of the events."""
    path = look.home.pipeline_summary_path
    try:
        details: Any = (_read(path) or {})["monthly"]["details"]
        costs = details["costs"]
        zone, month = costs["timezone"], costs["filters"]["since"][:7]
        sides = list(_of_summary(details, costs, found, zone, month)) if zone == found.zone else None
    except (TypeError, KeyError, AttributeError, ArithmeticError, ValueError):
        message = f"{path} tells no costs of a month: no run made tables and wrote it."
        return Finding(passed=True, skipped=True, message=message)
    if sides is None:
        message = f"{path} speaks of {zone}, the tables of {found.zone}. Run `tokenledger orchestrate`."
        return Finding(passed=True, skipped=True, message=message)
    written, built = path.stat().st_mtime, look.path("usage_monthly").stat().st_mtime
    # what a report read between the tables and the summary is in the second alone
    same = built <= written and not built < claims_basis.last_read(look) <= written
    return _finding(path, _differences(iter(sides), path), month, is_same=same)


# -------------------------------------------------------------------- figures


def _of_snapshot(document: dict[str, Any], found: Basis, zone: str, month: str) -> Sides:
    totals, whole = document["totals"], _sums(found, (), zone, month).get("", _NOTHING)
    idle = _nano(totals.get("idle_subscription_usd", 0))
    yield ("totals", "tokens"), totals["tokens"], whole["total_tokens"]
    yield ("totals", "list_price_usd"), _nano(totals["list_price_usd"]), whole["list_price_usd"]
    yield ("totals", "cost_usd"), _nano(totals["cost_usd"]), whole["effective_cost_usd"] + idle
    yield ("totals", "session_count"), totals["session_count"], whole["session_count"]
    yield ("totals", "skipped_unpriced_count"), totals["skipped_unpriced_count"], whole["unpriced_count"]
    yield ("totals", "estimated_tokens"), totals.get("estimated_tokens", 0), whole["estimated_tokens"]
    for name, key in _LISTS.items():
        if name in document:
            # fees that no request carries belong to a provider, and no request tells to which
            yield from _of_list(name, document, _sums(found, (key,), zone, month), has_idle=key == "provider")


def _of_list(name: str, document: dict[str, Any], sums: Mapping[str, Mapping[str, Any]], *, has_idle: bool) -> Sides:
    rows = document[name]
    idle = has_idle and bool(document["totals"].get("idle_subscription_usd"))
    ranked = sorted(sums, key=lambda one: (-sums[one]["total_tokens"], one))
    told = [row["name"] for row in rows if row["name"] in sums or not idle]
    yield (name, "order"), ", ".join(told), ", ".join(ranked[: len(told)])
    least = len(ranked) if document["mode"] == "extended" else min(1, len(ranked))
    yield (name, "rows"), min(len(told), least), least
    for row in rows:
        where, should = f"{name} {row['name']}", sums.get(row["name"], _NOTHING)
        yield (where, "tokens"), row["tokens"], should["total_tokens"]
        yield (where, "list_price_usd"), _nano(row["list_price_usd"]), should["list_price_usd"]
        yield (where, "session_count"), row["session_count"], should["session_count"]
        if not idle:
            yield (where, "total_cost_usd"), _nano(row["total_cost_usd"]), should["effective_cost_usd"]


def _of_summary(details: dict[str, Any], costs: dict[str, Any], found: Basis, zone: str, month: str) -> Sides:
    everything = _sums(found, (), zone, None).get("", _NOTHING)
    yield ("monthly", "total_tokens"), details["total_tokens"], everything["total_tokens"]
    # Dagster keeps floats: the nearest one to what it should be
    should = float(Decimal(everything["list_price_usd"]).scaleb(-9))
    yield ("monthly", "list_price"), float(details["list_price_usd"]), should
    whole = _sums(found, (), zone, month).get("", _NOTHING)
    for name in _COUNTS:
        yield (month, name), costs[name], whole[name]
    yield (month, "skipped_unpriced_count"), costs["skipped_unpriced_count"], whole["unpriced_count"]
    yield (month, "list_price_usd"), _nano(costs["list_price_usd"]), whole["list_price_usd"]
    effective = _nano(costs["variable_cost_usd"]) + _nano(costs["subscription_allocated_usd"])
    yield (month, "effective_cost_usd"), effective, whole["effective_cost_usd"]
    total = effective + _nano(costs["idle_subscription_usd"])
    yield (month, "monthly_total_usd"), _nano(costs["monthly_total_usd"]), total
    for name, key in _BREAKDOWNS.items():
        sums = _sums(found, (key,), zone, month)
        told = {row["name"]: row for row in costs[name] if row["name"] != IDLE}
        for one in sorted({*sums, *told}):
            row, should_be = told.get(one), sums.get(one, _NOTHING)
            if row is None:
                yield (f"{name} {one}", "row"), 0, 1
                continue
            yield (f"{name} {one}", "tokens"), row["tokens"], should_be["total_tokens"]
            yield (f"{name} {one}", "list_price_usd"), _nano(row["list_price_usd"]), should_be["list_price_usd"]
            yield (f"{name} {one}", "session_count"), row["session_count"], should_be["session_count"]


def _sums(found: Basis, keys: Sequence[str], zone: str, month: str | None) -> dict[str, dict[str, Any]]:
    """Figures of a month by the one key, or under the empty name."""
    made = found.totals.by(keys, zone, month=month)
    return {key[0] if key else "": figures for key, figures in made.items()}


def _nano(usd: Any) -> int:
    return int(Decimal(str(usd)).scaleb(9))


# -------------------------------------------------------------------- telling


def _differences(sides: Sides, path: Path) -> list[dict[str, Any]]:
    rows = []
    for (where, figure), ours, theirs in sides:
        key = (where,)
        rows += differences({key: {figure: ours}}, {key: {figure: theirs}}, ("where",), (figure,), place=path.name)
    return rows


def _finding(path: Path, rows: list[dict[str, Any]], month: str, *, is_same: bool) -> Finding:
    if not rows:
        return Finding(passed=True, message=f"{path.name} equals the events of {month}.", actual=0, expected=0)
    if not is_same:
        message = f"{path.name} tells of another state of the ledger than the tables. Run `tokenledger orchestrate`."
        return Finding(passed=True, skipped=True, message=message)
    first = rows[0]
    message = (
        f"{len(rows)} figures of {path} are not what the events of {month} sum to, first {first['figure']} of "
        f"{first['where']}: {first['published']} instead of {first['recomputed']}. Readers of it show wrong figures. "
        "Run `tokenledger orchestrate`; if it comes back, report it."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON document, its numbers exact; None where there is none."""
    try:
        found = json.loads(path.read_bytes(), parse_float=Decimal)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
