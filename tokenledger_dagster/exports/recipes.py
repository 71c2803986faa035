"""How each table is made: what it stands on, and the query that yields its rows.

Here: the few steps that SQL cannot do by itself, around the SQL files beside this module.  Not here: whether a table
has to be built at all (``exports.tables``), or which columns it has (``contracts.tables``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.contracts.tables import TABLES, USAGE_TABLES
from tokenledger_dagster.exports import allocation, costs
from tokenledger_dagster.exports.blocks import block_starts
from tokenledger_dagster.exports.engine import columns_of, literal, load, sql
from tokenledger_dagster.exports.runs import past_runs, summary_paths
from tokenledger_dagster.exports.state import booked_state, events_state, source_rows
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.overridden import key_of
from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.models import artifacts
from tokenledger_dagster.pricing.rates import BOOK_COLUMNS
from tokenledger_dagster.pricing.resolve import price_events_sql
from tokenledger_dagster.pricing.snapshots import Snapshot
from tokenledger_dagster.usage.declared import is_declared
from tokenledger_dagster.usage.effective import Declared, declared, declared_key, effective

if TYPE_CHECKING:
    import duckdb

USAGE_HOURS = "usage_hours"
"""Not public: usage by local day, hour, session and model, of which every usage table is a sum."""


class Site(msgspec.Struct, frozen=True):
    """Where a table is built."""

    home: Home
    zone: str
    con: Any
    """The caller's DuckDB connection, to which the lake is attached."""
    path_of: Callable[[str], Path]
    """Parquet file of a table."""
    code: str = ""
    """Stands for the table's columns and SQL."""
    parts: dict[str, str] = {}
    """Keys of the parts of the table as it lies there; empty where it has none or must be made anew."""
    made: dict[str, str] = {}
    """Keys of its parts as the recipe makes them; filled by the recipe."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How one table is made."""

    query: Callable[[duckdb.DuckDBPyConnection, Site], str]
    """Prepares a cursor and returns the query whose rows are the table."""
    inputs: Callable[[Site], str] = lambda _: ""
    """Key of what the table depends on besides the tables it needs."""
    needs: tuple[str, ...] = ()
    sql_files: tuple[str, ...] = ()


def attach_once(con: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Attaches the lake to ``con`` unless it already holds this state of it.

    Raises:
        ManifestError: the home holds no ledger.
    """
    from tokenledger_dagster.ingest.lake import attach

    state = f"{home.root} {booked_state(home)}"
    con.execute("CREATE TABLE IF NOT EXISTS attached_lake (state VARCHAR)")
    if con.execute("SELECT state FROM attached_lake").fetchall() == [(state,)]:
        return
    attach(con, home)
    con.execute("DELETE FROM attached_lake")
    con.execute("INSERT INTO attached_lake VALUES (?)", [state])


# -------------------------------------------------------------------- one function per kind of table


def _from_lake(name: str) -> Recipe:
    def query(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
        attach_once(site.con, site.home)
        return sql(name)

    return Recipe(query=query, inputs=lambda site: events_state(site.home), sql_files=(name,))


def _event_costs_key(site: Site) -> str:
    prices = costs.prices_of(site.home)
    return f"{key_of(prices.overrides)} {prices.key} {price_events_sql()} {_due_key(site)}"


def _event_costs(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    """Only months that changed are priced; the others' rows are read back from the table."""
    events, prices = site.path_of("events"), costs.prices_of(site.home)
    plans = _declared(site, cursor, events)
    also = f"{key_of(prices.overrides)} {site.code} {_plans_key(site)}"
    today = allocation.today().isoformat()
    for month, key in costs.month_keys(cursor, events, prices, also).items():
        # fees are due by the day: a request of a day to come is carried when that day is there
        site.made[month] = f"{key} {today}" if plans is not None and month >= today[:7] else key
    changed = [month for month, key in site.made.items() if site.parts.get(month) != key]
    if not changed and site.made:
        changed = list(site.made)[-1:]  # a table is never made of its old self alone
    priced = costs.prepare(cursor, events, prices, changed)
    if plans is not None:
        priced = allocation.spread(cursor, priced, events, plans, allocation.today())
    kept = [month for month in site.made if month not in changed]
    if not kept:
        return priced
    months = ", ".join(map(literal, kept))
    return sql("unchanged_costs", costs=literal(site.path_of(costs.COSTS)), months=months, priced=priced)


def _declared(site: Site, cursor: duckdb.DuckDBPyConnection, events: Path) -> Declared | None:
    """The plans in force, None where nothing is declared."""
    with closing(connect(site.home, read_only=True)) as manifest:
        if not is_declared(manifest, str(site.home.root)):
            return None
        first_days = (
            f"SELECT provider, CAST(min(timestamp) AS DATE) FROM read_parquet({literal(events)}) GROUP BY provider"
        )
        return declared(manifest, str(site.home.root), dict(cursor.execute(first_days).fetchall()))


def _plans_key(site: Site) -> str:
    with closing(connect(site.home, read_only=True)) as manifest:
        return declared_key(manifest, str(site.home.root))


def _due_key(site: Site) -> str:
    """The plans and the day up to which their fees are due; empty where nothing is declared."""
    key = _plans_key(site)
    return f"{key} {allocation.today()}" if key else ""


def _subscriptions(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    with closing(connect(site.home, read_only=True)) as manifest:
        return allocation.subscriptions(cursor, effective(manifest, str(site.home.root)))


def _subscriptions_key(site: Site) -> str:
    """Fees become due with every day, and everything booked shares in them."""
    key = _due_key(site)
    return f"{key} {booked_state(site.home)}" if key else ""


def _usage_hours(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    """Local days are cut by the same zone data as the manifest's cells, not by DuckDB's own."""
    zone = Zone(site.zone)
    events = literal(site.path_of("events"))
    statement = f"SELECT DISTINCT epoch_us(time_bucket(INTERVAL 15 MINUTES, timestamp)) FROM read_parquet({events})"
    slots = [slot for (slot,) in cursor.execute(statement).fetchall()]
    load(cursor, "zone_slots", "slot_us BIGINT, offset_us BIGINT", [slots, [zone.offset_us(slot) for slot in slots]])
    cursor.execute(
        "CREATE OR REPLACE TEMP VIEW zone_offsets AS SELECT make_timestamp(slot_us) AS slot, offset_us FROM zone_slots"
    )
    return sql(USAGE_HOURS, events=events, costs=literal(site.path_of("event_costs")))


def _usage(name: str) -> Recipe:
    def query(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
        hours = literal(site.path_of(USAGE_HOURS))
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW usage_hours AS SELECT * FROM read_parquet({hours})")
        cursor.execute("SET VARIABLE zone = ?", [site.zone])
        if name == "usage_blocks":
            _block_hours(cursor)
        return sql(name, sums=sql("usage_sums"))

    return Recipe(query=query, inputs=lambda site: site.zone, needs=(USAGE_HOURS,), sql_files=(name, "usage_sums"))


def _block_hours(cursor: duckdb.DuckDBPyConnection) -> None:
    starts = block_starts(hour for (hour,) in cursor.execute("SELECT DISTINCT hour FROM usage_hours").fetchall())
    load(cursor, "block_hours", "hour TIMESTAMP, block_start TIMESTAMP", [list(starts), list(starts.values())])


def _prices(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    snapshot = costs.prices_of(site.home).snapshot
    load(cursor, "rate_rows", _RATE_ROWS, list(zip(*_rate_rows(snapshot), strict=True)))
    cursor.execute("SET VARIABLE price_snapshot_id = ?", [snapshot.snapshot_id])
    return sql("prices")


def _rate_rows(snapshot: Snapshot) -> Iterator[list[str | None]]:
    """Every row of every layer, text as it stands there."""
    for layer in snapshot.table.layers:
        for rows in layer.rows.values():
            for row in rows:
                padding = [""] * (len(BOOK_COLUMNS) - len(row))
                yield [layer.name, *(cell or None for cell in [*row, *padding])]


_RATE_ROWS = ", ".join(f"{name} VARCHAR" for name in ("layer", *BOOK_COLUMNS))


def _unpriced(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    return sql("unpriced", events=literal(site.path_of("events")), costs=literal(site.path_of("event_costs")))


def _sources(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    load(cursor, "source_rows", _SOURCE_ROWS, list(zip(*source_rows(site.home), strict=True)))
    return (
        "SELECT *, make_timestamp(first_seen_us) AS first_seen, make_timestamp(last_seen_us) AS last_seen "
        "FROM source_rows"
    )


def _sources_key(site: Site) -> str:
    return hashlib.blake2b(repr(source_rows(site.home)).encode(), digest_size=16).hexdigest()


_SOURCE_ROWS = (
    "source_id VARCHAR, client VARCHAR, path VARCHAR, status VARCHAR, encoding VARCHAR, size_bytes BIGINT, "
    "read_offset BIGINT, record_count BIGINT, skipped_count BIGINT, quarantined_count BIGINT, first_seen_us BIGINT, "
    "last_seen_us BIGINT"
)


def _runs(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
    load(cursor, "run_rows", _RUN_ROWS, columns_of(past_runs(site.home)))
    return "SELECT * FROM run_rows"


def _runs_key(site: Site) -> str:
    # a run's summary may be completed after it was first written
    return " ".join(f"{path.parent.name} {path.stat().st_mtime_ns}" for path in summary_paths(site.home))


_RUN_ROWS = (
    "run_id VARCHAR, generated_at TIMESTAMP, duration_ms BIGINT, month_filter VARCHAR, on_unpriced VARCHAR, "
    "records_scanned BIGINT, events_emitted BIGINT, checks_passed BIGINT, checks_failed BIGINT, checks_warned BIGINT, "
    "failed_names VARCHAR[]"
)


def _ledger_file(name: str, file_name: str) -> Recipe:
    """A table that lies below ``ledger/`` of the home as CSV; no rows where it was not made."""

    def query(cursor: duckdb.DuckDBPyConnection, site: Site) -> str:
        kinds = {column.name: column.type for column in TABLES[name].columns}
        # an empty text and nothing look alike in CSV; the contract knows which of them a column has
        texts = ", ".join(
            f"coalesce({column.name}, '') AS {column.name}"
            for column in TABLES[name].columns
            if column.type == "VARCHAR" and not column.nullable
        )
        path = site.home.ledger / file_name
        if not path.exists():
            return f"SELECT {', '.join(f'CAST(NULL AS {kind}) AS {one}' for one, kind in kinds.items())} WHERE false"
        columns = ", ".join(f"{literal(one)}: {literal(kind)}" for one, kind in kinds.items())
        return (
            f"SELECT * REPLACE ({texts}) FROM read_csv({literal(path)}, header = true, columns = {{{columns}}}, "
            "delim = ',', quote = '\"', escape = '\"', nullstr = '', auto_detect = false)"
        )

    def inputs(site: Site) -> str:
        try:
            return hashlib.blake2b((site.home.ledger / file_name).read_bytes(), digest_size=16).hexdigest()
        except FileNotFoundError:
            return ""

    return Recipe(query=query, inputs=inputs)


_PRICED = ("events", "event_costs")

RECIPES: dict[str, Recipe] = {
    "events": _from_lake("events"),
    "duplicates": _from_lake("duplicates"),
    "event_costs": Recipe(
        query=_event_costs,
        # names and channels are files that the booking key is made of
        inputs=_event_costs_key,
        needs=("events",),
        sql_files=(
            *("price_months", "price_facts", "priced_names", "price_inputs", "event_costs", "unchanged_costs"),
            *("plan_atoms", "plan_costs"),
        ),
    ),
    "subscriptions": Recipe(query=_subscriptions, inputs=_subscriptions_key, sql_files=("subscriptions",)),
    USAGE_HOURS: Recipe(query=_usage_hours, inputs=lambda site: site.zone, needs=_PRICED, sql_files=(USAGE_HOURS,)),
    **{name: _usage(name) for name in USAGE_TABLES},
    "prices": Recipe(
        query=_prices, inputs=lambda site: costs.prices_of(site.home).snapshot.snapshot_id, sql_files=("prices",)
    ),
    "unpriced": Recipe(query=_unpriced, needs=_PRICED, sql_files=("unpriced",)),
    "runtime_metrics": _ledger_file("runtime_metrics", artifacts.RUNTIME_CSV),
    "unified_model_provider_ledger": _ledger_file("unified_model_provider_ledger", artifacts.LEDGER_CSV),
    "unified_model_provider_pareto": _ledger_file("unified_model_provider_pareto", artifacts.PARETO_CSV),
    "sources": Recipe(query=_sources, inputs=_sources_key),
    "runs": Recipe(query=_runs, inputs=_runs_key),
}
"""How to make every table, those of ``contracts.tables`` and the one they share."""
