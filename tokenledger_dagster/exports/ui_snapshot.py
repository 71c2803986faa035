"""The UI snapshot from the manifest's cells.

Here: a month's figures by provider, model and client, and writing them.  Not here: the shape (``contracts.snapshot``).
Standard library and msgspec only: ``tokenledger snapshot`` has 50 ms of processor time, start-up included.
"""

from __future__ import annotations

import sqlite3
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.snapshot import Snapshot, SnapshotMode, SnapshotRow, SnapshotTotals
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import get_meta
from tokenledger_dagster.ingest.zones import Zone

COMPACT_ROWS = 5

_EPOCH = date(1970, 1, 1)
_NANO = Decimal("0.000000001")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_SQL = Path(__file__).parent / "sql"

Row = tuple[str, str, int, int, int, int]
"""Client, model, session number, tokens, list price in nano-USD, unpriced requests."""


class _Sum(msgspec.Struct):
    """Figures of one name."""

    tokens: int = 0
    nano: int = 0
    unpriced: int = 0
    sessions: set[int] = msgspec.field(default_factory=set)

    def add(self, row: Row) -> None:
        self.sessions.add(row[2])
        self.tokens += row[3]
        self.nano += row[4]
        self.unpriced += row[5]


def make_snapshot(
    connection: sqlite3.Connection,
    mode: SnapshotMode = "compact",
    zone: str | None = None,
    month: str | None = None,
    top_n: int = COMPACT_ROWS,
    now: datetime | None = None,
    suggestions: Sequence[str] = (),
) -> Snapshot:
    """The snapshot of one month.

    Args:
        connection: the manifest.
        mode: ``compact`` keeps the first ``top_n`` rows of each list, ``extended`` all.
        zone: IANA name; None is the zone the cells are cut in, any other one is answered from the events themselves.
        month: YYYY-MM in that zone; None is the month of the latest booked event, or the current one before the first.
        top_n: rows of a compact list.
        now: time of the snapshot; None is the clock's.
        suggestions: tips to pass on.

    Returns:
        The snapshot, all zeros where the month has no events.

    Raises:
        UsageError: no such zone, or ``month`` is no month.
    """
    own = get_meta(connection, "zone") or "UTC"
    place = Zone(zone or own)
    now = (now or datetime.now(UTC)).astimezone(UTC)
    from_cells = place.name == own
    chosen = month or _latest_month(connection, place, from_cells) or _month_of(_local_day(place, now))
    first, last = _days(chosen)
    rows = _from_cells(connection, first, last) if from_cells else _from_events(connection, place, first, last)
    return _assemble(rows, mode, place.name, chosen, top_n, now, suggestions)


def write_snapshot(home: Home, snapshot: Snapshot, path: Path | None = None) -> Path:
    """Writes the snapshot to ``path``, else to its place in the home, whole or not at all; returns where.

    The path of the latest reconcile summary is put in where there is one.
    """
    if home.reconcile_summary_path.exists():
        found = str(home.reconcile_summary_path)
        snapshot = msgspec.structs.replace(snapshot, reconcile_latest_summary_path=found)
    target = path or home.ui_snapshot_path
    write_json_atomic(target, snapshot)
    return target


def _assemble(
    rows: Iterable[Row],
    mode: SnapshotMode,
    zone: str,
    month: str,
    top_n: int,
    now: datetime,
    suggestions: Sequence[str],
) -> Snapshot:
    known = clients()
    total = _Sum()
    providers: dict[str, _Sum] = {}
    models: dict[str, _Sum] = {}
    by_client: dict[str, _Sum] = {}
    for row in rows:
        total.add(row)
        by_client.setdefault(row[0], _Sum()).add(row)
        models.setdefault(row[1], _Sum()).add(row)
        provider = known[row[0]].provider if row[0] in known else row[0]
        providers.setdefault(provider, _Sum()).add(row)
    limit = top_n if mode == "compact" else None
    cost = _usd(total.nano)
    return Snapshot(
        generated_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        month=month,
        mode=mode,
        totals=SnapshotTotals(
            cost_usd=cost,
            tokens=total.tokens,
            blended_usd_per_mtok=_blended(cost, total.tokens),
            session_count=len(total.sessions),
            skipped_unpriced_count=total.unpriced,
            list_price_usd=cost,
        ),
        top_providers=_ranked(providers)[:limit],
        top_models=_ranked(models)[:limit],
        suggestions=list(suggestions),
        timezone=zone,
        top_clients=_ranked(by_client)[:limit],
    )


def _ranked(sums: dict[str, _Sum]) -> list[SnapshotRow]:
    rows = []
    for name, found in sorted(sums.items(), key=lambda item: (-item[1].tokens, item[0])):
        cost = _usd(found.nano)
        rows.append(
            SnapshotRow(
                name=name,
                tokens=found.tokens,
                total_cost_usd=cost,
                blended_usd_per_mtok=_blended(cost, found.tokens),
                session_count=len(found.sessions),
                list_price_usd=cost,
            )
        )
    return rows


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9, _EXACT)


def _blended(cost: Decimal, tokens: int) -> Decimal:
    """USD per million tokens, nine places."""
    return (_EXACT.divide(cost * 1_000_000, Decimal(tokens))).quantize(_NANO, context=_EXACT) if tokens else Decimal(0)


# -------------------------------------------------------------------- rows of a month


def _from_cells(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Row]:
    return connection.execute((_SQL / "snapshot_cells.sql").read_text("utf-8"), (first, last))


def _from_events(connection: sqlite3.Connection, zone: Zone, first: int, last: int) -> Iterator[Row]:
    # no zone is further than a day from UTC; which day an event falls on is decided by the zone itself
    day_us = 86_400_000_000
    query = (_SQL / "snapshot_events.sql").read_text("utf-8")
    for at, *row in connection.execute(query, ((first - 1) * day_us, (last + 2) * day_us)):
        if first <= zone.day(at) <= last:
            client, model, session, tokens, nano, unpriced = row
            yield client, model, session, tokens, nano, unpriced


# -------------------------------------------------------------------- months


def _latest_month(connection: sqlite3.Connection, zone: Zone, from_cells: bool) -> str | None:
    if from_cells:
        (day,) = connection.execute("SELECT max(day) FROM cells").fetchone()
    else:
        (at,) = connection.execute("SELECT max(timestamp_us) FROM events").fetchone()
        day = None if at is None else zone.day(at)
    return None if day is None else _month_of(day)


def _local_day(zone: Zone, now: datetime) -> int:
    return zone.day(int(now.timestamp() * 1_000_000))


def _month_of(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()[:7]


def _days(month: str) -> tuple[int, int]:
    """First and last day of a month, days since 1970."""
    try:
        start = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise UsageError(f"--month {month}: no such month; write YYYY-MM") from error
    last = monthrange(start.year, start.month)[1]
    return (start - _EPOCH).days, (start - _EPOCH).days + last - 1
