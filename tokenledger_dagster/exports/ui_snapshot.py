"""The UI snapshot from the manifest's cells.

Here: a month's figures by provider, model and client, and writing them.  Not here: the shape (``contracts.snapshot``).
Light: ``tokenledger snapshot`` has 50 ms of processor time, start-up included, so the document is plain dicts and
``contracts.snapshot`` has the types for those who can afford their import.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

from tokenledger_dagster import home_files
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.plainjson import encode_plain
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.selection import day_number, month_days

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tokenledger_dagster.contracts.snapshot import Snapshot, SnapshotMode
    from tokenledger_dagster.home import Home
    from tokenledger_dagster.ingest.zones import Zone
    from tokenledger_dagster.usage.effective import Effective
    from tokenledger_dagster.usage.selection import AtomCosts

    Document = dict[str, Any]
    Row = tuple[str, str, str, int, int, int, int, int, int]
    """Client, model, provider, session number, tokens, list price in nano-USD, unpriced requests, tokens that are
    estimates, effective cost in nano-USD."""

SNAPSHOT_SCHEMA_VERSION = 1
COMPACT_ROWS = 5

_EPOCH = date(1970, 1, 1)
_SLOTS_A_DAY = 86_400_000_000 // SLOT_US
_NANO = Decimal("0.000000001")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_SQL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sql")


class _Sum:
    """Figures of one name."""

    __slots__ = ("cost", "estimated", "nano", "sessions", "tokens", "unpriced")

    def __init__(self) -> None:
        self.tokens = 0
        self.nano = 0
        self.cost = 0
        self.unpriced = 0
        self.estimated = 0
        self.sessions: set[int] = set()

    def add(self, row: Row) -> None:
        self.sessions.add(row[3])
        self.tokens += row[4]
        self.nano += row[5]
        self.unpriced += row[6]
        self.estimated += row[7]
        self.cost += row[8]


def snapshot_document(
    connection: sqlite3.Connection,
    mode: SnapshotMode = "compact",
    zone: str | None = None,
    month: str | None = None,
    top_n: int = COMPACT_ROWS,
    now: datetime | None = None,
    suggestions: Sequence[str] = (),
    plans: Effective | None = None,
) -> Document:
    """The snapshot of one month as plain values in the shape and order of ``contracts.snapshot``.

    Args:
        connection: the manifest.
        mode: ``compact`` keeps the first ``top_n`` rows of each list, ``extended`` all.
        zone: IANA name; None is the zone the cells are cut in, any other one is answered from the quarter hours.
        month: YYYY-MM in that zone; None is the month of the latest booked event, or the current one before the first.
        top_n: rows of a compact list.
        now: time of the snapshot; None is the clock's.
        suggestions: tips to pass on.
        plans: effective costs where something is declared.

    Returns:
        The snapshot, all zeros where the month has no events.

    Raises:
        UsageError: no such zone, or ``month`` is no month.
    """
    own = get_meta(connection, "zone") or "UTC"
    name = zone or own
    now = (now or datetime.now(UTC)).astimezone(UTC)
    # only what the cells do not answer needs the zone itself
    place = None if name == own and plans is None else _zone(name)
    chosen = month or _latest_month(connection, place) or _month_of(_local_day(_zone(name), now))
    first, last = _days(chosen)
    if place is None:
        return _assemble(_from_cells(connection, first, last), mode, name, chosen, top_n, now, suggestions)
    costs = None if plans is None else plans.costs
    rows = _from_slots(connection, place, first, last, costs)
    idle = {} if plans is None else plans.idle_by_provider(first, last)
    return _assemble(rows, mode, name, chosen, top_n, now, suggestions, idle)


def make_snapshot(
    connection: sqlite3.Connection,
    mode: SnapshotMode = "compact",
    zone: str | None = None,
    month: str | None = None,
    top_n: int = COMPACT_ROWS,
    now: datetime | None = None,
    suggestions: Sequence[str] = (),
    plans: Effective | None = None,
) -> Snapshot:
    """``snapshot_document`` as the contract's type."""
    import msgspec

    from tokenledger_dagster.contracts.snapshot import Snapshot

    document = snapshot_document(connection, mode, zone, month, top_n, now, suggestions, plans)
    return msgspec.convert(document, Snapshot)


def write_snapshot(home: Home, snapshot: Snapshot, path: Path | None = None) -> Path:
    """Writes the snapshot to ``path``, else to its place in the home, whole or not at all; returns where.

    The path of the latest reconcile summary is put in where there is one.
    """
    import msgspec

    target = path or home.ui_snapshot_path
    document = msgspec.to_builtins(snapshot, builtin_types=(Decimal,))
    write_document(str(home.root), document, os.fspath(target))
    return target


def write_document(home: str, document: Document, path: str | None = None) -> None:
    """``write_snapshot`` of plain values."""
    reconciled = f"{home}/{home_files.RECONCILE_SUMMARY}"
    if os.path.exists(reconciled):
        places = list(document)
        before = places[: places.index("timezone")]
        after = {name: document[name] for name in places if name not in before}
        document = {**{name: document[name] for name in before}, "reconcile_latest_summary_path": reconciled, **after}
    write_atomic(path or f"{home}/{home_files.UI_SNAPSHOT}", encode_plain(document))


def _assemble(
    rows: Iterable[Row],
    mode: SnapshotMode,
    zone: str,
    month: str,
    top_n: int,
    now: datetime,
    suggestions: Sequence[str],
    idle: Mapping[str, int] | None = None,
) -> Document:
    """``idle``: nano-USD of fees that no request carries, by provider."""
    total = _Sum()
    providers: dict[str, _Sum] = {}
    models: dict[str, _Sum] = {}
    by_client: dict[str, _Sum] = {}
    for row in rows:
        total.add(row)
        by_client.setdefault(row[0], _Sum()).add(row)
        models.setdefault(row[1], _Sum()).add(row)
        providers.setdefault(row[2], _Sum()).add(row)
    for name, nano in (idle or {}).items():
        total.cost += nano
        providers.setdefault(name, _Sum()).cost += nano
    limit = top_n if mode == "compact" else None
    cost = _usd(total.cost)
    return {
        "schema_version": SNAPSHOT_SCHEMA_VERSION,
        "generated_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "month": month,
        "mode": mode,
        "totals": {
            "cost_usd": cost,
            "tokens": total.tokens,
            "blended_usd_per_mtok": _blended(cost, total.tokens),
            "session_count": len(total.sessions),
            "skipped_unpriced_count": total.unpriced,
            "list_price_usd": _usd(total.nano),
            "estimated_tokens": total.estimated,
            "idle_subscription_usd": _usd(sum((idle or {}).values())),
        },
        "top_providers": _ranked(providers)[:limit],
        "top_models": _ranked(models)[:limit],
        "suggestions": list(suggestions),
        "timezone": zone,
        "top_clients": _ranked(by_client)[:limit],
    }


def _ranked(sums: dict[str, _Sum]) -> list[Document]:
    rows = []
    for name, found in sorted(sums.items(), key=lambda item: (-item[1].tokens, item[0])):
        cost = _usd(found.cost)
        rows.append(
            {
                "name": name,
                "tokens": found.tokens,
                "total_cost_usd": cost,
                "blended_usd_per_mtok": _blended(cost, found.tokens),
                "session_count": len(found.sessions),
                "list_price_usd": _usd(found.nano),
            }
        )
    return rows


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9, _EXACT)


def _blended(cost: Decimal, tokens: int) -> Decimal:
    """USD per million tokens, nine places."""
    return (_EXACT.divide(cost * 1_000_000, Decimal(tokens))).quantize(_NANO, context=_EXACT) if tokens else Decimal(0)


# -------------------------------------------------------------------- rows of a month


def _from_cells(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Row]:
    return connection.execute(_query("snapshot_cells.sql"), (first, last))


def _from_slots(
    connection: sqlite3.Connection, zone: Zone, first: int, last: int, costs: AtomCosts | None
) -> Iterator[Row]:
    # no zone is further than a day from UTC; which day a quarter hour falls on is decided by the zone itself
    query = _query("snapshot_slots.sql")
    bounds = ((first - 1) * _SLOTS_A_DAY, (last + 2) * _SLOTS_A_DAY)
    for slot, model_no, is_estimated, *row in connection.execute(query, bounds):
        if first <= zone.day(slot * SLOT_US) <= last:
            client, model, provider, session, tokens, nano, unpriced, estimated = row
            cost = nano
            if costs is not None:
                found = costs[slot, session, model_no, is_estimated]
                cost = found.variable_nano + found.allocated_nano
            yield client, model, provider, session, tokens, nano, unpriced, estimated, cost


def _query(name: str) -> str:
    with open(os.path.join(_SQL, name), encoding="utf-8") as handle:
        return handle.read()


# -------------------------------------------------------------------- months


def _zone(name: str) -> Zone:
    from tokenledger_dagster.ingest.zones import Zone

    return Zone(name)


def _latest_month(connection: sqlite3.Connection, zone: Zone | None) -> str | None:
    if zone is None:
        (day,) = connection.execute("SELECT max(day) FROM cells").fetchone()
    else:
        (slot,) = connection.execute("SELECT max(slot) FROM slots").fetchone()
        day = None if slot is None else zone.day(slot * SLOT_US)
    return None if day is None else _month_of(day)


def _local_day(zone: Zone, now: datetime) -> int:
    return zone.day(int(now.timestamp() * 1_000_000))


def _month_of(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()[:7]


def _days(month: str) -> tuple[int, int]:
    """First and last day of a month, days since 1970."""
    first, last = month_days(month)
    return day_number(first, "--month"), day_number(last, "--month")
