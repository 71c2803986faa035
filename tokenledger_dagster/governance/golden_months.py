"""The closed months of a ledger: their figures, locked, and what differs from them today.

Here: which months are closed, their sums and digests from the tables `events` and `event_costs`, the lock and its
record of events, locking and verifying. Not here: comparing sums (`governance.golden`), why single events differ
(`governance.golden_causes`).

The record is one Parquet file a month, named by its content, written before the lock that names it: a write that is cut
off leaves the old lock whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.contracts.golden import (
    Basis,
    ClosedMonths,
    EventsFile,
    GoldenReport,
    LockedMonth,
    Scenario,
)
from tokenledger_dagster.exports.costs import month_labels
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.fileio import staged, write_json_atomic
from tokenledger_dagster.governance.golden import (
    EDITED,
    NOTHING,
    compare,
    count_figures,
    is_sealed,
    lock_path,
    read_closed,
    seal_of,
    stamp,
)
from tokenledger_dagster.governance.golden_causes import Site, changed_month
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.accepted import KEY as ACCEPTED
from tokenledger_dagster.ingest.manifest import connect, get_meta
from tokenledger_dagster.usage.effective import declared_key

if TYPE_CHECKING:
    import duckdb

_HASHES = 1 << 128


class MonthFigures(msgspec.Struct, frozen=True):
    """One month as it is."""

    event_count: int
    digest: str
    rows: Scenario
    """Sums by ``client/provider/model``."""


def build_tables(home: Home, con: duckdb.DuckDBPyConnection, zone: str) -> None:
    """Bring the tables up to date that closed months are read from."""
    build("event_costs", con, home, zone)


def open_from(today: date, closes_after_days: int) -> date:
    """Return the first day of the first UTC month that is not closed: a month closes some days after its end."""
    return (today - timedelta(days=closes_after_days)).replace(day=1)


def month_figures(home: Home, con: duckdb.DuckDBPyConnection, before: date) -> dict[str, MonthFigures]:
    """Return the figures of every UTC month before a day, from the tables as they lie there."""
    query = statement("golden_month_sums", **_tables(home), until=_day(before))
    cursor = con.cursor()
    try:
        cursor.execute(query)
        names = [column[0] for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        cursor.close()
    months: dict[str, list[dict[str, object]]] = {}
    for row in found:
        months.setdefault(str(row.pop("month")), []).append(row)
    return {month: _figures(rows) for month, rows in months.items()}


def _figures(rows: list[dict[str, object]]) -> MonthFigures:
    low = high = count = 0
    sums: Scenario = {}
    for row in rows:
        low += _number(row.pop("low_hashes"))
        high += _number(row.pop("high_hashes"))
        key = "/".join(str(row.pop(name)) for name in ("client", "provider", "model"))
        count += _number(row["event_count"])
        sums[key] = {
            name: value if isinstance(value, Decimal | None) else _number(value) for name, value in row.items()
        }
    digest = hashlib.blake2b(f"{count} {low % _HASHES} {high % _HASHES}".encode(), digest_size=16)
    return MonthFigures(count, digest.hexdigest(), sums)


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


# -------------------------------------------------------------------- locking and verifying


def verify_closed(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    now: datetime,
    *,
    epsilon: Decimal = NOTHING,
    closes_after_days: int | None = None,
) -> GoldenReport:
    """Return how the locked months differ from what the tables say now.

    Args:
        home: the ledger's home; its tables are up to date.
        con: an in-memory DuckDB connection; the lake is attached to it where single events have to be told.
        now: the time of the report, and by which months are closed.
        epsilon: USD by which sums of money may differ.
        closes_after_days: days after its end from which a month is closed; None = as it was when the lock was written.

    Raises:
        GoldenError: the lock cannot be read.
    """
    locked = read_closed(lock_path(home))
    days = closes_after_days if closes_after_days is not None else locked.closes_after_days if locked else 0
    return _verified(home, con, locked, open_from(now.astimezone(UTC).date(), days), now, epsilon).report


def lock_closed(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    now: datetime,
    closes_after_days: int,
    *,
    accept_changes: bool,
    months: Iterable[str] = (),
) -> GoldenReport:
    """Lock every closed month that is not locked; one that is locked and changed, only where that is accepted.

    Nothing is written where something changed that is not accepted. A lock that says the same already is left as it is.

    Args:
        home: the ledger's home; its tables are up to date.
        con: an in-memory DuckDB connection.
        now: the time of the lock, and by which months are closed.
        closes_after_days: days after its end from which a month is closed.
        accept_changes: whether months that changed are locked anew.
        months: only these, YYYY-MM; empty = all.

    Raises:
        GoldenError: the lock cannot be read.
    """
    locked = read_closed(lock_path(home))
    opens = open_from(now.astimezone(UTC).date(), closes_after_days)
    found = _verified(home, con, locked, opens, now, NOTHING)
    report, wanted = found.report, set(months)
    fresh = {month for month in [*found.stale, *report.unlocked_months] if not wanted or month in wanted}
    # what is kept of an edited lock would get a good seal
    is_laundered = found.is_edited and not found.stale <= fresh
    if not fresh or is_laundered or (found.stale & fresh and not accept_changes):
        return report
    kept = {} if locked is None else {name: one for name, one in locked.months.items() if name not in fresh}
    made = {name: _lock(home, con, name, found.figures[name], now) for name in fresh if name in found.figures}
    all_months = dict(sorted({**kept, **made}.items()))
    lock = ClosedMonths(
        generated_at=stamp(now), closes_after_days=closes_after_days, seal=seal_of(all_months), months=all_months
    )
    write_json_atomic(lock_path(home), lock)
    _sweep(home, lock)
    return msgspec.structs.replace(
        report,
        locked=sorted(fresh),
        passed=found.stale <= fresh,
        unlocked_months=[month for month in report.unlocked_months if month not in fresh],
    )


class _Found(NamedTuple):
    report: GoldenReport
    figures: dict[str, MonthFigures]
    stale: set[str]
    """Locked months that are not what they were, or whose lock is not."""
    is_edited: bool
    """Whether somebody edited the lock."""


def _verified(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    locked: ClosedMonths | None,
    opens: date,
    now: datetime,
    epsilon: Decimal,
) -> _Found:
    months: Mapping[str, LockedMonth] = {} if locked is None else locked.months
    figures = month_figures(home, con, max([opens, *(_end(month) for month in months)]))
    expected = {name: one.rows for name, one in months.items()}
    differences = compare(expected, {name: figures[name].rows for name in months if name in figures}, epsilon)
    damaged = {name: told for name, one in months.items() if (told := _damage(home, one.events))}
    different = {one.scenario for one in differences}
    changed = [
        changed_month(
            Site(home, con, None if name in damaged else _file(home, one.events), _present(home, name)),
            name,
            one,
            _basis(home, name),
            has_other_events=name not in figures or figures[name].digest != one.digest,
        )
        for name, one in months.items()
        if name in different or name not in figures or figures[name].digest != one.digest
    ]
    is_edited = locked is not None and not is_sealed(locked)
    problems = [*([f"{lock_path(home)}: {EDITED}"] if is_edited else []), *damaged.values()]
    report = GoldenReport(
        generated_at=stamp(now),
        kind="closed_months",
        golden=str(lock_path(home)),
        passed=not problems and not changed,
        epsilon_usd=epsilon,
        compared=count_figures(expected),
        problems=problems,
        differences=differences,
        months=changed,
        unlocked_months=[name for name in figures if name not in months and _first(name) < opens],
    )
    stale = set(months) if is_edited else {one.month for one in changed} | damaged.keys()
    return _Found(report, figures, stale, is_edited)


def _lock(home: Home, con: duckdb.DuckDBPyConnection, month: str, figures: MonthFigures, now: datetime) -> LockedMonth:
    name = f"{month}-{figures.digest[:12]}.parquet"
    path = home.golden / "closed" / name
    cursor = con.cursor()
    try:
        with staged(path) as temporary:
            query = f"{_present(home, month)} ORDER BY event_id"
            cursor.execute(f"COPY ({query}) TO {literal(temporary)} (FORMAT parquet, COMPRESSION zstd)")
    finally:
        cursor.close()
    content = path.read_bytes()
    return LockedMonth(
        locked_at=stamp(now),
        event_count=figures.event_count,
        digest=figures.digest,
        rows=figures.rows,
        basis=_basis(home, month),
        events=EventsFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
    )


def _basis(home: Home, month: str) -> Basis:
    with closing(connect(home, read_only=True)) as manifest:
        booking, _, overrides = (get_meta(manifest, "booking_key") or "").partition(" ")
        plans = declared_key(manifest, str(home.root))
        (last,) = manifest.execute("SELECT coalesce(max(last_rid), 0) FROM segments").fetchone()
        prices = month_labels(manifest).get(month) or get_meta(manifest, ACCEPTED) or ""
    return Basis(
        booking=booking,
        overrides=overrides,
        prices=prices,
        plans=hashlib.blake2b(plans.encode(), digest_size=8).hexdigest() if plans else "",
        program=__version__,
        last_record=last,
    )


def _damage(home: Home, file: EventsFile) -> str:
    """What is wrong with a month's record of events; empty where it is as it was written."""
    path = _file(home, file)
    told = "; which events changed cannot be told until the month is locked anew"
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
            return ""
    except OSError as error:
        return f"{path}: {error.strerror or error}{told}"
    return f"{path}: its bytes are not those that were written{told}"


def _sweep(home: Home, lock: ClosedMonths) -> None:
    """Removes records that no lock names any more."""
    named = {one.events.name for one in lock.months.values()}
    for path in (home.golden / "closed").glob("*.parquet"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def _file(home: Home, file: EventsFile) -> Path:
    # the name comes from a file that anybody may have edited
    return home.golden / "closed" / Path(file.name).name


def _present(home: Home, month: str) -> str:
    """The query of a month's events as they are."""
    return statement("golden_month_events", **_tables(home), since=_day(_first(month)), until=_day(_end(month)))


def _tables(home: Home) -> dict[str, str]:
    return {"events": literal(table_path(home, "events")), "costs": literal(table_path(home, "event_costs"))}


def _day(day: date) -> str:
    return f"TIMESTAMP '{day.isoformat()}'"


def _first(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _end(month: str) -> date:
    """First day of the next month."""
    return (_first(month) + timedelta(days=31)).replace(day=1)
