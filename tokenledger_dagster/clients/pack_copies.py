"""Rows of a pack as general booking works on them, straight from their columns.

Here: the ``Copy`` of each row, and the group it is booked in.  Not here: what a row means (``clients.claude_pack``,
``clients.codex_pack``), whose records (``PackFormat.records``) these must equal in every value, or booking itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.codex_reader import disjoint
from tokenledger_dagster.clients.codex_reducer import fingerprint
from tokenledger_dagster.clients.pack import Columns, Values, microseconds


class _Told(NamedTuple):
    """What a client's row tells of a ``Copy``."""

    group: bytes
    counters: tuple[int, ...]
    message_id: str | None = None
    request_id: str | None = None
    cumulative: tuple[int, ...] | None = None
    last: tuple[int, ...] | None = None
    file_rule: str | None = None
    cost: int | None = None


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


def copies(
    columns: Columns, events: Container[int], stream: int, first_rid: int, sessions: Sequence[int]
) -> Iterator[tuple[bytes, Copy]]:
    """(key material of its group, copy) of each row of some events, in order.

    ``first_rid`` is the number of the pack's first record, ``sessions`` holds the number of each context's session.
    """
    tell = _claude if columns.layout == "claude-1" else _codex
    contexts = shared(columns)
    for row, (event, place) in enumerate(zip(columns.event_of, columns.context_of, strict=True)):
        if event not in events:
            continue
        context = contexts[place]
        told = tell(columns, event, row)
        counters = told.counters
        yield (
            told.group,
            Copy(
                rid=first_rid + row,
                stream=stream,
                ordinal=columns.ordinals[row],
                session=sessions[place],
                timestamp_us=microseconds(columns.times[row]),
                timed=True,
                sha=columns.hashes[32 * row : 32 * row + 32],
                model_raw=context.model_raw,
                counters=counters,
                total=sum(counters[:6]),
                message_id=told.message_id,
                request_id=told.request_id,
                cumulative=told.cumulative,
                last=told.last,
                by_content=False,
                file_rule=told.file_rule,
                is_sidechain=context.is_sidechain,
                is_progress=context.is_progress,
                service_tier=context.service_tier,
                speed=context.speed,
                reported_cost_nano=told.cost,
                is_estimated=False,
            ),
        )


def _claude(columns: Columns, event: int, row: int) -> _Told:
    name, request = columns.identities[event]
    padded: Values = (*columns.values[row], None, None, None)
    fresh, write, read, output, _, hour, searches, *_ = padded
    counters = (fresh, output, write, read, 0, 0, hour or 0, 0, searches or 0)
    extra = columns.extras.get(row)
    return _Told(name.encode(), counters, name, request, cost=extra.get("cost") if extra else None)


def is_odd(billed: Values) -> bool:
    """Whether a rollout's row counts more in a part than in the whole."""
    return bool(billed[1] + billed[2] > billed[0] or billed[4] > billed[3])


def _codex(columns: Columns, event: int, row: int) -> _Told:
    total = tuple(columns.identities[event])
    found = columns.values[row]
    inclusive, cached, write, output, reasoning = billed = found[:5]
    if is_odd(billed):
        counters = msgspec.structs.astuple(disjoint(billed, lambda _flag: None))
    else:
        counters = (inclusive - cached - write, output, write, cached, 0, 0, 0, reasoning, 0)
    extra = columns.extras.get(row)
    rule = extra.get("rule") if extra else None
    return _Told(b"t" + fingerprint(total), counters, cumulative=total, last=found[7:] or None, file_rule=rule)
