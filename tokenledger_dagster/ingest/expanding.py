"""Handing events of packs to general booking.

Here: their records as booking works on them, taking back the sums that stood for them, and which events have to go
together because one stands for the other (``ingest.pairs``).  Not here: which events these are
(``ingest.bookkeeping``), or booking itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.pack import COPIED, PAIRED
from tokenledger_dagster.ingest import booking
from tokenledger_dagster.ingest.packs import Pack, Taken

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.ledger import Ledger

Rows = list[tuple[int, Copy]]
"""(group, copy) of each record."""


def expand(ledger: Ledger, pack: Pack, events: Collection[int]) -> Rows:
    """Hands events of a pack to general booking; their sums are taken back, for booking adds them again."""
    paired = [event for event in events if pack.states[event] in PAIRED]
    if paired:
        from tokenledger_dagster.ingest import pairs  # most syncs hand none over

        copied = [event for event in paired if pack.states[event] == COPIED]
        ledger.rules.subtract(pairs.copied_rules(ledger, pack, copied))
        ledger.parted |= pairs.competing(ledger, pack, paired)
    taken, cells, rules = ledger.packs.expand(pack, events, partial(ledger.session_number, pack.client))
    ledger.add_cells(pack.client, cells, -1)
    ledger.rules.subtract(rules)
    return _rows_of(pack.client, taken)


def expand_held(ledger: Ledger, keys: set[int]) -> Rows:
    """The same for all events that have some keys."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for found in ledger.packs.holders(keys).values() if keys else ():
        for pack, event in found:
            wanted[pack.pack_no].add(event)
    rows: Rows = []
    for number, events in wanted.items():
        rows += expand(ledger, ledger.packs.pack(number), events)
    return rows


def expand_whole(ledger: Ledger, packs: Sequence[Pack]) -> Rows:
    """The same for all events of some packs, with what stands for one of them, or gives way to it, elsewhere."""
    rows = expand_held(ledger, _paired(packs))
    for pack in packs:
        rows += expand(ledger, pack, range(len(pack.states)))
    return rows


def expand_shared(ledger: Ledger, sessions: Iterable[int]) -> Rows:
    """The same for the pairs of some sessions."""
    packs = {pack.pack_no: pack for session in sessions for pack in ledger.packs.of_session(session)}
    return expand_held(ledger, _paired(packs.values()))


def _paired(packs: Iterable[Pack]) -> set[int]:
    return {pack.keys[event] for pack in packs for event in pack.in_state(*PAIRED)}


def _rows_of(client: str, taken: Iterable[Taken]) -> Rows:
    """The records with the number of each one's group."""
    numbers: dict[bytes, int] = {}
    rows: Rows = []
    for key, copy in taken:
        group = numbers.get(key)
        if group is None:  # several rows are one request
            group = numbers[key] = booking.group_number(client, key)
        rows.append((group, copy))
    return rows
