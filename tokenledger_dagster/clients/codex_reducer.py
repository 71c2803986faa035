"""Codex counters: from cumulative totals and latest requests to what each row bills.

Here: the per-file reducer, a pure state machine over ``token_count`` rows.  Not here: JSON, files, or rows copied from
another session (``clients.codex`` and booking).  The rules and the cases that force each one are listed in
``docs/clients/codex.md``.
"""

from __future__ import annotations

import hashlib
import struct

import msgspec

from tokenledger_dagster.contracts.record import Vector

ZERO: Vector = (0, 0, 0, 0, 0)
REPEATED = "codex.repeated_total"
LOWER_LINEAGE = "codex.lower_lineage"
_PACK = struct.Struct("<5q")


def fingerprint(*vectors: tuple[int, ...] | None) -> bytes:
    """Eight bytes that stand for some counter vectors."""
    packed = b"".join([b"\x00" if vector is None else _PACK.pack(*vector) for vector in vectors])
    return hashlib.blake2b(packed, digest_size=8).digest()


class ReducerState(msgspec.Struct):
    """What the reducer remembers of one file; survives between appends."""

    previous: Vector | None = None
    """The baseline: the cumulative total as of the last row that moved it."""
    counted: Vector = ZERO
    """Sum of everything billed so far."""
    seen: set[Vector] = msgspec.field(default_factory=set)
    """Totals already billed."""


def reduce_row(state: ReducerState, total: Vector | None, last: Vector | None) -> tuple[Vector, str | None]:
    """Advances ``state`` by one usage row; returns the tokens it bills and, if none, the rule that says so."""
    if total is not None and total in state.seen:
        return ZERO, REPEATED
    billed, baseline = _bill(state, total, last)
    state.previous = baseline
    if billed == ZERO:
        return ZERO, REPEATED if baseline == total or total is None else LOWER_LINEAGE
    state.counted = _add(state.counted, billed)
    if total is not None:
        state.seen.add(total)
    return billed, None


def _bill(state: ReducerState, total: Vector | None, last: Vector | None) -> tuple[Vector, Vector | None]:
    """What the row bills, and the baseline after it."""
    previous = state.previous
    if total is None:
        billed = last or ZERO
        return billed, _add(previous or ZERO, billed)
    if previous is None:
        return last if last is not None else total, total
    if _at_least(total, previous):
        grown = _subtract(total, previous)
        # by far most rows say the same twice
        return grown if last is None or last == grown else _smaller(last, grown), total
    if last is not None:
        return last, total
    if _at_least(total, state.counted):
        return _subtract(total, state.counted), total
    return ZERO, previous


def _add(left: Vector, right: Vector) -> Vector:
    a, b, c, d, e = left
    f, g, h, i, j = right
    return a + f, b + g, c + h, d + i, e + j


def _subtract(left: Vector, right: Vector) -> Vector:
    a, b, c, d, e = left
    f, g, h, i, j = right
    return a - f, b - g, c - h, d - i, e - j


def _smaller(left: Vector, right: Vector) -> Vector:
    return (
        min(left[0], right[0]),
        min(left[1], right[1]),
        min(left[2], right[2]),
        min(left[3], right[3]),
        min(left[4], right[4]),
    )


def _at_least(left: Vector, right: Vector) -> bool:
    return (
        left[0] >= right[0]
        and left[1] >= right[1]
        and left[2] >= right[2]
        and left[3] >= right[3]
        and left[4] >= right[4]
    )
