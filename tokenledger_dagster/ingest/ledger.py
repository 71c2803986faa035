"""The booked state in the manifest: what booking reads, and how its results replace what was booked before.

Here: SQL reads and writes around ``ingest.booking``: copies, sessions, streams, events, verdicts, cells.  Not here: any
booking rule, or the order of a commit (``ingest.commit``).
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tokenledger_dagster.clients.base import Copy
from tokenledger_dagster.clients.codex_reducer import fingerprint
from tokenledger_dagster.clients.pack import PROMPT_STEPS, Cell, PricedContext
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.ingest import expanding, witnesses
from tokenledger_dagster.ingest.booking import NEVER, Booked, Session, StreamFacts
from tokenledger_dagster.ingest.cells import Cells
from tokenledger_dagster.ingest.packs import Packs
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.models.kept import kept_names
from tokenledger_dagster.models.names import ModelName, resolve_model
from tokenledger_dagster.models.rules import NO_DAY
from tokenledger_dagster.pricing.context import provider_for
from tokenledger_dagster.pricing.events import look_up, price_event, sum_of, token_prices
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.quarters import SLOT_US

if TYPE_CHECKING:
    from tokenledger_dagster.models.overrides import Overrides

_CHUNK = 500
_INDEX_ROWS = 10_000
_INT64_MAX = 2**63 - 1
_SLOTS_A_DAY = 96
_FAR_DAY = 2**62
_Key = tuple[Any, ...]
_Span = tuple[int, int, int, ModelName, "_Units"]
"""From one UTC day until before another: number and name of a model, and what one token costs."""
_Units = tuple[int, ...] | None
_CHANGING = (-1,)
"""Stands for prices that are another quarter hour's already."""
_EPOCH = date(1970, 1, 1).toordinal()
SUM_FLAG = "sum_of_requests"
"""Booking flag of an event that is several requests together."""
_encode_copy = msgspec.msgpack.Encoder().encode
_decode_copy = msgspec.msgpack.Decoder(Copy).decode

_EVENT_COLUMNS = (
    "event_no, event_id, grp, rid, session_no, model_no, timestamp_us, shared, is_estimated, input_tokens, "
    "output_tokens, cache_write_tokens, cache_read_tokens, tool_input_tokens, tool_output_tokens, "
    "cache_write_1h_tokens, reasoning_tokens, web_search_requests, booking_flags, channel, list_price_nano, "
    "list_basis, price_confidence, requested_context, priced_context, unpriced_reason, reported_nano"
)
RECORD_INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)"
EVENT_INSERT = f"INSERT INTO events ({_EVENT_COLUMNS}) VALUES ({', '.join('?' * 27)})"

_PRICE = _EVENT_COLUMNS.split(", ").index("list_price_nano")
_REPORTED = _EVENT_COLUMNS.split(", ").index("reported_nano")


def _chunks(values: Iterable[int]) -> Iterator[list[int]]:
    listed = list(values)
    for start in range(0, len(listed), _CHUNK):
        yield listed[start : start + _CHUNK]


def _marks(count: int) -> str:
    return ",".join("?" * count)


class Billing(NamedTuple):
    """How a log names a model, and what it says of who billed the request: one row of ``models`` for each."""

    model_raw: str | None
    upstream: str | None = None
    billing_kind: str | None = None
    account_hash: str | None = None
    is_reported: bool = False
    """Whether the request states its own cost."""


class Ledger:
    """Reads and replaces booked state inside the caller's transaction.  Implements ``booking.Store``."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        zone: Zone,
        rates: RateTable,
        lake: Path,
        overrides: Overrides | None = None,
    ) -> None:
        self._db = connection
        self._overrides = overrides
        self.rates = rates
        self.packs = Packs(connection, lake)
        self.cells = Cells(connection, zone)
        self._streams: dict[int, StreamFacts] = {}
        self._superseded: dict[int, bool] = {}
        self._files: dict[tuple[str, str], bool] = {}
        self._sessions: dict[int, Session] = {}
        self._session_numbers: dict[tuple[str, str], int] = {}
        self._new_sessions: list[tuple[int, str, str]] = []
        self._last_session = 0
        self._models: dict[tuple[str, Billing, int], tuple[int, ModelName]] = {}
        self._model_numbers: dict[tuple[Any, ...], int] = {}
        self._new: dict[int, list[UsageRecord]] = {}
        self._summoned: defaultdict[int, list[Copy]] = defaultdict(list)
        """By group: what packs handed over when booking asked for what else their sessions compete."""
        self.parted: set[int] = set()
        """Sessions that competed for an event of a pair which was handed over since the last ``replace``."""
        self._spans: dict[_Key, list[_Span]] = {}
        """Model and prices by what they depend on beside the day."""
        self._slot_prices: dict[_Key, _Units] = {}
        self.source_ids: set[str] = set()
        """Ids of all sources, once somebody asked for them (``ingest.placing``)."""
        self.rules: Counter[str] = Counter()
        """New records set aside so far, by rule."""
        self.priced: Counter[str] = Counter()
        """Events booked so far, ``priced`` and ``unpriced``."""

    # ---------------------------------------------------------------- what booking reads

    def copies(self, groups: Iterable[int]) -> dict[int, list[Copy]]:
        """Stored records of some groups."""
        found: dict[int, list[Copy]] = {}
        for chunk in _chunks(groups):
            query = f"SELECT grp, copy FROM records WHERE grp IN ({_marks(len(chunk))})"
            for group, data in self._db.execute(query, chunk):
                found.setdefault(group, []).append(_decode_copy(data))
            for group in self._summoned.keys() & chunk:
                found.setdefault(group, []).extend(self._summoned[group])
        return found

    def stream(self, number: int) -> StreamFacts:
        """Facts of a stream; cached until ``forget_streams``."""
        found = self._streams.get(number)
        if found is None:
            row = self._db.execute(
                "SELECT s.client, o.source_id || '#' || s.generation, s.parser_version, s.subagent, s.lineage "
                "FROM streams s JOIN sources o USING (source_no) WHERE s.stream_no = ?",
                (number,),
            ).fetchone()
            client, key, parser, subagent, lineage = row
            runs = [tuple(run) for run in msgspec.json.decode(lineage)]
            found = StreamFacts(number, client, key, parser, bool(subagent), runs)
            self._streams[number] = found
        return found

    def forget_streams(self) -> None:
        """Drops cached facts after streams or their lineage changed."""
        self._streams.clear()
        self._superseded.clear()
        self._files.clear()

    def forget_models(self) -> None:
        """Drops cached models and prices before all that was booked is thrown away."""
        self._models.clear()
        self._model_numbers.clear()
        self._spans.clear()
        self._slot_prices.clear()

    def is_superseded(self, stream: int) -> bool:
        """True for the archived copy of a file that is also there as an active one, unless it carries that one on."""
        found = self._superseded.get(stream)
        if found is None:
            query = (
                "SELECT t.stream_no FROM streams s JOIN streams t USING (client, stem) "
                "WHERE s.stream_no = ? AND s.archived = 1 AND t.archived = 0"
            )
            twins = [self.vectors(number) for (number,) in self._db.execute(query, (stream,)).fetchall()]
            found = bool(twins) and not any(one and self.vectors(stream).startswith(one) for one in twins)
            self._superseded[stream] = found
        return found

    def new_records(self, records: dict[int, list[UsageRecord]]) -> None:
        """Tells of records by stream that are about to be stored."""
        self._new = records

    def vectors(self, stream: int) -> bytes:
        """Eight bytes for each record of a stream, in order, that are equal where the logged counters are."""
        (stored,) = self._db.execute("SELECT vectors FROM streams WHERE stream_no = ?", (stream,)).fetchone()
        if stored is not None:
            return bytes(stored)
        found: dict[int, bytes] = {}
        for record in self._new.get(stream, ()):
            found[record.ordinal] = fingerprint(record.cumulative, record.last)
        for pack in self.packs.of_streams([stream]):
            found.update(self.packs.form(pack).vectors(self.packs.columns(pack)))
        query = (
            "SELECT r.copy FROM stream_runs s JOIN records r ON r.rid BETWEEN s.first_rid AND s.last_rid "
            "WHERE s.stream_no = ?"
        )
        for (data,) in self._db.execute(query, (stream,)):
            copy = _decode_copy(data)
            found[copy.ordinal] = fingerprint(copy.cumulative, copy.last)
        vectors = b"".join(found[ordinal] for ordinal in sorted(found))
        self._db.execute("UPDATE streams SET vectors = ? WHERE stream_no = ?", (vectors, stream))
        return vectors

    def has_file(self, client: str, session: str) -> bool:
        """Whether any file of the session itself was read."""
        found = self._files.get((client, session))
        if found is None:
            query = "SELECT 1 FROM streams WHERE session = ? AND client = ? LIMIT 1"
            found = self._db.execute(query, (session, client)).fetchone() is not None
            self._files[client, session] = found
        return found

    def session(self, number: int) -> Session:
        """A session by its number."""
        found = self._sessions.get(number)
        if found is None:
            row = self._db.execute("SELECT client, session_id FROM sessions WHERE session_no = ?", (number,)).fetchone()
            found = self._sessions[number] = Session(number, row[0], row[1])
        return found

    def session_number(self, client: str, name: str) -> int:
        """Number of a session, made if it is new; ``write_sessions`` makes its row."""
        if not self._session_numbers:
            for number, *stored in self._db.execute("SELECT session_no, client, session_id FROM sessions"):
                self._session_numbers[stored[0], stored[1]] = number
                self._last_session = max(self._last_session, number)
        key = (client, name)
        found = self._session_numbers.get(key)
        if found is None:
            found = self._last_session = self._last_session + 1
            self._session_numbers[key] = found
            self._sessions[found] = Session(found, client, name)
            self._new_sessions.append((found, client, name))
        return found

    def write_sessions(self) -> None:
        """Writes the sessions that are new."""
        self._db.executemany(
            "INSERT INTO sessions (session_no, client, session_id) VALUES (?, ?, ?)", self._new_sessions
        )
        self._new_sessions.clear()

    def own_first(self, sessions: set[int], groups: set[int]) -> dict[int, int]:
        """Earliest unshared event of each session among those outside ``groups``."""
        found: dict[int, int] = {}
        # the groups being booked are void: their events must not speak, so they are marked while this runs
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS void_groups (grp INTEGER PRIMARY KEY)")
        self._db.execute("DELETE FROM void_groups")
        self._db.executemany("INSERT INTO void_groups VALUES (?)", ((group,) for group in groups))
        for chunk in _chunks(sessions):
            query = (
                f"SELECT session_no, min(timestamp_us) FROM events WHERE session_no IN ({_marks(len(chunk))}) "
                "AND shared = 0 AND grp NOT IN (SELECT grp FROM void_groups) GROUP BY session_no"
            )
            found.update(self._db.execute(query, chunk))
        for session in sessions:
            first = self.packs.first_of(session, self.session(session).name)
            found[session] = min(found.get(session, NEVER), first)
        return found

    def known_order(self, sessions: set[int]) -> dict[int, int]:
        """Order last used for these sessions, where one was."""
        found: dict[int, int] = {}
        for chunk in _chunks(sessions):
            query = f"SELECT session_no, own_first_us FROM session_order WHERE session_no IN ({_marks(len(chunk))})"
            for number, first in self._db.execute(query, chunk):
                found[number] = first
        return found

    def set_order(self, order: dict[int, int]) -> None:
        """Remembers the order that ownership was decided by."""
        self._db.executemany("INSERT OR REPLACE INTO session_order VALUES (?, ?)", order.items())

    def sharing(self, groups: set[int]) -> set[int]:
        """Sessions that competed for one of these groups when it was last booked."""
        found = set(self.parted)
        if self._db.execute("SELECT 1 FROM shared_groups LIMIT 1").fetchone() is None:
            return found
        for chunk in _chunks(groups):
            query = f"SELECT DISTINCT session_no FROM shared_groups WHERE grp IN ({_marks(len(chunk))})"
            found.update(session for (session,) in self._db.execute(query, chunk))
        return found

    def shared_groups(self, sessions: set[int]) -> set[int]:
        """Groups in which these sessions compete for ownership; what packs hold of these is handed over."""
        found: set[int] = set()
        for group, copy in expanding.expand_shared(self, sessions):
            self._summoned[group].append(copy)
            found.add(group)
        for chunk in _chunks(sessions):
            query = f"SELECT grp FROM shared_groups WHERE session_no IN ({_marks(len(chunk))})"
            found.update(group for (group,) in self._db.execute(query, chunk))
        return found

    def is_witness_only(self, copies: Sequence[Copy]) -> bool:
        """Whether a better source shows the request that these records show."""
        return witnesses.is_witness_only(self._db, copies)

    # ---------------------------------------------------------------- what booking's results replace

    def replace(
        self,
        booked: Sequence[Booked],
        orphans: Sequence[tuple[int, str]],
        groups: set[int],
        new: Sequence[tuple[int, Copy]],
    ) -> None:
        """Makes ``booked`` all there is of ``groups``; ``new`` are records that had no row."""
        self._void(groups)
        new = [*new, *((group, copy) for group, copies in self._summoned.items() for copy in copies)]
        self._summoned.clear()
        self.parted.clear()
        verdicts: dict[int, tuple[int | None, str | None]] = {rid: (None, rule) for rid, rule in orphans}
        number = self.last_event()
        events = []
        for event in booked:
            number += 1
            row = self._event_row(number, event)
            events.append(row)
            self._add(row, 1)
            for rid, rule in event.verdicts:
                verdicts[rid] = (number, rule)
        self._db.executemany(EVENT_INSERT, events)
        known = {copy.rid for _, copy in new}
        self._db.executemany(
            RECORD_INSERT,
            (
                (copy.rid, group, copy.stream, copy.session, _encode_copy(copy), *verdicts.get(copy.rid, (None, None)))
                for group, copy in new
            ),
        )
        self.rules.update(rule for rid, (_, rule) in verdicts.items() if rule is not None and rid in known)
        changed = ((event, rule, rid) for rid, (event, rule) in verdicts.items() if rid not in known)
        self._db.executemany("UPDATE records SET event_no = ?, rule = ? WHERE rid = ?", changed)
        shared = [(session, event.group) for event in booked if event.shared for session in event.contenders]
        self._db.executemany("INSERT OR IGNORE INTO shared_groups VALUES (?, ?)", shared)
        witnesses.name_owners(self._db, verdicts)

    def last_event(self) -> int:
        """The highest number of an event."""
        return int(self._db.execute("SELECT coalesce(max(event_no), 0) FROM events").fetchone()[0])

    def insert(self, events: Sequence[tuple[Any, ...]], records: Sequence[tuple[Any, ...]]) -> None:
        """Writes rows of groups that have none, and that the sums hold already."""
        self._db.executemany(EVENT_INSERT, events)
        self._db.executemany(RECORD_INSERT, records)

    def unindexed(self, rows: int) -> AbstractContextManager[None]:
        """Writes ``rows`` of records without their indexes, where making these anew is cheaper."""
        if rows < _INDEX_ROWS or rows < self._db.execute("SELECT count(*) FROM records").fetchone()[0]:
            return nullcontext()
        return _unindexed(self._db)

    def _void(self, groups: set[int]) -> None:
        """Takes the events of ``groups`` out of the state and off the cells."""
        for chunk in _chunks(groups):
            query = f"SELECT {_EVENT_COLUMNS} FROM events WHERE grp IN ({_marks(len(chunk))})"
            rows = self._db.execute(query, chunk).fetchall()
            if not rows:
                continue
            for row in rows:
                self._add(row, -1)
            self._db.execute(f"DELETE FROM events WHERE grp IN ({_marks(len(chunk))})", chunk)
            self._db.execute(f"DELETE FROM shared_groups WHERE grp IN ({_marks(len(chunk))})", chunk)

    def finish(self) -> Counter[str]:
        """Writes sessions, cells and packs; returns by how many events each client's count changed."""
        self.write_sessions()
        change: Counter[str] = Counter()
        for session, count in self.cells.events.items():
            facts = self._sessions.get(session) or self.session(session)
            change[facts.client] += count
        self.cells.store(self.rates.snapshot_id)
        self.packs.store()
        return change

    def _event_row(self, number: int, event: Booked) -> tuple[Any, ...]:
        winner = event.winner
        client = self.stream(winner.stream).client
        reported = winner.reported_cost_nano or 0
        how = Billing(winner.model_raw, winner.upstream, winner.billing_kind, winner.account_hash, reported > 0)
        model_no, name = self.model(client, how, event.timestamp_us)
        counters = winner.counters
        priced = price_event(
            self.rates,
            client=client,
            upstream=winner.upstream,
            is_sum=winner.is_sum,
            name=name,
            ts_us=event.timestamp_us,
            message_id=winner.message_id,
            speed=winner.speed,
            service_tier=winner.service_tier,
            input=counters[0],
            cache_read=counters[3],
            cache_write_5m=counters[2] - counters[6],
            cache_write_1h=counters[6],
            output=counters[1],
            tool_input=counters[4],
            tool_output=counters[5],
        )
        self.priced["unpriced" if priced.list_price_nano is None else "priced"] += 1
        return (
            number,
            event.event_id,
            event.group,
            winner.rid,
            event.session,
            model_no,
            event.timestamp_us,
            int(event.shared),
            int(winner.is_estimated),
            *counters,
            ",".join((*event.flags, SUM_FLAG) if winner.is_sum else event.flags),
            priced.channel,
            priced.list_price_nano,
            priced.list_basis,
            priced.price_confidence,
            priced.requested_context,
            priced.priced_context or "",
            priced.reason,
            reported,
        )

    def model(self, client: str, how: Billing, timestamp_us: int) -> tuple[int, ModelName]:
        """Number of a model as logged at a time and as billed, made if it is new, and its resolved name."""
        key = (client, how, timestamp_us // DAY_US)
        found = self._models.get(key)
        if found is None:
            raw, upstream, *billed = how
            day = _utc_day(key[2])
            said = self._overrides.named(raw, client, day) if self._overrides is not None else None
            name = said or resolve_model(raw, client, day)
            provider = provider_for(client, name, upstream)
            modifiers = msgspec.json.encode(name.modifiers).decode()
            resolved = (client, raw, upstream, provider, name.model, name.maker, modifiers, name.rule, name.confidence)
            found = self._models[key] = (self._model_number((*resolved, *billed)), name)
        return found

    def _model_number(self, row: tuple[Any, ...]) -> int:
        """Number of a row of ``models``, made if it is new."""
        found = self._model_numbers.get(row)
        if found is None:
            query = (
                "SELECT model_no FROM models WHERE client = ? AND model_raw IS ? AND upstream IS ? AND provider = ? "
                "AND model = ? AND maker IS ? AND modifiers = ? AND rule = ? AND confidence = ? "
                "AND billing_kind IS ? AND account_hash IS ? AND is_reported = ?"
            )
            stored = self._db.execute(query, row).fetchone()
            if stored is None:
                insert = (
                    "INSERT INTO models (client, model_raw, upstream, provider, model, maker, modifiers, rule, "
                    "confidence, billing_kind, account_hash, is_reported) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                )
                stored = (self._db.execute(insert, row).lastrowid,)
            found = self._model_numbers[row] = int(stored[0] or 0)
        return found

    # ---------------------------------------------------------------- cells

    def is_slotted(self, client: str, name: ModelName, prefix: str) -> bool:
        """Whether a model's rates depend on the time of day; ``prefix`` of the message id where it names a channel."""
        found = look_up(self.rates, client=client, name=name, message_id=prefix or None)
        return found.name.model in self.rates.slotted_models

    def _add(self, row: Sequence[Any], sign: int) -> None:
        key = (row[6] // SLOT_US, row[4], row[5], row[8])
        self.cells.add(key, row[9:18], row[_PRICE], sign, row[_REPORTED])

    def add_cells(
        self, client: str, cells: Iterable[tuple[PricedContext, Cell]], sign: int = 1
    ) -> list[tuple[PricedContext, Cell]]:
        """Adds sums of packed events (``sign`` -1: takes them away); returns those that have to be priced by event."""
        left: list[tuple[PricedContext, Cell]] = []
        add, priced, spans = self.cells.add, self.priced, self._spans
        for context, cell in cells:
            slot, count = cell.slot, cell.count
            # not by session: many sessions use few models
            key = (client, context.model_raw, context.speed, context.service_tier, cell.prefix, cell.step)
            day = slot // _SLOTS_A_DAY
            for start, end, model_no, name, units in spans.get(key, ()):  # noqa: B007 - of the span that holds
                if start <= day < end:
                    break
            else:
                _, _, model_no, name, units = self._span(key, context, cell)
            if units is _CHANGING:
                units = self._slot_price(key, name, context, cell)
            price = None
            if units is not None:
                price = sum_of(units, cell.counters) if units else _INT64_MAX + 1
                if price > _INT64_MAX:
                    left.append((context, cell))
                    continue
            priced["unpriced" if price is None else "priced"] += sign * count
            session = self.session_number(client, context.session)
            add((slot, session, model_no, 0), cell.counters, price, sign * count)
        return left

    def _span(self, key: _Key, context: PricedContext, cell: Cell) -> _Span:
        """The span of days around a cell in which neither name nor prices change; at least the cell's own day."""
        client, at = key[0], cell.slot * SLOT_US
        model_no, name = self.model(client, Billing(context.model_raw), at)
        start, end = self._name_days(client, context.model_raw, at)
        found = look_up(
            self.rates,
            client=client,
            name=name,
            message_id=cell.prefix or None,
            speed=context.speed,
            service_tier=context.service_tier,
        )
        # rates change at midnight, but for models with rates by time of day
        units: _Units = _CHANGING
        if found.name.model not in self.rates.slotted_models:
            units = self._units(client, name, context, cell)
            if found.is_usable:
                since, until = self.rates.steady_from(found.channel, found.name.model, found.context, at)
                start, end = max(start, since // DAY_US), min(end, until // DAY_US)
        span = (start, end, model_no, name, units)
        self._spans.setdefault(key, []).append(span)
        return span

    def _name_days(self, client: str, model_raw: str | None, timestamp_us: int) -> tuple[int, int]:
        """Days from which and before which a logged name stands for what it stands for at a time."""
        day = timestamp_us // DAY_US
        kept = None if self._overrides is not None else kept_names().span((client, model_raw), _utc_day(day))
        if kept is None:
            return day, day + 1
        start, end = kept
        return (
            date.fromisoformat(start).toordinal() - _EPOCH if start else -_FAR_DAY,
            date.fromisoformat(end).toordinal() - _EPOCH if end != NO_DAY else _FAR_DAY,
        )

    def _slot_price(self, key: _Key, name: ModelName, context: PricedContext, cell: Cell) -> _Units:
        bucket = (*key, cell.slot)
        if bucket not in self._slot_prices:
            self._slot_prices[bucket] = self._units(key[0], name, context, cell)
        return self._slot_prices[bucket]

    def _units(self, client: str, name: ModelName, context: PricedContext, cell: Cell) -> _Units:
        """What one token costs, by counter; None where it has no price, empty where a sum has none."""
        return token_prices(
            self.rates,
            client=client,
            name=name,
            ts_us=cell.slot * SLOT_US,
            message_id=cell.prefix or None,
            speed=context.speed,
            service_tier=context.service_tier,
            steps=PROMPT_STEPS,
            step=cell.step,
        )


@contextmanager
def _unindexed(connection: sqlite3.Connection) -> Iterator[None]:
    query = "SELECT name, sql FROM sqlite_master WHERE name IN ('records_grp', 'events_grp')"
    indexes = connection.execute(query).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, made in indexes:
        connection.execute(made)


def _utc_day(day: int) -> str:
    """ISO date of days since 1970; far-off days are held at the calendar's ends."""
    return date.fromordinal(min(max(day, -700_000), 2_900_000) + _EPOCH).isoformat()
