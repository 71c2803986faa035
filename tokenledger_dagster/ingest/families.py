"""Families of files in the manifest: whose history each begins with, and whom a change of one concerns.

Here: reading and writing streams, ancestors and lineage around ``ingest.lineage``.  Not here: how prefixes are compared
(``ingest.lineage``), or what a client logs as its parent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from tokenledger_dagster.clients.base import Lineage
from tokenledger_dagster.clients.pack import Packed
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.ingest import lineage
from tokenledger_dagster.ingest.ledger import Ledger

_CHUNK = 500
_END = 2**62
"""Ordinal after any row: the last run of a stream is open."""


class Added(Protocol):
    """What a batch adds to one stream."""

    stream_no: int
    client: str
    records: list[UsageRecord]
    packs: list[Packed]


class Changes(NamedTuple):
    """Whom a batch of records concerns beside their own files."""

    superseded: set[int]
    """Archived streams all of whose records must be booked anew."""
    changed: set[int]
    """Streams of which other rows are now another session's."""
    copied: set[int]
    """Streams that may begin with rows that are now another session's."""
    groups: set[int]
    """Stored groups whose owner may change."""


def set_lineage(connection: sqlite3.Connection, stream_no: int, found: Lineage) -> None:
    """Records what a reader knows of its file's session; it may learn more with every line."""
    connection.execute(
        "UPDATE streams SET session = ?1, copied_rule = ?2 "
        "WHERE stream_no = ?3 AND (session, copied_rule) IS NOT (?1, ?2)",
        (found.session, found.copied_rule, stream_no),
    )
    set_ancestors(connection, stream_no, found)


def set_ancestors(connection: sqlite3.Connection, stream_no: int, found: Lineage) -> None:
    """Records whose history a file may begin with."""
    connection.executemany(
        "INSERT OR IGNORE INTO stream_ancestors VALUES (?, ?, ?)",
        ((session, stream_no, place) for place, session in enumerate(found.ancestors)),
    )


def update(connection: sqlite3.Connection, ledger: Ledger, added: Sequence[Added]) -> Changes:
    """Brings prefixes copied between files up to date after records were ``added`` to streams."""
    ledger.forget_streams()
    named = {name for (name,) in connection.execute("SELECT DISTINCT session FROM stream_ancestors")}
    linked = {number for (number,) in connection.execute("SELECT DISTINCT stream_no FROM stream_ancestors")}
    archived = set(connection.execute("SELECT client, stem FROM streams WHERE archived = 1"))
    sessions: set[str] = set()
    changed: set[int] = set()
    superseded: set[int] = set()
    for stream_no, client, stem, session in _named(connection, added if named or archived else ()):
        if (client, stem) in archived:
            # an archived copy counts or not by what its active twin holds, and either of them has just grown
            query = (
                "SELECT s.stream_no FROM streams s JOIN streams t USING (client, stem) "
                "WHERE s.client = ? AND s.stem = ? AND s.archived = 1 AND t.archived = 0"
            )
            superseded |= {number for (number,) in connection.execute(query, (client, stem))}
        if session in named or stream_no in linked:
            sessions.add(session)
            # children of a session without file were flagged; now that there is one, they are not
            query = "SELECT stream_no FROM stream_ancestors WHERE session = ?"
            changed |= {number for (number,) in connection.execute(query, (session,))}
    ledger.new_records({one.stream_no: one.records for one in added if one.records})
    if sessions:
        changed |= _family_changes(connection, ledger, sessions)
    ledger.forget_streams()
    copied = changed | {one.stream_no for one in added if one.stream_no in linked}
    return Changes(superseded, changed, copied, _groups_of(connection, changed | superseded))


def _named(connection: sqlite3.Connection, added: Sequence[Added]) -> list[tuple[int, str, str, str]]:
    """Number, client, stem and session of those streams that are a session; what was known of their rows is void."""
    found: list[tuple[int, str, str, str]] = []
    numbers = [one.stream_no for one in added]
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        some = f"stream_no IN ({','.join('?' * len(chunk))}) AND session IS NOT NULL"
        found += connection.execute(f"SELECT stream_no, client, stem, session FROM streams WHERE {some}", chunk)
        connection.execute(f"UPDATE streams SET vectors = NULL WHERE {some} AND vectors IS NOT NULL", chunk)
    return found


def _family_changes(connection: sqlite3.Connection, ledger: Ledger, sessions: set[str]) -> set[int]:
    """Recomputes the lineage of every stream linked to ``sessions``; returns those for which it changed."""
    family: dict[int, lineage.Stream] = {}
    stored: dict[int, str] = {}
    todo = set(sessions)
    done: set[str] = set()
    while todo:
        name = todo.pop()
        done.add(name)
        rows = connection.execute(
            "SELECT stream_no, session, copied_rule, lineage FROM streams WHERE session = ?1 "
            "UNION ALL SELECT s.stream_no, s.session, s.copied_rule, s.lineage "
            "FROM stream_ancestors a JOIN streams s USING (stream_no) WHERE a.session = ?1",
            (name,),
        ).fetchall()
        for number, session, rule, runs in rows:
            if number not in family:
                query = "SELECT session FROM stream_ancestors WHERE stream_no = ? ORDER BY place"
                ancestors = [one for (one,) in connection.execute(query, (number,))]
                family[number] = lineage.Stream(number, session or "", ancestors, ledger.vectors(number), rule)
                stored[number] = runs
                todo |= {one for one in (session, *ancestors) if one} - done
    changed = set()
    for number, runs in lineage.lineages(family.values()).items():
        runs[-1] = (_END, runs[-1][1], runs[-1][2])
        encoded = msgspec.json.encode(runs).decode()
        if encoded != stored[number]:
            connection.execute("UPDATE streams SET lineage = ? WHERE stream_no = ?", (encoded, number))
            changed.add(number)
    return changed


def _groups_of(connection: sqlite3.Connection, streams: set[int]) -> set[int]:
    groups: set[int] = set()
    for number in streams:
        runs = connection.execute(
            "SELECT first_rid, last_rid FROM stream_runs WHERE stream_no = ?", (number,)
        ).fetchall()
        for first, last in runs:
            query = "SELECT DISTINCT grp FROM records WHERE rid BETWEEN ? AND ?"
            groups.update(group for (group,) in connection.execute(query, (first, last)))
    return groups
