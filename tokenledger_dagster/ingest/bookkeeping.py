"""Booking batches: packs by themselves, everything else by the rules of ``ingest.booking``.

Here: what a batch of records, packed or not, does to the booked state, and settling packs.  Not here: the order of a
commit (``ingest.commit``), or which requests meet (``ingest.packs``).
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.pack import (
    BOOKED,
    CONTACT,
    COPIED,
    DOMINATED,
    EXPANDED,
    ORIGINAL,
    WEAK,
    Packed,
    SessionNote,
    key_of,
)
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.ingest import booking, expanding, families, witnesses
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.lineage import owner_at
from tokenledger_dagster.ingest.packs import Pack, dominates

_UNTIMED = "timestamp_from_file"
_CHUNK = 50_000
_WRITE_ROWS = 10_000


class Added(msgspec.Struct):
    """What a batch adds to one stream."""

    stream_no: int
    client: str
    records: list[UsageRecord]
    packs: list[Packed] = []
    sessions: list[SessionNote] = []
    rids: list[int] | None = None
    """Numbers of the records, where they have some already; ascending."""


def restore(connection: sqlite3.Connection, ledger: Ledger, added: Sequence[Added]) -> None:
    """Books records whose segments are listed already, in an empty manifest; call inside a transaction."""
    rows = [row for one in added for row in number(ledger, one, 0)]
    for one in added:
        runs = [(one.stream_no, *run) for run in runs_of(one.rids or [])]
        connection.executemany("INSERT INTO stream_runs VALUES (?, ?, ?)", runs)
        store_sessions(
            connection, ledger, [(ledger.session_number(one.client, note.name), note) for note in one.sessions]
        )
    touched = families.update(connection, ledger, added).groups
    fresh = witnesses.newly_joined(connection, ledger, added)
    touched |= witnesses.link(connection, ledger, added, rows, witnesses.joined(connection, ledger), fresh)
    ledger.packs.met({key for one in added if one.records for key in _loose_keys(one)})
    for start in range(0, len(rows), _CHUNK):
        batch = rows[start : start + _CHUNK]
        _book_groups(ledger, booking.by_group(batch), touched, batch)
        touched = set()
    ledger.finish()


def rebook(connection: sqlite3.Connection, ledger: Ledger, chunk: int = _CHUNK) -> None:
    """Books everything anew from the stored records, as after a change of prices, names or rules."""
    settle(ledger, ledger.packs.every())
    ledger.forget_models()
    for table in ("events", "cells", "slots", "shared_groups", "session_order", "models"):
        connection.execute(f"DELETE FROM {table}")
    groups = [group for (group,) in connection.execute("SELECT DISTINCT grp FROM records ORDER BY grp")]
    for start in range(0, len(groups), chunk):
        _book_groups(ledger, {}, set(groups[start : start + chunk]), [])
    ledger.finish()


def settle(ledger: Ledger, numbers: Sequence[int], chunk: int = _CHUNK) -> None:
    """Makes each record of packs stand as a row; call inside a transaction.

    What they sum to does not change: their own file had told all about them.  What no other file shows is written as it
    stands, everything else is handed to general booking.
    """
    from tokenledger_dagster.ingest.settling_rows import StandingRows  # a sync needs none of it

    packs = [ledger.packs.pack(number) for number in numbers]
    elsewhere = ledger.packs.shown_twice({key for pack in packs for key in pack.keys})
    with ledger.unindexed(sum(pack.rows for pack in packs)):
        rows = StandingRows(ledger)
        for pack in packs:
            rows.take(pack, elsewhere)
            pack.opened = None
            if len(rows) >= _WRITE_ROWS:
                rows.write()
        rows.write()
    batch: list[Pack] = []
    count = 0
    for pack in packs:
        batch.append(pack)
        count += sum(state != EXPANDED for state in pack.states)
        if count >= chunk:
            _settle(ledger, batch)
            batch, count = [], 0
    _settle(ledger, batch)
    ledger.packs.drop(packs)
    ledger.finish()


def _settle(ledger: Ledger, packs: Sequence[Pack]) -> None:
    """Hands what is left of packs to general booking."""
    rows: list[tuple[int, Copy]] = []
    left = {pack.pack_no: [event for event, state in enumerate(pack.states) if state != EXPANDED] for pack in packs}
    # where another pack's row stands for a request of these, both are booked together
    keys = {pack.keys[event] for pack in packs for event in left[pack.pack_no]}
    partners: dict[int, set[int]] = defaultdict(set)
    for holders in ledger.packs.holders(keys).values() if keys else ():
        for pack, event in holders:
            if pack.pack_no not in left:
                partners[pack.pack_no].add(event)
    for number, events in partners.items():
        rows += expanding.expand(ledger, ledger.packs.pack(number), events)
    for pack in packs:
        rows += expanding.expand(ledger, pack, left[pack.pack_no])
        pack.opened = None
    if rows:
        _book_groups(ledger, booking.by_group(rows), set(), rows)


def admit(ledger: Ledger, pack: Pack) -> None:
    """Takes a new pack in, with the sums of what its own file tells."""
    sessions = {ledger.session_number(pack.client, context.session) for context in pack.contexts}
    ledger.packs.admit(pack, sessions)
    _add_cells(ledger, pack)


def book(
    connection: sqlite3.Connection,
    ledger: Ledger,
    added: Sequence[Added],
    packs: Sequence[Pack],
    rows: list[tuple[int, Copy]],
) -> None:
    """Books in general what several files show or one file cannot tell; ``packs`` have been admitted."""
    rows = [*rows]
    holders, outside = ledger.packs.met({key for one in added if one.records for key in _loose_keys(one)})
    family = families.update(connection, ledger, added)
    earlier = _earlier(ledger, packs)
    rows += _expand_inherited(ledger, family.changed)
    alone = _dominated(ledger, {key: found for key, found in holders.items() if key not in outside})
    decided = _paired(ledger, alone) if alone else set()
    doomed: dict[int, set[int]] = defaultdict(set)
    for key, found in holders.items():
        if key in outside or (key in alone and key not in decided):
            for pack, event in found:
                doomed[pack.pack_no].add(event)
    for pack in packs:
        _add_weak_cells(ledger, pack)
        if CONTACT in pack.states:
            doomed[pack.pack_no].update(pack.in_state(CONTACT))
    for number, ones in doomed.items():
        rows += expanding.expand(ledger, ledger.packs.pack(number), ones)
    rows += expanding.expand_whole(ledger, ledger.packs.of_streams(family.superseded))
    rows += _expand_copied(ledger, family.copied)
    fresh, joined = witnesses.newly_joined(connection, ledger, added), witnesses.joined(connection, ledger)
    if joined:
        rows += expanding.expand_whole(ledger, witnesses.joined_packs(ledger, joined, fresh, packs))
    touched = family.groups | witnesses.link(connection, ledger, added, rows, joined, fresh)
    touched |= ledger.shared_groups(earlier)
    if rows or touched:
        _book_groups(ledger, booking.by_group(rows), touched, rows)


def _paired(ledger: Ledger, holders: Mapping[int, list[tuple[Pack, int]]]) -> set[int]:
    from tokenledger_dagster.ingest import pairs  # most syncs meet nothing

    return pairs.pair(ledger, holders)


def _expand_inherited(ledger: Ledger, streams: set[int]) -> expanding.Rows:
    """Hands pairs to general booking of which the copy may be somebody else's since the lineage of streams changed."""
    packs = ledger.packs.of_streams(streams)
    return expanding.expand_held(ledger, {pack.keys[event] for pack in packs for event in pack.in_state(COPIED)})


def _expand_copied(ledger: Ledger, streams: set[int]) -> expanding.Rows:
    """Hands to general booking what its own file booked, but its copied history makes another session's.

    Mostly the other file's row has met them; where its own file bars that one, nobody has.
    """
    keys: set[int] = set()
    for stream in streams:
        runs = ledger.stream(stream).runs
        if len(runs) == 1 and runs[0][2] is None:
            continue
        for pack in ledger.packs.of_streams([stream]):
            own = pack.in_state(BOOKED, ORIGINAL)
            if not own:
                continue
            columns = ledger.packs.columns(pack)
            keys |= {
                pack.keys[event]
                for event in own
                if owner_at(runs, columns.ordinals[columns.winners[event]])[1] is not None
            }
    return expanding.expand_held(ledger, keys)


def _add_cells(ledger: Ledger, pack: Pack) -> None:
    """Adds the sums of a new pack's own events; those that only one by one have a price are left to general booking."""
    packed = pack.new
    if packed is None:
        return
    ledger.rules.update(packed.rules)
    contexts = packed.contexts
    cells = ((contexts[cell.context], cell) for cell in packed.cells)
    odd = {(context, cell.slot, cell.prefix, cell.step) for context, cell in ledger.add_cells(pack.client, cells)}
    for event, state in enumerate(pack.states if odd else ()):
        if state == BOOKED:
            context, cell = ledger.packs.cell(pack, event)
            if (context, cell.slot, cell.prefix, cell.step) in odd:
                pack.states[event] = CONTACT


def _add_weak_cells(ledger: Ledger, pack: Pack) -> None:
    """The same for requests that only repetitions show, where nobody else does."""
    weak = {event: found for event, found in pack.weak.items() if pack.states[event] == WEAK}
    left = ledger.add_cells(pack.client, weak.values()) if weak else []
    for event, found in weak.items() if left else ():
        if found in left:
            pack.states[event] = CONTACT


def _dominated(ledger: Ledger, holders: Mapping[int, list[tuple[Pack, int]]]) -> dict[int, list[tuple[Pack, int]]]:
    """Sets repetitions aside for which another file's message stands; returns the keys where none does."""
    left: dict[int, list[tuple[Pack, int]]] = {}
    dominated: dict[int, list[int]] = defaultdict(list)
    for key, found in holders.items():
        if dominates(found) is None:
            left[key] = found
        else:
            for pack, event in found:
                if pack.states[event] == WEAK:
                    dominated[pack.pack_no].append(event)
    for number, events in dominated.items():
        _dominate(ledger, ledger.packs.pack(number), events)
    return left


def _dominate(ledger: Ledger, pack: Pack, events: Sequence[int]) -> None:
    """Another file's messages stand for some repetitions from now on."""
    if pack.new is None:
        ledger.add_cells(pack.client, [ledger.packs.cell(pack, event) for event in events], -1)
    ledger.rules[ledger.packs.form(pack).repetition] += len(events)
    for event in events:
        pack.states[event] = DOMINATED
    pack.changed = True


def _loose_keys(one: Added) -> list[int]:
    """Key column entries of the records that are in no pack."""
    form = clients()[one.client].pack_format()
    if form is None:
        return [key_of(clients()[one.client].group(record).hex()) for record in one.records]
    return [form.record_key(record) for record in one.records]


def _earlier(ledger: Ledger, packs: Sequence[Pack]) -> set[int]:
    """Sessions that may rank otherwise because they competed for a request and show an earlier one of their own."""
    sessions = [ledger.packs.sessions(pack) for pack in packs]
    known = ledger.known_order(set().union(*sessions))
    first: dict[int, int] = {}
    for pack, found in zip(packs, sessions, strict=True):
        if not known.keys().isdisjoint(found):
            earliest = min(pack.times, default=booking.NEVER)
            for session in found:
                first[session] = min(first.get(session, booking.NEVER), earliest)
    return {session for session, before in known.items() if first[session] < before}


def _book_groups(ledger: Ledger, new: dict[int, list[Copy]], touched: set[int], rows: list[tuple[int, Copy]]) -> None:
    ledger.replace(*booking.book(ledger, clients(), new, touched), rows)


def number(ledger: Ledger, one: Added, first: int) -> list[tuple[int, Copy]]:
    """Makes the copies booking works on, numbered from ``first`` unless they have numbers: (group, copy) of each."""
    client = clients()[one.client]
    rids: Sequence[int] = one.rids or range(first, first + len(one.records))
    rows: list[tuple[int, Copy]] = []
    for rid, record in zip(rids, one.records, strict=True):
        session = ledger.session_number(one.client, record.session_id)
        rows.append(
            (booking.group_number(one.client, client.group(record)), copy_of(rid, one.stream_no, session, record))
        )
    return rows


def runs_of(rids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of consecutive numbers, each as (first, last)."""
    if isinstance(rids, range):
        yield rids[0], rids[-1]
        return
    start = 0
    for at in range(1, len(rids) + 1):
        if at == len(rids) or rids[at] != rids[at - 1] + 1:
            yield rids[start], rids[at - 1]
            start = at


def copy_of(rid: int, stream_no: int, session: int, record: UsageRecord) -> Copy:
    """A record as booking works on it, under its number and that of its session."""
    counters = record.counters
    return Copy(
        rid=rid,
        stream=stream_no,
        ordinal=record.ordinal,
        session=session,
        timestamp_us=record.timestamp_us,
        timed=_UNTIMED not in record.flags,
        sha=bytes.fromhex(record.record_sha256),
        model_raw=record.model_raw,
        counters=msgspec.structs.astuple(counters),
        total=counters.total,
        message_id=record.message_id,
        request_id=record.request_id,
        cumulative=record.cumulative,
        last=record.last,
        by_content=record.by_content,
        file_rule=record.file_rule,
        is_sidechain=record.is_sidechain,
        is_progress=record.is_progress,
        service_tier=record.service_tier,
        speed=record.speed,
        reported_cost_nano=record.reported_cost_nano,
        is_estimated=record.is_estimated,
        upstream=record.upstream,
        source_rank=record.source_rank,
        is_sum=record.is_sum,
        billing_kind=record.billing_kind,
        account_hash=record.account_hash,
    )


def store_sessions(connection: sqlite3.Connection, ledger: Ledger, notes: Iterable[tuple[int, SessionNote]]) -> None:
    """Takes what rows tell of their sessions, by number, into the table."""
    ledger.write_sessions()
    connection.executemany(
        "UPDATE sessions SET first_us = min(coalesce(first_us, ?1), ?1), "
        "project = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR (?2, ?3) < (project_us, project)) "
        "THEN ?3 ELSE project END, "
        "project_us = CASE WHEN ?2 IS NOT NULL AND (project_us IS NULL OR ?2 < project_us) THEN ?2 ELSE project_us END "
        "WHERE session_no = ?4",
        ((note.first_us, note.project_us, note.project, number) for number, note in notes),
    )
