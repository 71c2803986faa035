"""Events of packs as others see them: what two files' accounts of one request are compared by.

Here: what one event tells of its session, its kind, its counters and its place among copies.  Not here: what follows
from a comparison (``ingest.pairs``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenledger_dagster.clients.pack import Cell, Columns, Context, PackFormat, PricedContext, cell_of, microseconds
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


def side_of(ledger: Ledger, pack: Pack) -> Side:
    """A pack with what its events are compared by."""
    columns, form = ledger.packs.columns(pack), ledger.packs.form(pack)
    names = [form.priced(context)[0] for context in columns.contexts]
    sessions = [(name, ledger.session_number(pack.client, name)) for name in names]
    return Side(pack, columns, form, ledger.stream(pack.stream_no), Counter(columns.event_of), sessions)


class Shown(NamedTuple):
    """One event of a side."""

    side: Side
    event: int

    @property
    def at_us(self) -> int:
        """Its time, microseconds."""
        return self.side.pack.times[self.event]

    @property
    def identity(self) -> Any:
        """What makes it one request."""
        return self.side.columns.identities[self.event]

    @property
    def session(self) -> tuple[str, int]:
        """Name and number of the session its rows name."""
        return self.side.sessions[self.side.columns.context_of[self._row]]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What bears on which of two copies wins, but for session, prices and counters."""
        return self.side.form.kind(self._context)

    @property
    def told(self) -> tuple[Any, ...]:
        """What its price follows from."""
        return self.side.form.priced(self._context)[1:], self.counters

    @property
    def counters(self) -> list[int]:
        """In the order of ``contracts.record.Counters``."""
        return self.side.form.total([self.side.columns.values[self._row]])

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
    def rank(self) -> tuple[int, int, int, bytes]:
        """The least wins among copies of one kind (``clients.copies.rank``)."""
        row, counters, columns = self._row, self.counters, self.side.columns
        at = microseconds(columns.times[row])
        return -counters[1], -sum(counters[:6]), at, columns.hashes[32 * row : 32 * row + 32]

    def owner(self) -> tuple[str, str | None]:
        """Name of the session that owns it by its place in the file, and the rule if it was copied there."""
        runs = self.side.facts.runs
        return owner_at(runs, self.side.columns.ordinals[self._row]) if runs else (self.session[0], None)

    def cell(self, at_us: int) -> tuple[PricedContext, Cell]:
        """What it adds to the sums if it was at this time."""
        return cell_of(self.side.form, self.side.columns, self.event, at_us)

    @property
    def _row(self) -> int:
        return self.side.columns.winners[self.event]

    @property
    def _context(self) -> Context:
        return self.side.columns.contexts[self.side.columns.context_of[self._row]]
