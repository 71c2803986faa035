"""Requests that two files show: one of them stands for both, without a look at single records.

Here: which events of two packs are such a pair, which of the two stands, and what the sums come to.  Not here: what
more than two files show, which general booking decides (``ingest.booking``), or taking a pair apart when something else
comes to bear on it (``ingest.expanding``).

A resumed Claude session and a forked Codex thread begin with what they were made from, so most of what several files
show is shown by two.  Whose such a request is, Codex tells by the files' lineage.  Sessions of Claude compete for it,
in the order that general booking uses; they are a family, and it is left to general booking as a whole where anything
but pairs bears on it.  General booking asks for the pairs of every session it ranks, so what is decided here is never
taken for granted there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.clients.pack import BARRED, BOOKED, COPIED, ORIGINAL, SHARED, Cell, PricedContext
from tokenledger_dagster.ingest.booking import Order
from tokenledger_dagster.ingest.lineage import owner_at
from tokenledger_dagster.ingest.shown import Shown, Side, side_of

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.ledger import Ledger
    from tokenledger_dagster.ingest.packs import Pack

Holders = Sequence[tuple["Pack", int]]
"""The events that have a key."""
_Family = frozenset[int]
"""Numbers of the two sessions that compete for a request."""


class _Pair(NamedTuple):
    """Two files' events that are one request."""

    key: int
    one: Shown
    other: Shown
    is_alike: bool
    """Whether it makes no difference which of them wins."""

    @property
    def sessions(self) -> _Family:
        return frozenset((self.one.session[1], self.other.session[1]))


class _Decided(NamedTuple):
    """Which event of a pair stands, which gives way, and the sums where they are not those of the one that stands."""

    key: int
    state: int
    """Of the one that stands."""
    stands: Shown
    gives_way: Shown
    lent: tuple[PricedContext, Cell] | None = None


def pair(ledger: Ledger, holders: Mapping[int, Holders]) -> set[int]:
    """Decides what it can of the keys that packs, and nobody else, show more than once; returns the keys it decided."""
    sides: dict[int, Side] = {}
    decided: list[_Decided] = []
    contested: dict[_Family, list[_Pair]] = defaultdict(list)
    apart: set[int] = set()
    """Keys of which nobody is concerned."""
    left: set[int] = set()
    """Packs that show something which is left to general booking; it would take their pairs apart at once."""
    for key, shown in holders.items():
        if _is_decided(shown):
            apart.add(key)
            continue
        two = _two(ledger, sides, shown)
        if two is not None and _is_chance(*two):
            apart.add(key)
            continue
        found = _pair(key, *two) if two is not None else None
        inherited = _inherited(ledger, found) if found is not None else None
        if inherited is not None:
            decided.append(inherited)
        elif found is not None and _compete(found):
            contested[found.sessions].append(found)
        else:
            left.update(pack.pack_no for pack, _ in shown)
    decided = _undisputed(ledger, decided) + _contested(ledger, contested, left)
    lent = {one.key for one in decided if one.lent is not None and _lend(ledger, one, one.lent)}
    decided = [one for one in decided if one.lent is None or one.key in lent]
    copied: dict[int, list[int]] = defaultdict(list)
    for one in decided:
        _set_state(one.stands, one.state)
        copied[one.gives_way.side.pack.pack_no].append(one.gives_way.event)
    for number, events in copied.items():
        _give_way(ledger, sides[number].pack, events)
    return apart | {one.key for one in decided}


def copied_rules(ledger: Ledger, pack: Pack, events: Iterable[int]) -> Counter[str]:
    """By how many the records set aside change, by rule, when these events of a pack give way to another file's."""
    columns, form = ledger.packs.columns(pack), ledger.packs.form(pack)
    found: Counter[str] = Counter()
    if form.compete:  # whatever a row repeated in its own file, it is now a copy of another's
        wanted = set(events)
        found[form.copy_rule] = sum(event in wanted for event in columns.event_of)
        found.subtract(form.rules(columns, wanted))
        return found
    runs = ledger.stream(pack.stream_no).runs
    for event in events:
        rule = owner_at(runs, columns.ordinals[columns.winners[event]])[1] if runs else None
        found[rule or form.copy_rule] += 1
    return found


def competing(ledger: Ledger, pack: Pack, events: Iterable[int]) -> set[int]:
    """Sessions of a pack that compete for what these events of it show."""
    columns, form = ledger.packs.columns(pack), ledger.packs.form(pack)
    if not form.compete:
        return set()
    contexts = {columns.context_of[columns.winners[event]] for event in events}
    return {ledger.session_number(pack.client, form.priced(columns.contexts[place])[0]) for place in contexts}


def _give_way(ledger: Ledger, pack: Pack, events: Sequence[int]) -> None:
    """Takes the sums of events back that another file's stand for from now on."""
    ledger.add_cells(pack.client, [ledger.packs.cell(pack, event) for event in events], -1)
    ledger.rules.update(copied_rules(ledger, pack, events))
    for event in events:
        pack.states[event] = COPIED
    pack.changed = True


def _lend(ledger: Ledger, decided: _Decided, lent: tuple[PricedContext, Cell]) -> bool:
    """Has an event stand with other sums than its own rows tell; False where only one by one they have a price."""
    pack, event = decided.stands.side.pack, decided.stands.event
    if ledger.add_cells(pack.client, [lent]):
        _set_state(decided.stands, BOOKED)
        _set_state(decided.gives_way, BOOKED)
        return False
    ledger.add_cells(pack.client, [ledger.packs.cell(pack, event)], -1)
    pack.weak[event] = lent
    return True


def _set_state(shown: Shown, state: int) -> None:
    shown.side.pack.states[shown.event] = state
    shown.side.pack.changed = True


# ---------------------------------------------------------------- what is a pair


def _is_decided(holders: Holders) -> bool:
    """Whether whoever is new beside a pair is barred by its own file, so that the pair stays one."""
    states = [pack.states[event] for pack, event in holders if pack.states[event] != BARRED]
    return sorted(states) in ([COPIED, SHARED], [COPIED, ORIGINAL])


def _two(ledger: Ledger, sides: dict[int, Side], holders: Holders) -> tuple[Shown, Shown] | None:
    """The two events of a key that its packs book; what its own file bars neither wins nor lends its time."""
    found = [(pack, event) for pack, event in holders if pack.states[event] != BARRED]
    if len(found) != 2 or any(pack.states[event] != BOOKED for pack, event in found):
        return None
    for pack, _ in found:
        if pack.pack_no not in sides:
            sides[pack.pack_no] = side_of(ledger, pack)
    one, other = (Shown(sides[pack.pack_no], event) for pack, event in found)
    return one, other


def _is_chance(one: Shown, other: Shown) -> bool:
    """Whether two events of equal keys are no more to each other than any two."""
    form = one.side.form
    return one.side.pack.client != other.side.pack.client or form.group(one.identity) != form.group(other.identity)


def _pair(key: int, one: Shown, other: Shown) -> _Pair | None:
    """Two events as one request; None where more has to be looked at."""
    here, there = one.side.facts, other.side.facts
    if one.identity != other.identity or here.source == there.source or one.kind != other.kind:
        return None
    is_alike = one.costs_as(other) and (not one.side.form.compete or one.rows == other.rows)
    return _Pair(key, one, other, is_alike)


# ---------------------------------------------------------------- whose it is, by lineage


def _inherited(ledger: Ledger, found: _Pair) -> _Decided | None:
    """The event of the file that the other one's history was copied from; None where lineage is mute."""
    (owner, rule), (same_owner, copied) = found.one.owner(), found.other.owner()
    if (rule is None) == (copied is None) or owner != same_owner:
        return None
    stands, copy = (found.one, found.other) if rule is None else (found.other, found.one)
    if (
        not found.is_alike
        or stands.session[0] != owner
        or stands.able_rows != 1
        or copy.able_rows != 1
        or stands.at_us > copy.at_us
        or stands.moment > copy.moment
        or any(ledger.is_superseded(one.side.facts.number) for one in (stands, copy))
    ):
        return None
    return _Decided(found.key, ORIGINAL, stands, copy)


def _undisputed(ledger: Ledger, decided: Sequence[_Decided]) -> list[_Decided]:
    """Those of which no session was ever ranked: what is its own would have to be looked at again."""
    sessions = [{one.stands.session[1], one.gives_way.session[1]} for one in decided]
    known = ledger.known_order(set().union(*sessions))
    return [one for one, two in zip(decided, sessions, strict=True) if known.keys().isdisjoint(two)]


# ---------------------------------------------------------------- whose it is, by the order of sessions


def _compete(found: _Pair) -> bool:
    """Whether the order of two sessions says whose a request is."""
    one, other = found.one.side, found.other.side
    return one.form.compete and one.facts.subagent == other.facts.subagent and len(found.sessions) == 2


def _contested(ledger: Ledger, contested: Mapping[_Family, list[_Pair]], left: set[int]) -> list[_Decided]:
    """Decides what families of sessions compete for, but for those of which packs are ``left``."""
    barred = set(ledger.known_order({session for sessions in contested for session in sessions}))
    for sessions, found in contested.items():
        if any(one.side.pack.pack_no in left for both in found for one in (both.one, both.other)):
            barred |= sessions
    while found_more := [one for one in contested if not one <= barred and not one.isdisjoint(barred)]:
        barred.update(*found_more)
    free = {sessions: found for sessions, found in contested.items() if sessions.isdisjoint(barred)}
    if not free:
        return []
    for found in free.values():
        for both in found:  # what is shared is nobody's own
            _set_state(both.one, SHARED)
            _set_state(both.other, SHARED)
    own = ledger.own_first({session for sessions in free for session in sessions}, set())
    ledger.set_order(own)
    shared = ((min(one.one.at_us, one.other.at_us), sessions) for sessions, found in free.items() for one in found)
    order = Order(own, [*shared])
    decided: list[_Decided] = []
    for sessions, found in free.items():
        owner = order.first(dict.fromkeys(sessions, False), lambda session: ledger.session(session).name)
        decided += (_owned(one, owner) for one in found)
    return decided


def _owned(found: _Pair, owner: int) -> _Decided:
    """The winner of two events under its owner's name, at the earlier of both times."""
    mine, copy = (found.one, found.other) if found.one.session[1] == owner else (found.other, found.one)
    stands, gives_way = (mine, copy) if found.is_alike or mine.rank <= copy.rank else (copy, mine)
    at = min(mine.at_us, copy.at_us)
    lent = None
    if stands is not mine or at != mine.at_us:
        context, cell = stands.cell(at)
        lent = PricedContext(mine.session[0], context.model_raw, context.speed, context.service_tier), cell
    return _Decided(found.key, SHARED, stands, gives_way, lent)
