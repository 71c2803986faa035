"""Why a locked month is not what it was: what it stands on that changed, and what became of its events.

Here: the causes and their sentences. Not here: which months differ (`governance.golden_months`), how events are
compared (`sql/golden_event_changes.sql`).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tokenledger_dagster.contracts.golden import Basis, Cause, ChangedMonth, EventChange, LockedMonth
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.recipes import attach_once
from tokenledger_dagster.governance.outcome import SHOWN_ROWS
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.home import Home

CAUSES = {
    "new_log": "a log that was first seen after the lock tells of this month",
    "log_grew": "new rows of a known log tell of this month",
    "log_rewritten": "a log was rewritten, and its rows were read anew",
    "other_copy": "another copy of the request was read after the lock, and it tells more",
    "booked_otherwise": "the same records are booked otherwise than when the month was locked",
    "became_duplicate": "its record is a duplicate of another event now",
    "other_id": "its record is booked under another event id now",
    "other_month": "it is booked in another month now",
    "not_in_table": "it is booked, but the table `events` lacks it",
    "not_booked": "the table `events` holds it, but it is not booked",
    "record_lost": "its record is no longer in the lake",
    "renamed": "client, provider or model are called otherwise",
    "repriced": "the same request has another list price",
}
"""Sentence by cause."""
_NEED_A_REASON = {"booked_otherwise", "record_lost", "renamed", "repriced", "not_in_table", "not_booked"}
"""Causes that no record read after the lock explains."""
SAME_EVENTS = "no event differs from its locked record: another version made the digest; accepting renews it"
NO_REASON = (
    "nothing that the ledger keeps has changed since the lock: tables or lake were changed by other hands; delete "
    "tables/ and run again, and restore the home from a backup if it stays"
)


class Site(NamedTuple):
    """Where a month is looked at."""

    home: Home
    con: Any
    """An in-memory DuckDB connection."""
    record: Path | None
    """The locked events; None where they are damaged."""
    present: str
    """Query of the month's events as they are."""


def changed_month(site: Site, month: str, locked: LockedMonth, basis: Basis, *, has_other_events: bool) -> ChangedMonth:
    """Return what became of a locked month."""
    causes = _causes(site, month, locked) if has_other_events and site.record is not None else []
    told = basis_changes(locked.basis, basis)
    if has_other_events and site.record is not None and not causes:
        told.append(SAME_EVENTS)
    elif not told and all(cause.cause in _NEED_A_REASON for cause in causes):
        told = [NO_REASON]
    return ChangedMonth(month=month, locked_at=locked.locked_at, basis_changed=told, causes=causes)


def basis_changes(before: Basis, after: Basis) -> list[str]:
    """Return one sentence for each thing that a month stands on and that is another one now."""
    found = []
    if before.booking != after.booking:
        programs = "" if before.program == after.program else f" (program {before.program}, now {after.program})"
        found.append(f"booking's rules or the committed names changed{programs}")
    if before.overrides != after.overrides:
        found.append("overrides.yaml changed")
    if before.prices != after.prices:
        found.append(f"price snapshot {after.prices} was accepted in place of {before.prices}")
    if before.plans != after.plans:
        found.append("plans.yaml, or fees of the pricing book, changed")
    return found


def _causes(site: Site, month: str, locked: LockedMonth) -> list[Cause]:
    attach_once(site.con, site.home)
    query = statement(
        "golden_event_changes",
        locked=literal(site.record or ""),
        present=site.present,
        last_record=str(locked.basis.last_record),
        month=literal(month),
        shown=str(SHOWN_ROWS),
    )
    cursor = site.con.cursor()
    try:
        return [_cause(*row) for row in cursor.execute(query).fetchall()]
    finally:
        cursor.close()


def _cause(cause: str, change: Any, count: int, tokens: int, price: Decimal, events: list[dict[str, Any]]) -> Cause:
    return Cause(
        cause=cause,
        message=CAUSES[cause],
        change=change,
        event_count=count,
        total_tokens_delta=tokens,
        list_price_usd_delta=price,
        events=[
            EventChange(
                event_id=one["event_id"],
                change=change,
                client=one["client"],
                model=one["model"],
                tokens_before=one["tokens_before"],
                tokens_after=one["tokens_after"],
                list_price_usd_before=one["price_before"],
                list_price_usd_after=one["price_after"],
                place=one["place"],
            )
            for one in events
        ],
    )
