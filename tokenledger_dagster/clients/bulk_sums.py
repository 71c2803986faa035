"""Booking a pack by itself with the compiled loops: what ``clients.pack.summarise`` does, several times as fast.

Here: which columns the C code (``clients/bulk/sums.c``) gets, and what becomes of its answer.  Not here: what a state,
a key or a cell means (``clients.pack`` and each client's format).
"""

from __future__ import annotations

from types import ModuleType

import msgspec

from tokenledger_dagster.clients.pack import (
    PROMPT_STEPS,
    Cell,
    Cut,
    Packed,
    PackFormat,
    Priced,
    PricedContext,
    key_of,
    summarise,
)
from tokenledger_dagster.quarters import SLOT_US

_KINDS = {"claude-1": 0, "codex-1": 1}
_CLAUDE = 0


def summarise_in_bulk(bulk: ModuleType, form: PackFormat, cut: Cut) -> Packed:
    """Books the events of one pack as far as its own file can."""
    columns = cut.columns
    kind = _KINDS.get(columns.layout)
    times = None if kind is None else bulk.microseconds_of(cut.firsts)
    if times is None:  # another layout, or a time with a zone of its own
        return summarise(form, cut)
    states = form.states(columns)
    kinds: dict[Priced, int] = {}
    kind_of = [kinds.setdefault(form.priced(context), len(kinds)) for context in columns.contexts]
    cells, weak = bulk.sums(
        form,
        kind,
        states,
        times,
        columns.winners,
        columns.context_of,
        kind_of,
        columns.identities,
        columns.values,
        SLOT_US,
        PROMPT_STEPS,
    )
    if kind == _CLAUDE:
        sessions = [key_of(context[0]) for context in columns.contexts]
        context_of = columns.context_of
        keys, checks = bulk.claude_keys(columns.identities, [sessions[context_of[row]] for row in columns.winners])
    else:
        keys, checks = bulk.codex_keys(columns.identities), form.checks(columns).tobytes()
    return Packed(
        body=msgspec.json.encode(columns),
        rows=len(columns.offsets),
        keys=keys,
        checks=checks,
        times=times,
        states=bytes(states),
        contexts=[PricedContext(*kind) for kind in kinds],
        rules=form.rules(columns),
        cells=[Cell(*cell) for cell in cells],
        weak_cells={event: Cell(*cell) for event, cell in weak.items()},
    )
