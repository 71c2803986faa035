"""Events of packs as others see them: what two files' accounts of one request are compared by.

Here: what one event tells of its session, its kind, its counters and its place among copies.  Not here: what follows
from a comparison (``ingest.pairs``).
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenledger_dagster.clients.pack import Cell, Columns, PackFormat, PricedContext, cell_of
from tokenledger_dagster.ingest.lineage import owner_at

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.booking import StreamFacts
    from tokenledger_dagster.ingest.ledger import Ledger
    from tokenledger_dagster.ingest.packs import Pack


class Side(NamedTuple):
    """A pack that shows what another shows too."""

    pack: Pack
    columns: Columns
    form: PackFormat
    facts: StreamFacts
    rows_of: Counter[int]
    """How many rows each event has."""
    sessions: list[tuple[str, int]]
    """Name and number of each context's session."""
    kinds: list[tuple[Any, ...]]
    """What of each context bears on which of two copies wins, but for its session and prices."""
    priced: list[tuple[Any, ...]]
    """What of each context prices follow from."""


def side_of(ledger: Ledger, pack: Pack) -> Side:
    """A pack with what its events are compared by."""
    columns, form = ledger.packs.columns(pack), ledger.packs.form(pack)
    told = [form.priced(context) for context in columns.contexts]
    return Side(
        pack,
        columns,
        form,
        ledger.stream(pack.stream_no),
        Counter(columns.event_of),
        [(name, ledger.session_number(pack.client, name)) for name, *_ in told],
        [form.kind(context) for context in columns.contexts],
        [priced[1:] for priced in told],
    )


class Shown:
    """One event of a side."""

    __slots__ = ("_place", "_row", "event", "identity", "side")

    def __init__(self, side: Side, event: int) -> None:
        columns = side.columns
        self.side = side
        self.event = event
        self.identity: Any = columns.identities[event]
        """What makes it one request."""
        self._row = columns.winners[event]
        self._place = columns.context_of[self._row]

    @property
    def at_us(self) -> int:
        """Its time, microseconds."""
        return self.side.pack.times[self.event]

    @property
    def session(self) -> tuple[str, int]:
        """Name and number of the session its rows name."""
        return self.side.sessions[self._place]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What bears on which of two copies wins, but for session, prices and counters."""
        return self.side.kinds[self._place]

    @property
    def rows(self) -> int:
        """How many rows of the file are it."""
        return self.side.rows_of[self.event]

    @property
    def able_rows(self) -> int:
        """Those that the file itself does not set aside."""
        rows = self.rows
        return rows if rows == 1 else rows - self.side.form.rules(self.side.columns, {self.event}).total()

    @property
    def moment(self) -> tuple[datetime, bytes]:
        """Time and digest of the row that stands for it: the least wins among copies of one kind and size."""
        columns, row = self.side.columns, self._row
        return columns.times[row], columns.hashes[32 * row : 32 * row + 32]

    @property
    def rank(self) -> tuple[int, int, datetime, bytes]:
        """The least wins among copies of one kind (``clients.copies.rank``)."""
        counters = self._counters
        return -counters[1], -sum(counters[:6]), *self.moment

    def costs_as(self, other: Shown) -> bool:
        """Whether two events of one client have the same counters and are priced by the same."""
        if self.side.priced[self._place] != other.side.priced[other._place]:
            return False
        here, there = self.side.columns.values[self._row], other.side.columns.values[other._row]
        return here == there or self._counters == other._counters

    def owner(self) -> tuple[str, str | None]:
        """Name of the session that owns it by its place in the file, and the rule if it was copied there."""
        runs = self.side.facts.runs
        return owner_at(runs, self.side.columns.ordinals[self._row]) if runs else (self.session[0], None)

    def cell(self, at_us: int) -> tuple[PricedContext, Cell]:
        """What it adds to the sums if it was at this time."""
        return cell_of(self.side.form, self.side.columns, self.event, at_us)

    @property
    def _counters(self) -> list[int]:
        return self.side.form.total([self.side.columns.values[self._row]])
