"""What must hold of sums: every view of the same usage shows the same totals.

Here: usage tables against events, days against months, the manifest's cells against the published days.  Not here:
prices of single events.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tokenledger_dagster.contracts.tables import COUNTERS, USAGE_TABLES
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.ingest.manifest import connect, get_meta

_EVENT_SUMS = (*COUNTERS, "total_tokens", "cache_write_1h_tokens", "reasoning_tokens", "web_search_requests")
_COST_SUMS = ("list_price_usd", "effective_cost_usd", "unpriced_tokens", "unpriced_count", "event_count")
_CELL_COUNTERS = (*COUNTERS, "cache_write_1h_tokens", "reasoning_tokens", "web_search_requests")
_CELL_FIGURES = ("event_count", *_CELL_COUNTERS, "list_price_nano", "unpriced_count", "unpriced_tokens")


def views_sum_to_same_totals(look: Inspection) -> Finding:
    """Whether every usage table has the totals of the events and their costs."""
    sums = ", ".join(f"coalesce(sum(e.{name}), 0) AS {name}" for name in _EVENT_SUMS)
    events, costs = (literal(look.path(name)) for name in ("events", "event_costs"))
    (expected,) = look.query(statement("event_totals", sums=sums, events=events, costs=costs))
    rows = []
    for table in USAGE_TABLES:
        (actual,) = look.query(
            statement("totals", sums=_sums((*_EVENT_SUMS, *_COST_SUMS)), table=literal(look.path(table)))
        )
        rows += [
            {"table": table, "figure": name, "actual": actual[name], "expected": expected[name]}
            for name in expected
            if actual[name] != expected[name]
        ]
    if not rows:
        message = f"All {len(USAGE_TABLES)} usage tables sum to {expected['total_tokens']} tokens."
        return Finding(passed=True, message=message, actual=0, expected=0)
    first = rows[0]
    message = (
        f"{len(rows)} totals differ from the events, first {first['figure']} of {first['table']}: {first['actual']} "
        f"instead of {first['expected']}. Two reports would contradict each other. Delete {look.home.tables} and run "
        "again."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def days_sum_to_month(look: Inspection) -> Finding:
    """Whether the days of every month sum to it, by client, provider and model."""
    daily, monthly = (literal(look.path(name)) for name in ("usage_daily", "usage_monthly"))
    sums = _sums((*_EVENT_SUMS, *_COST_SUMS))
    rows = look.query(statement("days_against_months", sums=sums, daily=daily, monthly=monthly))
    if not rows:
        return Finding(passed=True, message="The days of every month sum to it.", actual=0, expected=0)
    months = sorted({row["month"] for row in rows})
    message = (
        f"The days of {', '.join(months[:5])} do not sum to the month: its bill cannot be explained day by day. "
        f"Delete {look.home.tables} and run again."
    )
    return Finding(passed=False, message=message, actual=len(months), expected=0, rows=rows)


def cells_equal_tables(look: Inspection) -> Finding:
    """Whether the manifest's cells, which reports are answered from, equal ``usage_daily``, tokens and nano-USD."""
    daily = literal(look.path("usage_daily"))
    zones = {row["timezone"] for row in look.query(f"SELECT DISTINCT timezone FROM read_parquet({daily})")}
    with closing(connect(look.home, read_only=True)) as manifest:
        own = get_meta(manifest, "zone") or "UTC"
        if zones and zones != {own}:
            message = f"Cells are cut in {own}, usage_daily in {', '.join(sorted(zones))}: days cannot be compared."
            return Finding(passed=True, skipped=True, message=message)
        cells = _by_key(manifest.execute(statement("cells")).fetchall())
    query = statement("daily_nano", daily=daily, counters=", ".join(_CELL_COUNTERS))
    tables = _by_key([tuple(row.values()) for row in look.query(query)])
    rows = [_difference(key, cells.get(key), tables.get(key)) for key in sorted(cells.keys() | tables.keys())]
    found = [row for row in rows if row is not None]
    if not found:
        message = f"All {len(cells)} sums by day, client, provider and model are equal."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{len(found)} of {len(rows)} sums by day, client, provider and model differ: `tokenledger report` and the "
        "tables state different figures. Run `tokenledger sync --full`, then run again."
    )
    return Finding(passed=False, message=message, actual=len(found), expected=0, rows=found)


def _by_key(rows: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Figures by (day, client, provider, model, maker)."""
    return {row[:5]: tuple(int(value) for value in row[5:]) for row in rows}


def _difference(
    key: tuple[Any, ...], cell: tuple[int, ...] | None, table: tuple[int, ...] | None
) -> dict[str, Any] | None:
    if cell == table:
        return None
    nothing = (0,) * len(_CELL_FIGURES)
    figures = zip(_CELL_FIGURES, cell or nothing, table or nothing, strict=True)
    name, ours, theirs = next((figure for figure in figures if figure[1] != figure[2]), ("row", 0, 0))
    day, client, _, model, _ = key
    return {"day": day, "client": client, "model": model, "figure": name, "cells": ours, "table": theirs}


def _sums(names: tuple[str, ...]) -> str:
    return ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in names)
