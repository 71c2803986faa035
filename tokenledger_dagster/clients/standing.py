"""Events of a pack that stand as their own file booked them, as booking keeps them: without booking them again.

Here: for each client, what general booking would make of a request that no other file shows.  Not here: which requests
these are (``ingest.settling_rows``), or booking (``ingest.booking``), which decides everything else and which this must
equal in every value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.claude_code import PROGRESS_COPY, STREAM_COPY
from tokenledger_dagster.clients.pack import Columns
from tokenledger_dagster.clients.pack_copies import copies, is_odd


class Standing(NamedTuple):
    """One event with its records."""

    event: int
    group: bytes
    """Key material of the booking group."""
    identity: tuple[str | int | None, ...] | None
    """None where no record of it bills."""
    rows: list[tuple[Copy, str | None]]
    """Each record and booking's verdict; None for the winner."""


def standing(
    columns: Columns,
    wanted: Sequence[bool],
    times: Sequence[int],
    stream: int,
    first_rid: int,
    sessions: Sequence[int],
) -> Iterator[Standing]:
    """The wanted events, but for those that only general booking can tell; ``times`` are those of the events.

    The other arguments are those of ``pack_copies.copies``.
    """
    events = {event for event, wants in enumerate(wanted) if wants}
    rows: dict[int, list[Copy]] = {event: [] for event in sorted(events)}
    groups: dict[int, bytes] = {}
    for group, copy in copies(columns, events, stream, first_rid, sessions):
        event = columns.event_of[copy.rid - first_rid]
        groups[event] = group
        rows[event].append(copy)
    for event, found in rows.items():
        if columns.layout == "claude-1":
            yield _claude(columns, event, groups[event], found, first_rid)
        elif _tells_all(columns, found, times[event], first_rid):
            yield _codex(columns, event, groups[event], found, first_rid)


def _claude(columns: Columns, event: int, group: bytes, found: list[Copy], first_rid: int) -> Standing:
    winner = first_rid + columns.winners[event]
    progress = columns.contexts[columns.context_of[columns.winners[event]]][10]
    copied = PROGRESS_COPY if progress else STREAM_COPY
    identity = ("claude-code", *columns.identities[event])
    return Standing(event, group, identity, [(copy, None if copy.rid == winner else copied) for copy in found])


def _tells_all(columns: Columns, found: list[Copy], at: int, first_rid: int) -> bool:
    """Whether counters need no clamping, and one row at most bills, at the time of the event."""
    able = [copy for copy in found if copy.file_rule is None]
    if len(able) > 1 or any(copy.timestamp_us != at for copy in able):
        return False
    return not any(is_odd(columns.values[copy.rid - first_rid]) for copy in found)


def _codex(columns: Columns, event: int, group: bytes, found: list[Copy], first_rid: int) -> Standing:
    session = columns.contexts[columns.context_of[found[0].rid - first_rid]][0]
    bills = any(copy.file_rule is None for copy in found)
    identity = ("codex", session, *columns.identities[event]) if bills else None
    return Standing(event, group, identity, [(copy, copy.file_rule) for copy in found])
