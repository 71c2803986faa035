"""Reports: matching sums grouped by one kind of key.

Here: grouping, totals and order.  Every kind is made of the same parts, so over one selection all kinds have the same
totals.  Not here: where the sums come from (``usage.selection``) or how they are printed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from tokenledger_dagster.contracts.report import ModelRow, Report, Row, Sums, Totals
from tokenledger_dagster.usage.selection import Part, Selection, as_date, iso_day, parts

T = TypeVar("T", bound=Totals)
S = TypeVar("S", bound=Sums)

_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "tool_input_tokens",
    "tool_output_tokens",
)
_EVENTS, _PRICE, _UNPRICED, _UNPRICED_TOKENS = 0, 10, 11, 12


def _week(part: Part) -> str:
    year, week, _ = as_date(part.at).isocalendar()
    return f"{year}-W{week:02d}"


def _block(part: Part) -> str:
    return datetime.fromtimestamp(part.at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


KINDS: dict[str, Callable[[Part], str]] = {
    "daily": lambda part: iso_day(part.at),
    "weekly": _week,
    "monthly": lambda part: iso_day(part.at)[:7],
    "session": lambda part: part.session.session_id,
    "project": lambda part: part.session.project or "unknown",
    "model": lambda part: part.model.model,
    "client": lambda part: part.session.client,
    "block": _block,
}
_BY_TIME = frozenset({"daily", "weekly", "monthly", "block"})


class _Group:
    """Sums under one key."""

    def __init__(self) -> None:
        self.sums = [0] * 13
        self.sessions: set[tuple[str, str]] = set()
        self.clients: set[str] = set()
        self.projects: set[str | None] = set()
        self.models: dict[str, _Group] = {}
        self.raw: set[str] = set()
        self.last = 0

    def add(self, part: Part) -> None:
        """Adds one part's sums."""
        for place, value in enumerate(part.sums):
            self.sums[place] += value
        self.sessions.add((part.session.client, part.session.session_id))
        self.clients.add(part.session.client)
        self.projects.add(part.session.project)
        self.last = max(self.last, part.at)
        if part.model.model_raw is not None:
            self.raw.add(part.model.model_raw)


def make_report(
    connection: sqlite3.Connection, kind: str, selection: Selection, now: datetime, *, descending: bool | None = None
) -> Report:
    """The report of ``kind`` over ``selection``; rows in time order, or by tokens where the key is no time.

    ``descending`` turns time order around; None takes each kind's own default.
    """
    key_of = KINDS[kind]
    groups: dict[str, _Group] = {}
    everything = _Group()
    for part in parts(connection, selection, blocks=kind == "block"):
        everything.add(part)
        group = groups.setdefault(key_of(part), _Group())
        group.add(part)
        group.models.setdefault(part.model.model, _Group()).add(part)
    rows = [_row(key, group, kind) for key, group in groups.items()]
    if kind in _BY_TIME:
        rows.sort(key=lambda row: row.key, reverse=bool(descending))
    else:
        rows.sort(key=lambda row: row.key)
        rows.sort(key=lambda row: row.total_tokens, reverse=descending is not False)
    return Report(
        generated_at=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        kind=kind,
        timezone=selection.zone,
        filters=selection.filters(),
        rows=rows,
        totals=_fill(Totals(), everything),
    )


def _row(key: str, group: _Group, kind: str) -> Row:
    row = _fill(Row(key=key), group)
    row.client = next(iter(group.clients)) if len(group.clients) == 1 else None
    if kind == "session":
        row.project = next(iter(group.projects)) if len(group.projects) == 1 else None
    row.models = [
        _sums(ModelRow(model=name, model_raw=sorted(one.raw)), one.sums)
        for name, one in sorted(group.models.items(), key=lambda item: (-sum(item[1].sums[1:7]), item[0]))
    ]
    return row


def _fill(target: T, group: _Group) -> T:
    _sums(target, group.sums)
    target.unpriced_count = group.sums[_UNPRICED]
    target.unpriced_tokens = group.sums[_UNPRICED_TOKENS]
    target.event_count = group.sums[_EVENTS]
    target.session_count = len(group.sessions)
    target.cache_write_1h_tokens, target.reasoning_tokens, target.web_search_requests = group.sums[7:10]
    return target


def _sums(target: S, sums: list[int]) -> S:
    for place, name in enumerate(_TOKENS, 1):
        setattr(target, name, sums[place])
    target.total_tokens = sum(sums[1:7])
    if sums[_EVENTS] > sums[_UNPRICED]:
        target.list_price_usd = target.effective_cost_usd = usd(sums[_PRICE])
    return target


def usd(nano: int) -> Decimal:
    """USD of nano-USD, exactly."""
    return Decimal(nano).scaleb(-9)
