"""Whose a prompt is: copies in files of resumed, forked and rewritten sessions are told once, as requests are.

Here: from all entries of a client to sessions with their prompts in order.  The rules are the ledger's
(`ingest.booking.Order`, `ingest.lineage`), and what it decided of requests is taken into account, so that a session's
words and its usage stay together.  Not here: reading files, or the words.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter

import msgspec

from tokenledger_dagster.clients.base import Lineage
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.prompts.index import Index, statement
from tokenledger_dagster.ingest.booking import NEVER, Order
from tokenledger_dagster.ingest.lineage import WIDTH, Stream, lineages, owner_at
from tokenledger_dagster.ingest.manifest import ManifestError, connect

__all__ = ["ledger_order", "resolve"]

_Owned = tuple[str, int, bytes, int]
"""Session, time, digest, number of a file that shows it."""


def resolve(index: Index, client: str, order: dict[str, int], key: bytes, max_prompts: int) -> None:
    """Write the client's sessions anew, with the first `max_prompts` prompts of each.

    Args:
        index: entries of all its files.
        client: whose.
        order: when each of some sessions first shows a request of its own (`ledger_order`).
        key: of the digests.
        max_prompts: how many prompts a session's digest is taken over.
    """
    db = index.db
    for name in ("inherited", "candidates", "owners"):
        db.execute(f"DROP TABLE IF EXISTS temp.{name}")
    db.execute(
        "CREATE TEMP TABLE inherited (file_no INTEGER, ordinal INTEGER, session_id TEXT, identity BLOB, "
        "is_dropped INTEGER, PRIMARY KEY (file_no, ordinal)) WITHOUT ROWID"
    )
    db.executemany("INSERT INTO temp.inherited VALUES (?, ?, ?, ?, ?)", _inherited(db, client, key))
    db.execute(statement("candidates"), {"client": client})
    db.execute("CREATE TEMP TABLE owners (identity BLOB PRIMARY KEY, session_id TEXT) WITHOUT ROWID")
    db.executemany("INSERT INTO temp.owners VALUES (?, ?)", _owners(db, order))
    db.execute("DELETE FROM sessions WHERE client = ?", (client,))
    db.execute("DELETE FROM told WHERE client = ?", (client,))
    owned: Iterator[_Owned] = db.execute(statement("owned"))
    for session, rows in groupby(owned, key=itemgetter(0)):
        found = list(rows)
        kept = found[:max_prompts]
        digest = blake2b(b"".join(digest for _, _, digest, _ in kept), digest_size=16, key=key).hexdigest()
        files = msgspec.json.encode(sorted({number for *_, number in found})).decode()
        times = [time for _, time, _, _ in found]
        db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (client, session, min(times), max(times), len(found), digest, files),
        )
        db.executemany(
            "INSERT INTO told VALUES (?, ?, ?, ?, ?)",
            ((client, session, place, digest, number) for place, (_, _, digest, number) in enumerate(kept)),
        )


def ledger_order(home: Home, client: str) -> dict[str, int]:
    """When each session that shares requests with another first shows one of its own: microseconds, by session id."""
    if not home.manifest_path.exists():
        return {}
    try:
        with closing(connect(home, read_only=True)) as manifest:
            return dict(manifest.execute(statement("ledger_order"), (client,)).fetchall())
    except (ManifestError, sqlite3.Error):  # told by whoever reads the ledger
        return {}


def _owners(db: sqlite3.Connection, order: dict[str, int]) -> list[tuple[bytes, str]]:
    """The owner of every prompt that several sessions show."""
    contested = [
        (identity, time, msgspec.json.decode(sessions, type=list[str]))
        for identity, time, sessions in db.execute(statement("contested"))
    ]
    if not contested:
        return []
    names = sorted({name for *_, sessions in contested for name in sessions})
    numbers = {name: number for number, name in enumerate(names)}
    own = dict(db.execute(statement("own_first")).fetchall())
    first = {numbers[name]: min(own.get(name, NEVER), order.get(name, NEVER)) for name in names}
    shared = [(time, frozenset(numbers[name] for name in sessions)) for _, time, sessions in contested]
    ranking = Order(first, shared)
    found = []
    for identity, _, sessions in contested:
        owner = ranking.first(dict.fromkeys((numbers[name] for name in sessions), False), names.__getitem__)
        found.append((identity, names[owner]))
    return found


def _inherited(
    db: sqlite3.Connection, client: str, key: bytes
) -> Iterator[tuple[int, int, str | None, bytes | None, int]]:
    """Prompts that a file begins with because another session's history was copied into it.

    Those of a session whose own file is there are dropped here; those of one that is missing are told under its name,
    once for all its children.
    """
    told = {
        number: msgspec.json.decode(lineage, type=Lineage)
        for number, lineage in db.execute(
            "SELECT file_no, lineage FROM files WHERE client = ? AND lineage IS NOT NULL", (client,)
        )
    }
    if not told:
        return
    rows: dict[int, list[tuple[int, str, bytes]]] = defaultdict(list)
    query = (
        "SELECT p.file_no, p.ordinal, p.session_id, p.digest FROM prompts p JOIN files f USING (file_no) "
        "WHERE f.client = ? AND p.source = (SELECT min(source) FROM prompts b WHERE b.file_no = p.file_no) "
        "ORDER BY p.file_no, p.ordinal"
    )
    for number, ordinal, session, digest in db.execute(query, (client,)):
        rows[number].append((ordinal, session, digest))
    streams = [
        Stream(
            number=number,
            session=found[0][1],
            ancestors=told[number].ancestors if number in told else [],
            vectors=b"".join(digest[:WIDTH] for _, _, digest in found),
            copied_rule="copied",
        )
        for number, found in rows.items()
    ]
    present = {stream.session for stream in streams}
    for number, runs in lineages(streams).items():
        for place, (ordinal, _, digest) in enumerate(rows[number]):
            owner, rule = owner_at(runs, place)
            if rule is None:
                continue
            if owner in present:
                yield number, ordinal, None, None, 1
            else:
                name = blake2b(f"{owner}\0{place}\0".encode() + digest, digest_size=16, key=key).digest()
                yield number, ordinal, owner, name, 0
