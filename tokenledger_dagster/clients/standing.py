"""Events of a pack that stand as their own file booked them, as booking keeps them: without booking them again.

Here: for each client, what general booking would make of a request that no other file shows.  Not here: which requests
these are (``ingest.settling_rows``), or booking (``ingest.booking``), which decides everything else and which this must
equal in every value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.claude_code import PROGRESS_COPY, STREAM_COPY
from tokenledger_dagster.clients.codex_reducer import fingerprint
from tokenledger_dagster.clients.pack import Columns, microseconds


class Row(NamedTuple):
    """One record: the fields of a ``Copy`` that its pack does not tell, and booking's verdict."""

    row: int
    time: int
    counters: Sequence[int]
    last: tuple[int, ...] | None
    file_rule: str | None
    cost: int | None
    rule: str | None
    """None for the winner."""


class Standing(NamedTuple):
    """One event with its records."""

    event: int
    group: bytes
    """Key material of the booking group."""
    identity: tuple[str | int | None, ...] | None
    """None where no record of it bills."""
    message_id: str | None
    request_id: str | None
    cumulative: tuple[int, ...] | None
    rows: list[Row]


class Shared(NamedTuple):
    """What all rows of a context share of a ``Copy``."""

    session: str
    model_raw: str | None
    is_sidechain: bool
    is_progress: bool
    service_tier: str | None
    speed: str | None


def shared(columns: Columns) -> list[Shared]:
    """What the rows of each context share."""
    if columns.layout == "claude-1":
        return [
            Shared(one[0], values.text(one[6]), one[1], one[10], values.word(one[7]), values.word(one[9]))
            for one in columns.contexts
        ]
    return [Shared(one[0], one[5], False, False, one[6], None) for one in columns.contexts]


def standing(columns: Columns, wanted: Sequence[bool], times: Sequence[int], total: Any) -> Iterator[Standing]:
    """The wanted events, but for those that only general booking can tell; ``times`` are those of the events.

    ``total`` is that of the pack's format.
    """
    rows: list[list[int]] = [[] for _ in columns.winners]
    for row, event in enumerate(columns.event_of):
        rows[event].append(row)
    made = _claude if columns.layout == "claude-1" else _codex
    for event, wants in enumerate(wanted):
        if wants:
            found = made(columns, event, rows[event], times[event], total)
            if found is not None:
                yield found


def _claude(columns: Columns, event: int, rows: list[int], at: int, total: Any) -> Standing:
    name, request = columns.identities[event]
    winner, extras = columns.winners[event], columns.extras
    progress = columns.contexts[columns.context_of[winner]][10]
    copied = PROGRESS_COPY if progress else STREAM_COPY
    found = []
    for row in rows:
        time = at if len(rows) == 1 else microseconds(columns.times[row])
        cost = extras[row].get("cost") if row in extras else None
        rule = None if row == winner else copied
        found.append(Row(row, time, total((columns.values[row],)), None, None, cost, rule))
    return Standing(event, name.encode(), ("claude-code", name, request), name, request, None, found)


def _codex(columns: Columns, event: int, rows: list[int], at: int, total: Any) -> Standing | None:
    cumulative = tuple(columns.identities[event])
    extras = columns.extras
    found, able = [], 0
    for row in rows:
        billed = columns.values[row]
        if billed[1] + billed[2] > billed[0] or billed[4] > billed[3]:
            return None
        rule = extras[row].get("rule") if row in extras else None
        time = microseconds(columns.times[row])
        if rule is None:
            able += 1
            if time != at:
                return None
        found.append(Row(row, time, total((billed,)), tuple(billed[7:]) or None, rule, None, rule))
    if able > 1:
        return None
    session = columns.contexts[columns.context_of[rows[0]]][0]
    identity = ("codex", session, *cumulative) if able else None
    return Standing(event, b"t" + fingerprint(cumulative), identity, None, None, cumulative, found)
