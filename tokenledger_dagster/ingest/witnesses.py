"""Several sources that tell of one request: the best of them stands, the weaker ones are duplicates.

Here: the names under which sources know each other's requests (links), which records they stir, which sessions have to
be looked at row by row because another source tells of them too, and which event stands for a record that gave way.
Not here: which links a client gives (``UsageRecord.links``, ``Client.links``), or booking itself.

A request whose best record has rank n gives way where any record of a smaller rank has a link of one of its records,
whatever came first: so booking stays a function of the set of records.  A link that begins with ``covers:`` says that a
source is complete for a stretch of time; any other names one request, or the few that a sum repeats.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.copies import SUPERSEDED
from tokenledger_dagster.clients.registry import clients

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.bookkeeping import Added
    from tokenledger_dagster.ingest.ledger import Ledger
    from tokenledger_dagster.ingest.packs import Pack

COVERS = "covers:"
_CHUNK = 500
_decode_copy = msgspec.msgpack.Decoder(Copy).decode
_Link = tuple[int, int, int, int]
"""Hash of the name, rank of the record, the record, and whether the name is one request's."""
_Best = tuple[int, str, int]
"""Rank of the record that stands for a request, the request's event id, its number."""


def newly_joined(connection: sqlite3.Connection, ledger: Ledger, added: Sequence[Added]) -> set[int]:
    """Sessions that new records name as better told by another client's own logs, and that nobody named before.

    Those of which nothing was read yet are left out: their rows are linked as they arrive.
    """
    named = {(record.joins, record.session_id) for one in added for record in one.records if record.joins is not None}
    if not named:
        return set()
    known = set(connection.execute("SELECT client, session_id FROM joined_sessions"))
    fresh = sorted(named - known)
    connection.executemany("INSERT INTO joined_sessions VALUES (?, ?)", fresh)
    ledger.write_sessions()
    (last,) = connection.execute("SELECT coalesce(max(session_no), 0) FROM sessions").fetchone()
    numbers = {ledger.session_number(client, session) for client, session in fresh}
    return {number for number in numbers if number <= last}


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
    if not own and not sessions:
        return set()
    found: list[_Link] = []
    for _, copy in rows:
        names = own.get((copy.stream, copy.ordinal), ())
        if copy.session in sessions:
            names = (*names, *_client_links(ledger, copy))
        found += _links(copy, names)
    for copy in _stored(connection, fresh):
        found += _links(copy, _client_links(ledger, copy))
    connection.executemany("INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?)", found)
    best: dict[int, int] = {}
    for name, rank, _, _ in found:
        best[name] = min(rank, best.get(name, rank))
    query = "SELECT r.grp FROM links l JOIN records r USING (rid) WHERE l.link = ? AND l.source_rank > ?"
    return {group for name, rank in best.items() for (group,) in connection.execute(query, (name, rank))}


def is_witness_only(connection: sqlite3.Connection, copies: Sequence[Copy]) -> bool:
    """Whether a better source shows the request that these records show."""
    rank = min((copy.source_rank for copy in copies), default=0)
    if not rank:
        return False
    query = (
        "SELECT 1 FROM links mine JOIN links other ON other.link = mine.link "
        "WHERE mine.rid = ? AND other.source_rank < ? LIMIT 1"
    )
    return any(connection.execute(query, (copy.rid, rank)).fetchone() is not None for copy in copies)


def name_owners(connection: sqlite3.Connection, rids: Iterable[int]) -> None:
    """Gives records that gave way the event of the request they tell of: those among ``rids``, and those these stir.

    Events are numbered anew whenever they are booked, so whoever gave way to one of them has to hear of it.
    """
    if connection.execute("SELECT 1 FROM links LIMIT 1").fetchone() is None:
        return
    by_rank: dict[int, list[int]] = defaultdict(list)
    for group, rank in _superseded(connection, rids).items():
        by_rank[rank].append(group)
    # what a weak record gave way to may itself have given way to a better one, which is named first
    for rank in sorted(by_rank):
        best: dict[int, _Best | None] = {}
        for group in by_rank[rank]:
            event = min(
                filter(None, (_best(connection, name, rank, best) for name in _names(connection, group))), default=None
            )
            connection.execute(
                "UPDATE records SET event_no = ? WHERE grp = ? AND rule = ?",
                (None if event is None else event[2], group, SUPERSEDED),
            )


def _superseded(connection: sqlite3.Connection, rids: Iterable[int]) -> dict[int, int]:
    """Groups of which no record won among those of some records and of all that know them: the best rank of each."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS told (link INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM told")
    found: dict[int, int] = {}
    wanted = set(rids)
    while wanted:
        names = {
            name
            for chunk in _chunks(wanted)
            for (name,) in connection.execute(
                f"SELECT link FROM links WHERE names_request = 1 AND rid IN ({_marks(chunk)})", chunk
            )
        }
        fresh = {
            name for name in names if connection.execute("INSERT OR IGNORE INTO told VALUES (?)", (name,)).rowcount
        }
        groups = {
            group
            for name in fresh
            for (group,) in connection.execute(
                "SELECT DISTINCT r.grp FROM links l JOIN records r USING (rid) "
                "WHERE l.link = ? AND l.source_rank > 0 AND r.rule = ?",
                (name, SUPERSEDED),
            )
        }
        wanted = set()
        for group in groups - found.keys():
            rows = connection.execute(
                "SELECT r.rid, r.rule, min(l.source_rank) FROM records r JOIN links l USING (rid) WHERE r.grp = ? "
                "GROUP BY r.rid",
                (group,),
            ).fetchall()
            if all(rule is not None for _, rule, _ in rows):
                found[group] = min(rank for _, _, rank in rows)
                wanted.update(rid for rid, _, _ in rows)
    return found


def _names(connection: sqlite3.Connection, group: int) -> list[int]:
    query = (
        "SELECT DISTINCT l.link FROM records r JOIN links l USING (rid) WHERE r.grp = ? AND r.rule = ? "
        "AND l.names_request = 1"
    )
    return [name for (name,) in connection.execute(query, (group, SUPERSEDED))]


def _best(connection: sqlite3.Connection, name: int, rank: int, known: dict[int, _Best | None]) -> _Best | None:
    """The event of the best record with a link and a rank below ``rank``."""
    if name not in known:
        known[name] = connection.execute(
            "SELECT l.source_rank, e.event_id, e.event_no FROM links l JOIN records r USING (rid) "
            "JOIN events e USING (event_no) WHERE l.link = ? AND l.source_rank < ? ORDER BY 1, 2 LIMIT 1",
            (name, rank),
        ).fetchone()
    return known[name]


def _stored(connection: sqlite3.Connection, sessions: set[int]) -> Iterable[Copy]:
    if sessions:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS joining (session_no INTEGER PRIMARY KEY)")
        connection.execute("DELETE FROM joining")
        connection.executemany("INSERT INTO joining VALUES (?)", ((number,) for number in sessions))
        # by session there is no index: one look at all records is made once for each newly joined session
        query = "SELECT copy FROM records WHERE session_no IN (SELECT session_no FROM joining)"
        for (data,) in connection.execute(query):
            yield _decode_copy(data)


def _client_links(ledger: Ledger, copy: Copy) -> Iterable[str]:
    session = ledger.session(copy.session)
    return clients()[session.client].links(copy, session.name)


def _links(copy: Copy, names: Iterable[str]) -> list[_Link]:
    return [(_hash(name), copy.source_rank, copy.rid, int(not name.startswith(COVERS))) for name in names]


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little", signed=True)


def _chunks(values: Iterable[int]) -> Iterable[list[int]]:
    listed = list(values)
    for start in range(0, len(listed), _CHUNK):
        yield listed[start : start + _CHUNK]


def _marks(values: Sequence[int]) -> str:
    return ",".join("?" * len(values))
