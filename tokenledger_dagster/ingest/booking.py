"""Booking: from all usage records to one event a request, whatever order they arrived in.

Here: the one implementation that reports and assets share: which groups new records touch, which copy wins and who owns
the event.  Not here: what makes two rows one request (each client's ``claims``), prices, cells, or how results are
stored (``ingest.ledger``).  Rules: event contract, "Identity, winner, owner".

Booking is a function of the set of records.  It is computed group by group: a group is everything that could be one
request, so new records re-book only the groups they fall into, and those whose ownership they change.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from tokenledger_dagster.clients.base import OWNER, Claim, Client, Copy
from tokenledger_dagster.clients.copies import SUPERSEDED, rank
from tokenledger_dagster.clients.registry import Clients
from tokenledger_dagster.ingest.lineage import Run, owner_at

NEVER = 2**62
"""Later than any time, in microseconds."""


class Session(msgspec.Struct):
    """A session as booking knows it."""

    number: int
    client: str
    name: str


class StreamFacts(msgspec.Struct):
    """What booking knows of a stream."""

    number: int
    client: str
    key: str
    """Source id and generation: the same on every machine, so that full ties end alike."""
    parser_version: int
    subagent: bool
    runs: list[Run]

    @property
    def source(self) -> str:
        """Source id: the same for all readings of a file that was rewritten."""
        return self.key.rpartition("#")[0]


class Booked(msgspec.Struct, gc=False):
    """One event before it is stored."""

    event_id: str
    group: int
    winner: Copy
    session: int
    timestamp_us: int
    flags: tuple[str, ...]
    contenders: list[int]
    """Sessions whose rows show the request."""
    verdicts: list[tuple[int, str | None]]
    """(rid, rule) of every record of the event; the winner's rule is None."""

    @property
    def shared(self) -> bool:
        """True where rows of several sessions are this request."""
        return len(self.contenders) > 1


class Store(Protocol):
    """The stored side of booking (``ingest.ledger``)."""

    def copies(self, groups: Iterable[int]) -> dict[int, list[Copy]]:
        """Stored records of some groups."""
        ...

    def stream(self, number: int) -> StreamFacts:
        """Facts of a stream."""
        ...

    def is_superseded(self, stream: int) -> bool:
        """True for the archived copy of a file that is also there as an active one, unless it carries that one on."""
        ...

    def has_file(self, client: str, session: str) -> bool:
        """Whether any file of the session itself was read."""
        ...

    def session(self, number: int) -> Session:
        """A session by its number."""
        ...

    def session_number(self, client: str, name: str) -> int:
        """Number of a session, made if it is new."""
        ...

    def own_first(self, sessions: set[int], groups: set[int]) -> dict[int, int]:
        """Earliest unshared event of each session among those outside ``groups``."""
        ...

    def known_order(self, sessions: set[int]) -> dict[int, int]:
        """Order last used for these sessions, where one was."""
        ...

    def set_order(self, order: dict[int, int]) -> None:
        """Remembers the order that ownership was decided by."""
        ...

    def sharing(self, groups: set[int]) -> set[int]:
        """Sessions that competed for one of these groups when it was last booked."""
        ...

    def shared_groups(self, sessions: set[int]) -> set[int]:
        """Groups in which these sessions compete for ownership."""
        ...

    def is_witness_only(self, copies: Sequence[Copy]) -> bool:
        """Whether a better source shows the request that these records show."""
        ...


class _Facts:
    """What clients may ask while they form claims."""

    def __init__(self, store: Store, client: str) -> None:
        self._store = store
        self._client = client

    def row_owner(self, copy: Copy) -> tuple[str, str | None]:
        runs = self._store.stream(copy.stream).runs
        if not runs:
            return self._store.session(copy.session).name, None
        return owner_at(runs, copy.ordinal)

    def is_superseded(self, stream: int) -> bool:
        return self._store.is_superseded(stream)

    def has_file(self, session: str) -> bool:
        return self._store.has_file(self._client, session)


class _Open(msgspec.Struct):
    """A claim with the sessions that may own it."""

    group: int
    client: str
    claim: Claim
    owners: dict[int, bool]
    """By session number: whether only subagents' rows speak for it."""


def book(
    store: Store, clients: Clients, new: dict[int, list[Copy]], touched: set[int]
) -> tuple[list[Booked], list[tuple[int, str]], set[int]]:
    """Books the groups of ``new`` records, the ``touched`` ones, and every group whose ownership they change.

    Returns the events of all these groups, the verdicts ``(rid, rule)`` of records no event owns, and the groups
    re-booked; whatever was booked for these groups before is void.
    """
    opened: list[_Open] = []
    orphans: list[tuple[int, str]] = []
    groups: set[int] = set()
    shown: set[int] = set()
    """Sessions whose rows were looked at: one that loses a row may lose its first request by it."""
    wanted = set(new) | touched
    # sessions that competed for one of these groups so far may rank otherwise once it is booked anew
    stirred = store.sharing(wanted)
    order = Order({}, [])
    while wanted:
        stored = store.copies(wanted)
        groups |= wanted
        for group in wanted:
            copies = stored.get(group, []) + new.get(group, [])
            if copies:
                shown.update(copy.session for copy in copies)
                opened += _open_group(store, clients, group, copies, orphans)
        own, changed = _own_first(store, opened, groups, shown)
        contested = [(_time_of(one.claim.copies), frozenset(one.owners)) for one in opened if len(one.owners) > 1]
        order = Order(own, contested)
        # a family of sessions is ranked as a whole: what one of them shares with another bears on all their claims
        stirred |= changed | {session for _, sessions in contested for session in sessions}
        wanted = store.shared_groups(stirred) - groups if stirred else set()
    booked = [_settle(store, clients[one.client], one, order) for one in opened]
    return booked, orphans, groups


def _open_group(
    store: Store, clients: Clients, group: int, copies: list[Copy], orphans: list[tuple[int, str]]
) -> list[_Open]:
    client = store.stream(copies[0].stream).client
    opened = []
    for claim in clients[client].claims(copies, _Facts(store, client)):
        if store.is_witness_only(claim.copies):
            orphans += [(copy.rid, SUPERSEDED) for copy in claim.copies]
            orphans += [(copy.rid, rule) for copy, rule in claim.losers]
            continue
        if not claim.copies:
            orphans += [(copy.rid, rule) for copy, rule in claim.losers]
            continue
        if claim.owners is None:
            owners: dict[int, bool] = {}
            for copy in claim.copies:
                owners[copy.session] = owners.get(copy.session, True) and store.stream(copy.stream).subagent
        else:
            owners = {store.session_number(client, name): False for name in claim.owners}
        opened.append(_Open(group, client, claim, owners))
    return opened


def _own_first(store: Store, opened: list[_Open], groups: set[int], shown: set[int]) -> tuple[dict[int, int], set[int]]:
    """Time of the first request that each competing session alone shows, and the sessions for which it changed."""
    competing = {session for one in opened if len(one.owners) > 1 for session in one.owners}
    present = {session for one in opened for session in one.owners} | shown
    before = store.known_order(present)
    wanted = competing | (present & before.keys())
    if not wanted:
        return {}, set()
    found = store.own_first(wanted, groups)
    for one in opened:
        if len(one.owners) == 1:
            (session,) = one.owners
            if session in wanted:
                found[session] = min(found.get(session, NEVER), _time_of(one.claim.copies))
    order = {session: found.get(session, NEVER) for session in wanted}
    changed = {session for session, first in order.items() if before.get(session) != first}
    if changed:
        store.set_order({session: order[session] for session in changed})
    return order, changed


class Order:
    """Which of two sessions was there first, told by the requests that each shows and the other does not.

    A resumed or forked session begins with rows of the one it came from, so the earliest row of both is the same.  The
    one whose first row of its own is earlier was there first; one that shows nothing the other does not is the one
    that was copied.
    """

    def __init__(self, own_first: dict[int, int], contested: Sequence[tuple[int, frozenset[int]]]) -> None:
        self._own = own_first
        self._shared: dict[int, list[tuple[int, frozenset[int]]]] = defaultdict(list)
        for time, sessions in sorted(contested, key=lambda one: one[0]):
            for session in sessions:
                self._shared[session].append((time, sessions))
        self._known: dict[tuple[int, int], int] = {}

    def first(self, owners: dict[int, bool], name: Callable[[int], str]) -> int:
        """The owner among sessions that show a request: not only in subagents' files, then first, then by name."""
        able = [session for session in owners if owners[session] == min(owners.values())]
        return min(able, key=lambda one: (sum(self._after(one, other) for other in able if other != one), name(one)))

    def _after(self, one: int, other: int) -> bool:
        mine, theirs = self._first_beside(one, other), self._first_beside(other, one)
        if mine == NEVER or theirs == NEVER:
            return theirs == NEVER and mine != NEVER
        return mine > theirs

    def _first_beside(self, one: int, other: int) -> int:
        """Time of the first request that ``one`` shows and ``other`` does not; NEVER where there is none."""
        found = self._known.get((one, other))
        if found is None:
            shared = next((time for time, sessions in self._shared[one] if other not in sessions), NEVER)
            found = self._known[one, other] = min(self._own.get(one, NEVER), shared)
        return found


def _time_of(copies: Sequence[Copy]) -> int:
    """The earliest time a row told; where none did, that of the winner."""
    timed = [copy.timestamp_us for copy in copies if copy.timed]
    return min(timed) if timed else min(copies, key=rank).timestamp_us


def _settle(store: Store, client: Client, one: _Open, order: Order) -> Booked:
    """Winner, owner, time and the rule of every loser of one claim."""
    claim = one.claim

    if len(one.owners) == 1:
        (owner,) = one.owners
    else:
        owner = order.first(one.owners, lambda session: store.session(session).name)

    def tie(copy: Copy) -> tuple[object, ...]:
        # equal bytes in two files: the owner's own row stands; what a row has from the rows before it may differ
        own = (copy.session != owner, store.session(copy.session).name, copy.model_raw or "", copy.service_tier or "")
        return (*rank(copy), copy.rid in claim.rules, *own, store.stream(copy.stream).key, copy.ordinal)

    winner = claim.copies[0] if len(claim.copies) == 1 else min(_newest(store, claim.copies), key=tie)
    identity = claim.identity
    if OWNER in identity:
        name = store.session(owner).name
        identity = tuple(name if part == OWNER else part for part in identity)
    verdicts: list[tuple[int, str | None]] = [(winner.rid, None)]
    for copy in claim.copies:
        if copy is not winner:
            rule = claim.rules.get(copy.rid) or _reread(store, copy, winner)
            verdicts.append((copy.rid, rule or client.duplicate_rule(copy, winner, _subagent(store))))
    verdicts += [(copy.rid, rule) for copy, rule in claim.losers]
    return Booked(
        event_id=event_id(identity),
        group=one.group,
        winner=winner,
        session=owner,
        timestamp_us=_time_of(claim.copies),
        flags=claim.flags,
        contenders=list(one.owners),
        verdicts=verdicts,
    )


def _newest(store: Store, copies: Sequence[Copy]) -> Sequence[Copy]:
    """The copies that may win: of a file read anew by a newer parser, only what that parser made of it."""
    facts = [store.stream(copy.stream) for copy in copies]
    if all(one.parser_version == facts[0].parser_version for one in facts):
        return copies
    newest: dict[str, int] = {}
    for one in facts:
        newest[one.source] = max(newest.get(one.source, 0), one.parser_version)
    return [copy for copy, one in zip(copies, facts, strict=True) if one.parser_version == newest[one.source]]


def _reread(store: Store, loser: Copy, winner: Copy) -> str | None:
    """The rule of a row that stands in two readings of one rewritten file."""
    if loser.stream == winner.stream:
        return None
    same = store.stream(loser.stream).source == store.stream(winner.stream).source
    return "reread_copy" if same else None


def _subagent(store: Store) -> Callable[[int], bool]:
    return lambda stream: store.stream(stream).subagent


def event_id(identity: tuple[str | int | None, ...]) -> str:
    """128-bit id of a request: blake2b over its identity as a JSON array, in hex; the same on every machine."""
    return hashlib.blake2b(msgspec.json.encode(identity), digest_size=16).hexdigest()


def group_number(client: str, key: bytes) -> int:
    """Signed 64-bit number of a booking group."""
    digest = hashlib.blake2b(client.encode() + b"\x00" + key, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def by_group(rows: Iterable[tuple[int, Copy]]) -> dict[int, list[Copy]]:
    """Copies collected by group number."""
    found: dict[int, list[Copy]] = defaultdict(list)
    for group, copy in rows:
        found[group].append(copy)
    return dict(found)
