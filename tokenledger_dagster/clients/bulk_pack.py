"""Packs whose columns C keeps: how they are begun, and booked by themselves.

Here: what ``clients.pack`` does with lists, done with columns in plain memory (``clients/bulk``), several times as fast
and with the same result to the byte.  Not here: what a column, a state, a key or a cell means (``clients.pack`` and the
formats of clients).
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from tokenledger_dagster.clients import _bulk
from tokenledger_dagster.clients.pack import (
    PROMPT_STEPS,
    Cell,
    Columns,
    Cut,
    Packed,
    PackFormat,
    Priced,
    PricedContext,
    RowPacker,
    SessionNote,
    key_of,
    listed,
    note_contexts,
)
from tokenledger_dagster.quarters import SLOT_US

_CLIENTS = {"claude-1": 0, "codex-1": 1}
_CLAUDE = 0
_json = msgspec.json.encode


class BulkPacker(RowPacker):
    """Keeps the rows in columns of C; the Python packer's own steps find them as they would find lists."""

    def _begin_columns(self) -> None:
        column: Any = _bulk.Column
        self._offsets, self._lengths, self._context_of = column("q"), column("q"), column("q")
        self._event_of, self._winners = column("q"), column("q")
        self._times, self._firsts = column("t"), column("t")
        self._hashes, self._values = column("h"), column("v")

    def _digests(self) -> bytes:
        return bytes(self._hashes)  # type: ignore[arg-type]


def summarise_in_bulk(form: PackFormat, cut: Cut) -> Packed:
    """Books the events of one pack as far as its own file can (``clients.pack.summarise``)."""
    columns: Any = cut.columns
    firsts: Any = cut.firsts
    client = _CLIENTS[columns.layout]
    told = columns if len(columns.contexts) == 1 else _iterable(columns)
    states = form.states(told)
    kinds: dict[Priced, int] = {}
    kind_of = [kinds.setdefault(form.priced(context), len(kinds)) for context in columns.contexts]
    cells, weak = _bulk.sums(
        form,
        client,
        states,
        firsts,
        columns.winners,
        columns.context_of,
        kind_of,
        columns.identities,
        columns.values,
        SLOT_US,
        PROMPT_STEPS,
    )
    if client == _CLAUDE:
        sessions = [key_of(context[0]) for context in columns.contexts]
        keys, checks = _bulk.claude_keys(columns.identities, sessions, columns.context_of, columns.winners)
    else:
        keys, checks = _bulk.codex_keys(columns.identities), form.checks(columns).tobytes()
    body = _body(columns)
    return Packed(
        body=body,
        digest=crc32(body),
        rows=len(columns.offsets),
        keys=keys,
        checks=checks,
        times=bytes(firsts),
        states=bytes(states),
        contexts=[PricedContext(*kind) for kind in kinds],
        rules=form.rules(told),
        cells=[Cell(*cell) for cell in cells],
        weak_cells={event: Cell(*cell) for event, cell in weak.items()},
    )


def _iterable(columns: Columns) -> Columns:
    """The same with what a format walks over copied: a column of C makes an object whenever it is asked."""
    return msgspec.structs.replace(
        columns,
        context_of=listed(columns.context_of),
        event_of=listed(columns.event_of),
        winners=listed(columns.winners),
    )


def _body(columns: Any) -> bytes:
    return _bulk.body(
        _json(columns.layout),
        columns.ordinals,
        columns.offsets,
        columns.lengths,
        columns.hashes,
        columns.times,
        _json(columns.contexts),
        columns.context_of,
        _json(columns.identities),
        columns.event_of,
        columns.winners,
        columns.values,
        _json(columns.extras),
    )


def session_notes_in_bulk(form: PackFormat, cut: Cut, notes: dict[str, SessionNote]) -> None:
    """Takes what the rows of a pack tell of their sessions into ``notes`` (``clients.pack.session_notes``)."""
    columns: Any = cut.columns
    first = _bulk.earliest(columns.times, columns.context_of, len(columns.contexts))
    note_contexts(form, columns, {place: us for place, us in enumerate(first) if us is not None}, notes)
