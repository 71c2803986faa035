"""What sessions of each estimated activity used and cost: the ledger's own figures, grouped by a guess.

Here: grouping. Tokens and prices are those of reports and sum to the same totals; only the grouping is an estimate. Not
here: the guess (`session_activity`), and how it is printed (`cli/activity`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal

import msgspec

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.report import usd
from tokenledger_dagster.usage.selection import Selection, SessionDim, parts

__all__ = ["ActivityCosts", "ActivityRow", "activity_costs", "activity_markdown", "all_activity_costs"]

_EVENTS, _NANO, _UNPRICED, _UNPRICED_TOKENS = 0, 10, 11, 12
"""Places among the sums of `usage.selection`."""
_COUNTERS = slice(1, 7)
_NOTHING_SAID = "no activity guessed"
_UNKNOWN = "prompts not embedded"


class ActivityRow(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of the sessions of one activity."""

    activity: str | None
    """The guess; null where none was made."""
    embedded: bool
    """Whether the sessions have vectors; without these nothing could be guessed."""
    sessions: int
    events: int
    tokens: int
    list_price_usd: Decimal | None
    """Of the events that have a price; null where none has."""
    unpriced_tokens: int

    @property
    def label(self) -> str:
        """The activity, or why there is none."""
        return self.activity or (_NOTHING_SAID if self.embedded else _UNKNOWN)


class ActivityCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Usage by activity."""

    rows: list[ActivityRow]
    """By tokens, the largest first; then what was embedded and not guessed, then what was not embedded."""
    sessions: int
    guessed_sessions: int
    tokens: int
    guessed_tokens: int
    list_price_usd: Decimal | None


def activity_costs(
    connection: sqlite3.Connection, selection: Selection, known: Mapping[tuple[str, str], str | None]
) -> ActivityCosts:
    """Sum what matches a selection by the activity of its sessions.

    Args:
        connection: the manifest, for reading.
        selection: period and filters, as of a report.
        known: activity by client and session id, None for an abstention (`session_activity.activities`).
    """
    sums: dict[tuple[str | None, bool], list[int]] = {}
    sessions: dict[tuple[str | None, bool], set[SessionDim]] = {}
    for _, session, _, found in parts(connection, selection):
        owner = session.client, session.session_id
        group = known.get(owner), owner in known
        held = sums.setdefault(group, [0] * len(found))
        held[:] = map(int.__add__, held, found)
        sessions.setdefault(group, set()).add(session)
    rows = [_row(*group, len(sessions[group]), held) for group, held in sums.items()]
    rows.sort(key=lambda row: (row.activity is None, not row.embedded, -row.tokens, row.activity or ""))
    guessed = [row for row in rows if row.activity is not None]
    prices = [row.list_price_usd for row in rows if row.list_price_usd is not None]
    return ActivityCosts(
        rows=rows,
        sessions=sum(row.sessions for row in rows),
        guessed_sessions=sum(row.sessions for row in guessed),
        tokens=sum(row.tokens for row in rows),
        guessed_tokens=sum(row.tokens for row in guessed),
        list_price_usd=sum(prices, Decimal(0)) if prices else None,
    )


def all_activity_costs(home: Home, zone: str, known: Mapping[tuple[str, str], str | None]) -> ActivityCosts | None:
    """The same of everything booked; None in a home that was never filled.  Raises ManifestError."""
    if not home.manifest_path.exists():
        return None
    with closing(connect(home, read_only=True)) as connection:
        return activity_costs(connection, Selection(zone=zone), known)


def activity_markdown(found: ActivityCosts) -> str:
    """The figures as a small table in Markdown."""
    lines = ["| activity (estimated) | sessions | tokens | list price |", "| --- | ---: | ---: | ---: |"]
    for row in found.rows:
        price = "-" if row.list_price_usd is None else f"${row.list_price_usd:,.2f}"
        lines.append(f"| {row.label} | {row.sessions:,} | {row.tokens:,} | {price} |")
    return "\n".join(lines) + "\n"


def _row(activity: str | None, embedded: bool, sessions: int, sums: list[int]) -> ActivityRow:
    has_price = sums[_EVENTS] > sums[_UNPRICED]
    return ActivityRow(
        activity=activity,
        embedded=embedded,
        sessions=sessions,
        events=sums[_EVENTS],
        tokens=sum(sums[_COUNTERS]),
        list_price_usd=usd(sums[_NANO]) if has_price else None,
        unpriced_tokens=sums[_UNPRICED_TOKENS],
    )
