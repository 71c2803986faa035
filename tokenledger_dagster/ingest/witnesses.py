"""Several sources that tell of one request: the best of them stands, the weaker ones are duplicates.

Here: the names under which sources know each other's requests (links), which records they stir, and which sessions have
to be looked at row by row because another source tells of them too.  Not here: which links a client gives
(``UsageRecord.links``, ``Client.links``), or booking itself.

A record of rank n gives way where any record of a smaller rank has one of its links, whatever came first: so booking
stays a function of the set of records.  A link that begins with ``covers:`` says that a source is complete for a
stretch of time; any other names one request.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.registry import clients

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.bookkeeping import Added
    from tokenledger_dagster.ingest.ledger import Ledger
    from tokenledger_dagster.ingest.packs import Pack

COVERS = "covers:"
_decode_copy = msgspec.msgpack.Decoder(Copy).decode
_Link = tuple[int, int, int, int]
"""Hash of the name, record, its rank, and whether the name is one request's."""


def newly_joined(connection: sqlite3.Connection, ledger: Ledger, added: Sequence[Added]) -> set[int]:
    """Sessions that new records name as better told by another client's own logs, and that nobody named before."""
    named = {(record.joins, record.session_id) for one in added for record in one.records if record.joins is not None}
    if not named:
        return set()
    known = set(connection.execute("SELECT client, session_id FROM joined_sessions"))
    fresh = sorted(named - known)
    connection.executemany("INSERT INTO joined_sessions VALUES (?, ?)", fresh)
    return {ledger.session_number(client, session) for client, session in fresh}


def joined(connection: sqlite3.Connection, ledger: Ledger) -> set[int]:
    """Numbers of all such sessions."""
    rows = connection.execute("SELECT client, session_id FROM joined_sessions").fetchall()
    return {ledger.session_number(client, session) for client, session in rows}


def joined_packs(ledger: Ledger, sessions: set[int], fresh: set[int], packs: Sequence[Pack]) -> list[Pack]:
    """The packs whose rows must stand one by one: those of newly joined sessions, new ones of any joined session."""
    found = {pack.pack_no: pack for session in fresh for pack in ledger.packs.of_session(session)}
    found |= {pack.pack_no: pack for pack in packs if not sessions.isdisjoint(ledger.packs.sessions(pack))}
    return list(found.values())


def link(
    connection: sqlite3.Connection,
    ledger: Ledger,
    added: Sequence[Added],
    rows: Sequence[tuple[int, Copy]],
    sessions: set[int],
    fresh: set[int],
) -> set[int]:
    """Stores the links of new records, and of stored ones of newly joined sessions; returns the groups they stir."""
    own = {(one.stream_no, record.ordinal): record.links for one in added for record in one.records if record.links}
    found: list[_Link] = []
    for _, copy in rows:
        names = own.get((copy.stream, copy.ordinal), ())
        if copy.session in sessions:
            names = (*names, *_client_links(ledger, copy))
        found += _links(copy, names)
    for copy in _stored(connection, fresh):
        found += _links(copy, _client_links(ledger, copy))
    if not found:
        return set()
    connection.executemany("INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?)", found)
    best: dict[int, int] = {}
    for name, _, rank, _ in found:
        best[name] = min(rank, best.get(name, rank))
    query = "SELECT r.grp FROM links l JOIN records r USING (rid) WHERE l.link = ? AND l.source_rank > ?"
    return {group for name, rank in best.items() for (group,) in connection.execute(query, (name, rank))}


def is_witness_only(connection: sqlite3.Connection, copy: Copy) -> bool:
    """Whether a better source shows the request of a record."""
    query = (
        "SELECT 1 FROM links mine JOIN links other ON other.link = mine.link "
        "WHERE mine.rid = ? AND other.source_rank < ? LIMIT 1"
    )
    return connection.execute(query, (copy.rid, copy.source_rank)).fetchone() is not None


def _stored(connection: sqlite3.Connection, sessions: set[int]) -> Iterable[Copy]:
    if sessions:
        marks = ",".join("?" * len(sessions))
        # by session there is no index: one look at all records is made once for each newly joined session
        for (data,) in connection.execute(f"SELECT copy FROM records WHERE session_no IN ({marks})", tuple(sessions)):
            yield _decode_copy(data)


def _client_links(ledger: Ledger, copy: Copy) -> Iterable[str]:
    session = ledger.session(copy.session)
    return clients()[session.client].links(copy, session.name)


def _links(copy: Copy, names: Iterable[str]) -> list[_Link]:
    return [(_hash(name), copy.rid, copy.source_rank, int(not name.startswith(COVERS))) for name in names]


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little", signed=True)
