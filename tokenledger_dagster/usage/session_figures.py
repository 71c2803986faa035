"""What a handful of sessions used and cost, without grouping all the others.

Here: sums of named sessions, as `report session` says them over the same selection, and which sessions a selection
names. Not here: the report itself (`usage.report`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.declared import is_declared
from tokenledger_dagster.usage.selection import Selection, day_number, parts

__all__ = ["SessionFigures", "ledger_zone", "session_figures", "sessions_of"]

_SQL = Path(__file__).with_name("session_figures.sql")
_SLOTS_A_DAY = 86_400_000_000 // SLOT_US
_EVER = 2**40
"""More days than any log names."""

SessionKey = tuple[str, str]
"""Client and session id."""


class SessionFigures(NamedTuple):
    """What one session used within a selection."""

    project: str | None
    models: list[str]
    """Canonical names, most tokens first."""
    event_count: int
    total_tokens: int
    unpriced_tokens: int
    list_price_nano: int | None
    """None where no request has a price."""
    effective_cost_nano: int | None
    first_us: int
    """Start of the quarter hour of its first request, microseconds since 1970, UTC."""
    last_us: int
    """The same of its last request."""


def ledger_zone(connection: sqlite3.Connection, default: str) -> str:
    """The zone that the ledger's days are cut in."""
    return get_meta(connection, "zone") or default


def sessions_of(connection: sqlite3.Connection, selection: Selection) -> set[SessionKey]:
    """The sessions with usage in a selection."""
    return {(session.client, session.session_id) for _, session, _, _ in parts(connection, selection)}


def session_figures(
    connection: sqlite3.Connection, home: str, sessions: Iterable[SessionKey], selection: Selection
) -> dict[SessionKey, SessionFigures]:
    """Figures of some sessions; those without usage in the period are left out.

    Args:
        connection: the manifest.
        home: root of the ledger's home, whose plans decide the effective cost.
        sessions: few.
        selection: its period counts, in the ledger's own zone (`ledger_zone`).

    Raises:
        PlansError: the plans cannot be used.
    """
    named = {}
    query = "SELECT session_no, project FROM sessions WHERE client = ? AND session_id = ?"
    for key in sessions:
        row = connection.execute(query, key).fetchone()
        if row is not None:
            named[row[0]] = (key, row[1])
    since = day_number(selection.since, "--since") if selection.since else -_EVER
    until = day_number(selection.until, "--until") if selection.until else _EVER
    statement = _SQL.read_text("utf-8").format(sessions=", ".join(map(str, named)))
    rows: dict[int, list[tuple[int, ...]]] = {}
    models: dict[int, list[str]] = {}
    for session, model, *sums in connection.execute(statement, (since, until)):
        rows.setdefault(session, []).append(tuple(sums))
        models.setdefault(session, []).append(model)
    zone = Zone(selection.zone)
    costs = _effective(connection, home, rows, zone, since, until)
    found = {}
    for session, sums in rows.items():
        first, last = min(one[0] for one in sums), max(one[1] for one in sums)
        events, tokens, nano, unpriced, unpriced_tokens = (sum(column) for column in list(zip(*sums, strict=True))[2:])
        price = nano if events > unpriced else None
        key, project = named[session]
        found[key] = SessionFigures(
            project=project,
            models=models[session],
            event_count=events,
            total_tokens=tokens,
            unpriced_tokens=unpriced_tokens,
            list_price_nano=price,
            effective_cost_nano=price if costs is None else costs[session],
            first_us=min(_slots(connection, session, zone, first), default=first * _SLOTS_A_DAY) * SLOT_US,
            last_us=max(_slots(connection, session, zone, last), default=last * _SLOTS_A_DAY) * SLOT_US,
        )
    return found


def _slots(connection: sqlite3.Connection, session: int, zone: Zone, day: int) -> list[int]:
    """Quarter hours of a session on a local day on which it has some; no zone is a day away from UTC."""
    query = "SELECT slot FROM slots WHERE slot BETWEEN ? AND ? AND session_no = ?"
    around = (day - 1) * _SLOTS_A_DAY, (day + 2) * _SLOTS_A_DAY
    slots = [slot for (slot,) in connection.execute(query, (*around, session))]
    return [slot for slot in slots if zone.day(slot * SLOT_US) == day]


def _effective(
    connection: sqlite3.Connection, home: str, sessions: Iterable[int], zone: Zone, since: int, until: int
) -> dict[int, int | None] | None:
    """Effective nano-USD by session, None for one without a costed request; None where no plan is declared."""
    if not is_declared(connection, home):
        return None
    from tokenledger_dagster.usage.effective import effective  # only who declared plans pays for their arithmetic

    plans = effective(connection, home)
    assert plans is not None  # something is declared
    found: dict[int, int | None] = dict.fromkeys(sessions)
    for atom, cost in plans.costs.items():
        slot, session = atom[:2]
        is_costed = session in found and plans.atoms[atom].event_count > cost.uncosted_count
        if is_costed and since <= zone.day(slot * SLOT_US) <= until:
            found[session] = (found[session] or 0) + cost.variable_nano + cost.allocated_nano
    return found
