"""Packs in the manifest: requests that one file alone tells all about stay columns until somebody asks for them by one.

Here: which events of a pack stand as their own file booked them, what happens when another record shows one of them,
and handing a pack's records to general booking.  Not here: reading packs (``clients.pack``), booking rules
(``ingest.booking``), or the rows that general booking keeps (``ingest.ledger``).

Every booking group ever seen has its 32-bit key in a key column, of its pack or of what was settled.  Two records of
one request have equal keys, so records that meet nobody's key need no look at any stored row; a key met by chance only
costs the look.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.pack import (
    BARRED,
    BOOKED,
    DOMINATED,
    EXPANDED,
    ORIGINAL,
    SHARED,
    WEAK,
    Cell,
    Columns,
    Packed,
    PackFormat,
    PricedContext,
    cell_of,
    decode_columns,
)
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.meeting import Holders, holders_of, met, repeated

_NEVER = 2**62
_MOST_KEPT = 500_000
"""Events above which packs are forgotten after a batch, at 17 bytes each."""
_SUMMED = (BOOKED, WEAK, SHARED, ORIGINAL)
"""States of events that the sums hold."""
_SHORT, _SHORT_ONES = 64 << 10, 8
"""Bytes below which a key column is short, and how many of these there may be."""
_decode_weak = msgspec.msgpack.Decoder(dict[int, tuple[PricedContext, Cell]]).decode


class Place(msgspec.Struct):
    """Where a pack's body lies in the journal."""

    segment: str
    offset: int
    length: int


class Pack(msgspec.Struct):
    """One pack as the manifest knows it."""

    pack_no: int
    stream_no: int
    client: str
    first_rid: int
    rows: int
    keys: array[int]
    checks: array[int]
    times: array[int]
    states: bytearray
    place: Place
    digest: int
    """CRC-32 of the body: bytes that are not those written are not booked."""
    body: bytes | None = None
    contexts: Sequence[PricedContext] = ()
    weak: dict[int, tuple[PricedContext, Cell]] = {}
    """Sums of the WEAK events, so that another file's message takes them back without a look at the body, and of those
    SHARED ones that stand in another session's name or at another time than their own rows say."""
    new: Packed | None = None
    """What its scan told, while it is being committed."""
    changed: bool = True
    opened: Columns | None = None

    def in_state(self, *states: int) -> list[int]:
        """Events in one of some states."""
        return [event for event, state in enumerate(self.states) if state in states]


Taken = tuple[bytes, Copy]
"""A record handed to general booking, with the key material of its group."""


class Packs:
    """All packs of a home, read as far as they are needed, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, lake: Path) -> None:
        self._db = connection
        self._lake = lake
        self._packs: dict[int, Pack] = {}
        self._keys: dict[int, array[int]] | None = None
        """Key columns of the stored packs."""
        self._settled: list[array[int]] = []
        self._sessions: dict[int, set[int]] = {}
        """Sessions of packs that are not stored yet."""
        self._unmet: list[int] = []
        """Packs admitted since the last ``met``."""
        self._forms: dict[str, PackFormat] = {}
        self._next = 0

    # ---------------------------------------------------------------- key columns

    def _load(self) -> dict[int, array[int]]:
        if self._keys is None:
            self._keys = {
                number: _column("I", keys) for number, keys in self._db.execute("SELECT pack_no, keys FROM packs")
            }
            self._settled = [_column("I", keys) for (keys,) in self._db.execute("SELECT keys FROM settled_keys")]
            self._next = max(self._keys, default=0) + 1
        return self._keys

    def number(self) -> int:
        """A number for a new pack."""
        self._load()
        self._next += 1
        return self._next

    def admit(self, pack: Pack, sessions: set[int]) -> None:
        """Takes a new pack, with the numbers of its sessions."""
        keys = self._load()
        keys[pack.pack_no] = pack.keys
        self._packs[pack.pack_no] = pack
        self._sessions[pack.pack_no] = sessions
        self._unmet.append(pack.pack_no)

    def met(self, loose: set[int]) -> tuple[dict[int, list[tuple[Pack, int]]], set[int]]:
        """Keys of the packs admitted since the last time, and of ``loose`` new records, that somebody else shows too.

        Returns the holders of each such key, (pack, event), and which of the keys records outside of packs have too.
        """
        columns = self._load()
        new = {number: columns[number] for number in self._unmet}
        stored = {number: column for number, column in columns.items() if number not in new}
        holders, outside = met(new, stored, self._settled, loose)
        self._unmet.clear()
        if loose:
            column = array("I", sorted(loose))
            self._settled.append(column)
            self._db.execute("INSERT INTO settled_keys (keys) VALUES (?)", (column.tobytes(),))
        return self._opened(holders), outside

    def holders(self, keys: set[int]) -> dict[int, list[tuple[Pack, int]]]:
        """The packs' events with one of some keys."""
        return self._opened(holders_of(keys, self._load()))

    def _opened(self, holders: Holders) -> dict[int, list[tuple[Pack, int]]]:
        return {key: [(self.pack(number), event) for number, event in found] for key, found in holders.items()}

    def shown_twice(self, keys: set[int]) -> set[int]:
        """Those of some keys that more than one event of all packs has."""
        seen: set[int] = set()
        twice: set[int] = set()
        for column in self._load().values():
            if not keys.isdisjoint(column):
                found = keys.intersection(column)
                twice |= found & seen
                seen |= found
                if len(found) < len(column):
                    twice.update(repeated(key for key in column if key in found))
        return twice

    # ---------------------------------------------------------------- single packs

    def pack(self, number: int) -> Pack:
        """A pack by its number."""
        found = self._packs.get(number)
        if found is None:
            row = self._db.execute(
                "SELECT p.stream_no, s.client, p.first_rid, p.row_count, p.keys, p.checks, p.times, p.states, p.weak, "
                "p.digest, "
                "p.segment, p.place, p.length FROM packs p JOIN streams s USING (stream_no) WHERE p.pack_no = ?",
                (number,),
            ).fetchone()
            found = self._packs[number] = _pack(number, row)
        return found

    def of_streams(self, streams: Iterable[int]) -> list[Pack]:
        """The packs of some streams."""
        numbers: list[int] = []
        for stream in streams:
            numbers += [n for (n,) in self._db.execute("SELECT pack_no FROM packs WHERE stream_no = ?", (stream,))]
            numbers += [n for n in self._sessions if self._packs[n].stream_no == stream]
        return [self.pack(number) for number in numbers]

    def of_session(self, session_no: int) -> list[Pack]:
        """The packs with rows of a session."""
        query = "SELECT pack_no FROM pack_sessions WHERE session_no = ?"
        stored = [number for (number,) in self._db.execute(query, (session_no,))]
        new = [number for number, sessions in self._sessions.items() if session_no in sessions]
        return [self.pack(number) for number in stored + new]

    def sessions(self, pack: Pack) -> set[int]:
        """Sessions of a pack that is not stored yet."""
        return self._sessions[pack.pack_no]

    def every(self) -> list[int]:
        """Numbers of all packs, in order."""
        return sorted(self._load())

    def columns(self, pack: Pack) -> Columns:
        """The rows of a pack.  Raises SegmentDamagedError where its journal is not as it was written."""
        if pack.opened is None:
            body = pack.body
            if body is None:
                path = self._lake / pack.place.segment
                try:
                    with open(path, "rb", buffering=0) as handle:
                        handle.seek(pack.place.offset)
                        body = handle.read(pack.place.length)
                except OSError as error:
                    raise SegmentDamagedError(f"{path}: {error.strerror or error}; restore it from a backup") from error
                if crc32(body) != pack.digest:
                    raise SegmentDamagedError(
                        f"{path}: its bytes are not those that were written; restore the file from a backup"
                    )
            try:
                pack.opened = decode_columns(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise SegmentDamagedError(f"{pack.place.segment}: cannot be read ({error}); restore it") from error
        return pack.opened

    def form(self, pack: Pack) -> PackFormat:
        """What the columns of a pack mean."""
        form = self._forms.get(pack.client) or clients()[pack.client].pack_format()
        if form is None:
            raise SegmentDamagedError(
                f"{pack.place.segment}: holds a pack of {pack.client}, which this program cannot read"
            )
        self._forms[pack.client] = form
        return form

    def expand(
        self, pack: Pack, events: Iterable[int], number: Callable[[str], int]
    ) -> tuple[list[Taken], list[tuple[PricedContext, Cell]], Counter[str]]:
        """Hands events to general booking; ``number`` tells that of a session by its name.

        Returns their records, the sums that stood for them until now, and how many records were set aside by rule.
        """
        wanted = {event for event in events if pack.states[event] != EXPANDED}
        if not wanted:
            return [], [], Counter()
        from tokenledger_dagster.clients.pack_copies import copies  # most syncs hand nothing over

        columns, form = self.columns(pack), self.form(pack)
        cells = [self.cell(pack, event) for event in wanted if pack.states[event] in _SUMMED]
        sessions = [number(form.priced(context)[0]) for context in columns.contexts]
        taken = list(copies(columns, wanted, pack.stream_no, pack.first_rid, sessions))
        rules = form.rules(columns, wanted)
        rules[form.repetition] += sum(pack.states[event] == DOMINATED for event in wanted)
        for event in wanted:
            pack.states[event] = EXPANDED
        pack.changed = True
        return taken, cells, rules

    def cell(self, pack: Pack, event: int) -> tuple[PricedContext, Cell]:
        """What one event adds to the sums."""
        return pack.weak.get(event) or cell_of(self.form(pack), self.columns(pack), event, pack.times[event])

    def first_of(self, session_no: int, name: str) -> int:
        """Time of the first event of a session that its file alone booked; a time after all where there is none."""
        first = _NEVER
        for pack in self.of_session(session_no):
            columns, form = self.columns(pack), self.form(pack)
            sessions = [form.priced(context)[0] == name for context in columns.contexts]
            for event, row in enumerate(columns.winners):
                if pack.states[event] in (BOOKED, WEAK, ORIGINAL) and sessions[columns.context_of[row]]:
                    first = min(first, pack.times[event])
        return first

    # ---------------------------------------------------------------- storing

    def store(self) -> None:
        """Writes what changed."""
        changed = [pack for pack in self._packs.values() if pack.changed]
        self._db.executemany(
            "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (pack_no) DO UPDATE SET states = excluded.states, weak = excluded.weak",
            (
                (
                    pack.pack_no,
                    pack.stream_no,
                    pack.first_rid,
                    pack.rows,
                    pack.place.segment,
                    pack.place.offset,
                    pack.place.length,
                    pack.keys.tobytes(),
                    pack.checks.tobytes(),
                    pack.times.tobytes(),
                    bytes(pack.states),
                    msgspec.msgpack.encode(pack.weak) if pack.weak else b"",
                    pack.digest,
                )
                for pack in changed
            ),
        )
        self._db.executemany(
            "INSERT INTO pack_sessions VALUES (?, ?)",
            ((session, pack) for pack, found in self._sessions.items() for session in found),
        )
        self._sessions.clear()
        for pack in self._packs.values():
            pack.changed, pack.new, pack.opened, pack.body, pack.contexts = False, None, None, None, ()
        # the next batches meet them again; memory is bounded: what is more is read again
        if sum(len(pack.keys) for pack in self._packs.values()) > _MOST_KEPT:
            self._packs.clear()

    def drop(self, packs: Sequence[Pack]) -> None:
        """Forgets packs all of whose records general booking has; their keys stay."""
        keys = self._load()
        column = array("I", sorted({key for pack in packs for key in pack.keys}))
        self._db.executemany("DELETE FROM packs WHERE pack_no = ?", ((pack.pack_no,) for pack in packs))
        # by pack there is no index: one look at all of them costs less than keeping one
        self._db.execute("DELETE FROM pack_sessions WHERE pack_no NOT IN (SELECT pack_no FROM packs)")
        for pack in packs:
            keys.pop(pack.pack_no, None)
            self._packs.pop(pack.pack_no, None)
        if column:
            self._settled.append(column)
            self._db.execute("INSERT INTO settled_keys (keys) VALUES (?)", (column.tobytes(),))

    def join_settled(self) -> None:
        """Joins short key columns of what is settled, where polls have made many."""
        short = self._db.execute("SELECT run_no, keys FROM settled_keys WHERE length(keys) < ?", (_SHORT,)).fetchall()
        if len(short) > _SHORT_ONES:
            self._db.executemany("DELETE FROM settled_keys WHERE run_no = ?", ((run,) for run, _ in short))
            self._db.execute("INSERT INTO settled_keys (keys) VALUES (?)", (b"".join(keys for _, keys in short),))


def new_pack(number: int, stream_no: int, client: str, packed: Packed) -> Pack:
    """A pack as its scan made it; rid and place are given when it is written."""
    return Pack(
        pack_no=number,
        stream_no=stream_no,
        client=client,
        first_rid=0,
        rows=packed.rows,
        keys=_column("I", packed.keys),
        checks=_column("I", packed.checks),
        times=_column("q", packed.times),
        states=bytearray(packed.states),
        place=Place("", 0, len(packed.body)),
        body=packed.body,
        contexts=packed.contexts,
        digest=packed.digest,
        weak={event: (packed.contexts[cell.context], cell) for event, cell in packed.weak_cells.items()},
        new=packed,
    )


def dominates(holders: Sequence[tuple[Pack, int]]) -> tuple[Pack, int] | None:
    """The one event that stands for all holders of a key: a message beside mere repetitions in progress rows.

    None where general booking must decide: other requests or sessions, several messages, a repetition that is earlier.
    """
    standing = [(pack, event) for pack, event in holders if pack.states[event] == BOOKED]
    if len(standing) != 1:
        return None
    pack, event = standing[0]
    for other, number in holders:
        if other is pack and number == event:
            continue
        if other.states[number] == BARRED:
            continue  # what its own file bars neither wins nor lends its time
        if (
            other is pack
            or other.states[number] not in (WEAK, DOMINATED)
            or other.checks[number] != pack.checks[event]
            or other.times[number] < pack.times[event]
        ):
            return None
    return standing[0]


def _pack(number: int, row: tuple[object, ...]) -> Pack:
    stream, client, rid, rows, keys, checks, times, states, weak, digest, segment, offset, length = row
    return Pack(
        pack_no=number,
        stream_no=int(str(stream)),
        client=str(client),
        first_rid=int(str(rid)),
        rows=int(str(rows)),
        keys=_column("I", keys),
        checks=_column("I", checks),
        times=_column("q", times),
        states=bytearray(states),  # type: ignore[call-overload]
        place=Place(str(segment), int(str(offset)), int(str(length))),
        digest=int(str(digest)),
        weak=_decode_weak(weak) if weak else {},  # type: ignore[arg-type]
        changed=False,
    )


def _column(kind: str, data: object) -> array[int]:
    found: array[int] = array(kind)
    found.frombytes(data)  # type: ignore[arg-type]
    return found
