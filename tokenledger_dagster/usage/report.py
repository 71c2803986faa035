"""Reports: matching sums grouped by one kind of key.

Here: grouping, totals and order.  Every kind is made of the same parts, so over one selection all kinds have the same
totals.  Not here: where the sums come from (``usage.selection``) or how they are printed.  Light: the shape is plain
dicts, and ``contracts.report`` has the types for those who can afford their import.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from operator import add

from tokenledger_dagster.usage.selection import (
    DaySums,
    ModelDim,
    Selection,
    SessionDim,
    as_date,
    iso_day,
    parts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal
    from typing import Any

    from tokenledger_dagster.contracts.report import Report
    from tokenledger_dagster.usage.effective import Effective
    from tokenledger_dagster.usage.selection import AtomCosts

    Document = dict[str, Any]

REPORT_SCHEMA_VERSION = 1
_ZEROS = (0,) * 17


def usd(nano: int) -> Decimal:
    """USD of nano-USD, exactly."""
    from decimal import Decimal

    return Decimal(nano).scaleb(-9)


def _week(at: int, session: SessionDim, model: ModelDim) -> str:
    year, week, _ = as_date(at).isocalendar()
    return f"{year}-W{week:02d}"


def _block(at: int, session: SessionDim, model: ModelDim) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


KINDS: dict[str, Callable[[int, SessionDim, ModelDim], str]] = {
    "daily": lambda at, session, model: iso_day(at),
    "weekly": _week,
    "monthly": lambda at, session, model: iso_day(at)[:7],
    "session": lambda at, session, model: session.session_id,
    "project": lambda at, session, model: session.project or "unknown",
    "model": lambda at, session, model: model.model,
    "client": lambda at, session, model: model.client,
    "block": _block,
}
"""Key of the row that a part belongs to, by kind."""
_BY_TIME = frozenset({"daily", "weekly", "monthly", "block"})
_COUNTED = frozenset({"daily", "weekly", "monthly", "model", "client"})
"""Kinds whose key can be told without the session."""
_NOBODY = SessionDim("", "", None)
_NOTHING = ModelDim("", None, "", "")


class _Group:
    """Sums under one key, by model."""

    __slots__ = ("idle", "projects", "raw", "sessions", "sums")

    def __init__(self) -> None:
        self.idle = 0
        self.sessions = 0
        self.projects: set[str | None] = set()
        self.sums: dict[str, list[int]] = {}
        self.raw: dict[str, set[ModelDim]] = {}

    def add(self, model: ModelDim, sums: Sequence[int]) -> None:
        """Adds one part's sums."""
        name = model.model
        if name in self.sums:
            self.sums[name] = list(map(add, self.sums[name], sums))
            self.raw[name].add(model)
        else:
            self.sums[name] = list(sums)
            self.raw[name] = {model}

    def all_sums(self) -> list[int]:
        """Over all models."""
        return [sum(column) for column in zip(_ZEROS, *self.sums.values(), strict=True)]


def report_document(
    connection: sqlite3.Connection,
    kind: str,
    selection: Selection,
    now: datetime,
    *,
    descending: bool | None = None,
    money: Callable[[int], object] = usd,
    plans: Effective | None = None,
) -> Document:
    """The report of ``kind`` over ``selection`` as plain values in the shape and order of ``contracts.report``.

    Rows stand in time order, or by tokens where the key is no time; ``descending`` turns that around, None takes each
    kind's own default.  ``money`` makes of nano-USD what the document holds: a Decimal, or at once its text.
    ``plans`` are effective costs where something is declared.
    """
    if plans is None and kind in _COUNTED and DaySums.answer(connection, selection):
        groups, sessions = _by_cells(DaySums(connection, selection), kind)
    else:
        groups, sessions = _by_parts(connection, kind, selection, None if plans is None else plans.costs)
    idle = 0 if plans is None else _add_idle(groups, plans.idle_days(), kind, selection)
    sums = {key: group.all_sums() for key, group in groups.items()}
    rows = [_row(key, group, sums[key], kind, money) for key, group in groups.items()]
    if kind in _BY_TIME:
        rows.sort(key=lambda row: row["key"], reverse=bool(descending))
    else:
        rows.sort(key=lambda row: row["key"])
        rows.sort(key=_total, reverse=descending is not False)
    everything = [sum(column) for column in zip(_ZEROS, *sums.values(), strict=True)]
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "generated_at": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "kind": kind,
        "timezone": selection.zone,
        "filters": selection.filters(),
        "rows": rows,
        "totals": _totals(everything, sessions, money, idle),
    }


def _add_idle(groups: dict[str, _Group], days: dict[int, int], kind: str, selection: Selection) -> int:
    """Adds to groups by time what plans cost on days when nobody used them; returns all of it, nano-USD.

    A UTC day's fee stands on the local day of the same date.  A selection of more than a period has none.
    """
    if not selection.is_of_time_alone:
        return 0
    total = 0
    for day, nano in sorted(days.items()):
        if not selection.matches(_NOBODY, _NOTHING, day, False):
            continue
        total += nano
        if kind in _BY_TIME and kind != "block":
            groups.setdefault(KINDS[kind](day, _NOBODY, _NOTHING), _Group()).idle += nano
    return total


def _by_parts(
    connection: sqlite3.Connection, kind: str, selection: Selection, costs: AtomCosts | None
) -> tuple[dict[str, _Group], int]:
    """Groups by key, and how many sessions are in all of them."""
    key_of = KINDS[kind]
    groups: dict[str, _Group] = {}
    sessions: dict[str, set[SessionDim]] = {}
    for at, session, model, sums in parts(connection, selection, blocks=kind == "block", costs=costs):
        key = key_of(at, session, model)
        if key not in groups:
            groups[key], sessions[key] = _Group(), set()
        groups[key].add(model, sums)
        groups[key].projects.add(session.project)
        sessions[key].add(session)
    for key, found in sessions.items():
        groups[key].sessions = len(found)
    return groups, len(set().union(*sessions.values()))


def _by_cells(cells: DaySums, kind: str) -> tuple[dict[str, _Group], int]:
    """The same for kinds whose key no session decides: SQLite adds up, and counts the sessions."""
    key_of = KINDS[kind]
    groups: dict[str, _Group] = {}
    column = "day" if kind in _BY_TIME else "model_no"
    within: dict[str, set[int]] = {}
    for day, model_no, model, sums in cells.sums():
        key = key_of(day, _NOBODY, model)
        if key not in groups:
            groups[key], within[key] = _Group(), set()
        groups[key].add(model, sums)
        within[key].add(day if column == "day" else model_no)
    counts = cells.sessions_by(column)
    for key, values in within.items():
        # a session of several days or models counts once
        groups[key].sessions = counts[min(values)] if len(values) == 1 else cells.sessions_in(column, values)
    return groups, cells.sessions()


def make_report(
    connection: sqlite3.Connection,
    kind: str,
    selection: Selection,
    now: datetime,
    *,
    descending: bool | None = None,
    plans: Effective | None = None,
) -> Report:
    """``report_document`` as the contract's type."""
    import msgspec

    from tokenledger_dagster.contracts.report import Report

    document = report_document(connection, kind, selection, now, descending=descending, plans=plans)
    return msgspec.convert(document, Report)


def _row(key: str, group: _Group, sums: list[int], kind: str, money: Callable[[int], object]) -> Document:
    clients = {model.client for models in group.raw.values() for model in models}
    row = _totals(sums, group.sessions, money, group.idle)
    row["key"] = key
    row["client"] = clients.pop() if len(clients) == 1 else None
    row["project"] = next(iter(group.projects)) if kind == "session" and len(group.projects) == 1 else None
    models = [_model(name, group.sums[name], group.raw[name], money) for name in sorted(group.sums)]
    models.sort(key=_total, reverse=True)  # stable: names stay in order among equals
    row["models"] = models
    return row


def _total(row: Document) -> int:
    return int(row["total_tokens"])


def _model(name: str, sums: list[int], dims: set[ModelDim], money: Callable[[int], object]) -> Document:
    found = _sums(sums, money)
    found["model"] = name
    found["model_raw"] = sorted({dim.model_raw for dim in dims if dim.model_raw is not None})
    return found


def _totals(sums: list[int], sessions: int, money: Callable[[int], object], idle: int) -> Document:
    found = _sums(sums, money)
    hour, reasoning, searches, _, unpriced, unpriced_tokens, estimated, variable, allocated, uncosted = sums[7:]
    found["unpriced_tokens"] = unpriced_tokens
    found["unpriced_count"] = unpriced
    found["event_count"] = sums[0]
    found["session_count"] = sessions
    found["cache_write_1h_tokens"] = hour
    found["reasoning_tokens"] = reasoning
    found["web_search_requests"] = searches
    found["estimated_tokens"] = estimated
    is_costed = sums[0] > uncosted
    found["variable_cost_usd"] = money(variable) if is_costed else None
    found["subscription_allocated_usd"] = money(allocated)
    found["idle_subscription_usd"] = money(idle)
    found["total_cost_usd"] = money(variable + allocated + idle) if is_costed or idle else None
    return found


def _sums(sums: list[int], money: Callable[[int], object]) -> Document:
    events, fresh, output, write, read, tool_input, tool_output, _, _, _, nano, unpriced, _, _, *costs = sums
    variable, allocated, uncosted = costs
    price = money(nano) if events > unpriced else None
    if allocated or variable != nano or uncosted != unpriced:
        cost = money(variable + allocated) if events > uncosted else None
    else:
        cost = price  # as long as no plan is declared
    return {
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_write_tokens": write,
        "cache_read_tokens": read,
        "tool_input_tokens": tool_input,
        "tool_output_tokens": tool_output,
        "total_tokens": fresh + output + write + read + tool_input + tool_output,
        "list_price_usd": price,
        "effective_cost_usd": cost,
    }
