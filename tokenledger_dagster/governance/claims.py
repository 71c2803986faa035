"""Published totals against the same totals by an independent path: pandas over the exported events.

Here: the list of these claims, and comparing tables.  Not here: recomputing (``governance.recomputed``), which events
the tables stand on (``governance.claims_basis``), documents (``governance.claims_documents``), and how an orchestrator
runs them (``checks``).

No claim holds back a run: by the time it can be made, everything is published.  A claim that fails fails its own run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.contracts.tables import TABLES, USAGE_TABLES
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.warehouse import is_published
from tokenledger_dagster.governance import claims_documents
from tokenledger_dagster.governance.claims_basis import Basis, BasisError, basis, state
from tokenledger_dagster.governance.claims_compare import COUNTED, Figures, differences
from tokenledger_dagster.governance.invariants import judge
from tokenledger_dagster.governance.outcome import CheckOutcome, Finding, Inspection, Invariant
from tokenledger_dagster.governance.sqlfiles import statement

if TYPE_CHECKING:
    import duckdb

_ALSO = {
    "usage_daily": ("timezone",),
    "usage_weekly": ("week_start", "timezone"),
    "usage_monthly": ("timezone",),
    "usage_sessions": ("project",),
    "usage_blocks": ("block_end",),
}
"""Columns that say no more than the key, and are told by the same derivation."""
_COUNTERS = (*COUNTED[:6], *COUNTED[7:10])
_EVENT_KEYS = ("client", "provider", "maker", "model", "session_id", "project")
_EVENT_FIGURES = (*COUNTED[:10], "list_price_usd", "unpriced_count", "event_count", "first_time", "last_time")


def inspect_claim(name: str, look: Inspection) -> CheckOutcome:
    """Checks one claim.  Raises KeyError: no such claim."""
    return judge(CLAIMS[name], look)


# -------------------------------------------------------------------- tables


def _based(compare: Callable[[Inspection, Basis], Finding]) -> Callable[[Inspection], Finding]:
    """A comparison that fails where there is nothing to compare with."""

    def run(look: Inspection) -> Finding:
        import duckdb

        try:
            return compare(look, basis(look))
        except BasisError as error:
            return Finding(passed=False, message=str(error), actual=1, expected=0)
        except duckdb.Error as error:
            told = str(error).strip().splitlines()[0]
            message = f"A table cannot be read ({told}). Delete {look.home.tables} and run `tokenledger orchestrate`."
            return Finding(passed=False, message=message, actual=1, expected=0)

    return run


def _events(look: Inspection, found: Basis) -> Finding:
    """Single events: as the lake holds them, and as the tables do."""
    expected = found.totals.by(_EVENT_KEYS, found.zone)
    paths = {name: f"read_parquet({literal(look.path(table))})" for name, table in _EVENT_TABLES.items()}
    relations = {"events": statement("booked_in_tables", **paths)}
    if found.is_current:
        relations["lake"] = statement("booked_in_lake")
    rows = []
    for place, relation in relations.items():
        sums = ", ".join(f"sum({name}) AS {name}" for name in _COUNTERS)
        published = _keyed(look.query(statement("event_sums", counters=sums, relation=relation)), _EVENT_KEYS)
        rows += differences(published, expected, _EVENT_KEYS, _EVENT_FIGURES, place=place)
    told = "as the lake holds them"
    if not found.is_current:
        told = "as they were published; lake or program have moved on since"
    return _finding(look.home.tables, "events", rows, f"{_count(found)} {told}.")


_EVENT_TABLES = {"events": "events", "costs": "event_costs"}


def _usage(table: str) -> Callable[[Inspection, Basis], Finding]:
    def compare(look: Inspection, found: Basis) -> Finding:
        cursor = look.con.cursor()
        try:
            rows = _compared(cursor, table, f"read_parquet({literal(look.path(table))})", found)
        finally:
            cursor.close()
        return _finding(look.home.tables, table, rows, f"{_count(found)}, summed once more in pandas, to the nano-USD.")

    return compare


def _compared(con: duckdb.DuckDBPyConnection, table: str, relation: str, found: Basis) -> list[dict[str, Any]]:
    """Rows of a usage table that are not what the events sum to."""
    keys = (*TABLES[table].key, *_ALSO.get(table, ()))
    figures = [name for name in Figures if name in TABLES[table].column_names]
    con.execute(f"SELECT {', '.join((*keys, *figures))} FROM {relation}")
    columns = [column[0] for column in con.description or ()]
    published = _keyed((dict(zip(columns, row, strict=True)) for row in con.fetchall()), keys)
    return differences(published, found.totals.by(keys, found.zone), keys, figures, place=table)


def _keyed(rows: Iterable[dict[str, Any]], keys: Sequence[str]) -> Mapping[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[key] for key in keys): {name: _plain(value) for name, value in row.items()} for row in rows}


def _plain(value: Any) -> Any:
    """Money as whole nano-USD."""
    return int(value.scaleb(9)) if isinstance(value, Decimal) else value


def _warehouse(look: Inspection, found: Basis) -> Finding:
    """The published database's own copies of the tables."""
    import duckdb

    path = look.home.duckdb_path
    if not path.exists():
        return Finding(
            passed=False, message=f"{path} is not there. Run `tokenledger orchestrate`.", actual=1, expected=0
        )
    if not is_published(look.home):
        message = "Tables were built since the database was published. Run `tokenledger orchestrate`."
        return Finding(passed=True, skipped=True, message=message)
    rows = []
    with duckdb.connect() as con:
        try:
            con.execute(f"ATTACH {literal(path)} AS published (READ_ONLY)")
            for table in USAGE_TABLES:
                rows += _compared(con, table, f'published."{table}"', found)
            rows += _published_events(con, found)
        except duckdb.Error as error:
            message = f"{path} cannot be read ({str(error).splitlines()[0]}). Delete it and run again."
            return Finding(passed=False, message=message, actual=1, expected=0)
    return _finding(path, path.name, rows, f"all {len(USAGE_TABLES)} usage tables and {_count(found)}.")


def _published_events(con: duckdb.DuckDBPyConnection, found: Basis) -> list[dict[str, Any]]:
    relation = statement("booked_in_tables", events="published.events", costs="published.event_costs")
    sums = ", ".join(f"sum({name}) AS {name}" for name in _COUNTERS)
    con.execute(statement("event_sums", counters=sums, relation=relation))
    columns = [column[0] for column in con.description or ()]
    published = _keyed((dict(zip(columns, row, strict=True)) for row in con.fetchall()), _EVENT_KEYS)
    expected = found.totals.by(_EVENT_KEYS, found.zone)
    return differences(published, expected, _EVENT_KEYS, _EVENT_FIGURES, place="events")


def _count(found: Basis) -> str:
    whole = found.totals.by((), found.zone)
    return f"{whole[()]['event_count'] if whole else 0:,} events"


def _finding(made: Path, what: str, rows: list[dict[str, Any]], agreed: str) -> Finding:
    """``made`` is what has to be made anew where rows differ."""
    if not rows:
        return Finding(passed=True, message=f"{what} equals {agreed}", actual=0, expected=0)
    first = rows[0]
    where = ", ".join(f"{name} {_shown(value)}" for name, value in first.items() if name not in _TOLD)
    message = (
        f"{len(rows)} figures of {what} are not what the events sum to, first {first['figure']} ({where}): "
        f"{_shown(first['published'])} instead of {_shown(first['recomputed'])}. Somebody is told wrong figures. "
        f"Delete {made} and run `tokenledger orchestrate`; if it comes back, a query is wrong."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


_TOLD = ("figure", "published", "recomputed", "delta")


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else "nothing" if value is None else str(value)


# -------------------------------------------------------------------- the list


def _published_state(look: Inspection) -> str:
    try:
        found = look.home.duckdb_path.stat()
        return f"{state(look)} {found.st_size} {found.st_mtime_ns} {is_published(look.home)}"
    except OSError:
        return f"{state(look)} absent"


_WHY = "else somebody is told wrong totals."
_CLAIMS = (
    Invariant(
        name="recomputed_events",
        table="events",
        run=_based(_events),
        state=state,
        reads=("events", "event_costs", "usage_daily"),
        description=f"Exported events sum to what lake and tables hold; {_WHY}",
        blocking=False,
    ),
    *(
        Invariant(
            name=f"recomputed_{table}",
            table=table,
            run=_based(_usage(table)),
            state=state,
            reads=tuple(dict.fromkeys(("events", "event_costs", "usage_daily", table))),
            description=f"Every row of {table} is what pandas makes of the exported events; {_WHY}",
            blocking=False,
        )
        for table in USAGE_TABLES
    ),
    Invariant(
        name="recomputed_warehouse",
        table="warehouse",
        run=_based(_warehouse),
        state=_published_state,
        reads=("events", "event_costs", *USAGE_TABLES),
        description=f"The published database holds what pandas makes of the exported events; {_WHY}",
        blocking=False,
    ),
    Invariant(
        name="recomputed_ui_snapshot",
        table="ui_snapshot",
        run=_based(claims_documents.ui_snapshot),
        state=claims_documents.state,
        reads=("events", "event_costs", "usage_daily"),
        description=f"Every figure of the UI snapshot is what pandas makes of its month; {_WHY}",
        blocking=False,
    ),
    Invariant(
        name="recomputed_pipeline_summary",
        table="pipeline_summary",
        run=_based(claims_documents.pipeline_summary),
        state=claims_documents.state,
        reads=("events", "event_costs", "usage_daily", "usage_monthly"),
        description=f"The last run's costs of the month are what pandas makes of its events; {_WHY}",
        blocking=False,
    ),
)

CLAIMS: dict[str, Invariant] = {claim.name: claim for claim in _CLAIMS}
"""Every claim by name."""
