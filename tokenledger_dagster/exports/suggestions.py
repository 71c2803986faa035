"""The suggestions of a month as a document, worked out where something changed and kept in the home.

Here: bringing the requests of a month before the rules, and keeping what they say. Not here: the rules
(`usage.suggestions`, `usage.plan_suggestions`), the shape (`contracts.suggestions`), showing them.

The requests of one month are read from the published tables; a document is made anew only where these, the plans, the
rules, the program or the UTC day are not those that it was made from.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.contracts.suggestions import Suggestion, SuggestionsDocument
from tokenledger_dagster.exports.costs import prepare, prices_of
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.booked_usage import month_bounds
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.effective import declared_key, effective
from tokenledger_dagster.usage.kept_suggestions import kept_path
from tokenledger_dagster.usage.plan_suggestions import suggest_plans
from tokenledger_dagster.usage.read_suggestions import read_kept
from tokenledger_dagster.usage.selection import iso_day
from tokenledger_dagster.usage.suggestion_rules import Rule, as_key, load_rules
from tokenledger_dagster.usage.suggestions import Period, statement, statements_key, suggest

if TYPE_CHECKING:
    import sqlite3

    import duckdb

    from tokenledger_dagster.pricing.economics import PlanMonth

_EPOCH = datetime(1970, 1, 1)
_SEVERITIES = ("warning", "notice", "info")


def keep_suggestions(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    zone: str,
    month: str | None = None,
    *,
    now: datetime | None = None,
    rules: dict[str, Rule] | None = None,
    write: bool = True,
) -> SuggestionsDocument | None:
    """Return the suggestions of a month, from the home where they stand on what is there now; None without events.

    Args:
        home: the ledger's home, synced at least once.
        con: an in-memory DuckDB connection; tables that are not up to date are built with it.
        zone: IANA name of the zone that the month is cut in.
        month: YYYY-MM; None is that of the latest booked event.
        now: time of the document; None is the clock's.
        rules: None are those of `config/suggestions.yaml`.
        write: False leaves the home's file as it is, as for a zone that is not the home's.

    Raises:
        ManifestError: the home holds no ledger.
        PlansError: the plans cannot be used.
        SuggestionRulesError: the rules cannot be used.
        UsageError: no such month or zone.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    rules = load_rules() if rules is None else rules
    tables = [build(name, con, home, zone) for name in ("events", "event_costs")]
    with closing(connect(home, read_only=True)) as manifest:
        chosen = month or _latest_month(manifest, Zone(zone))
        if chosen is None:
            return None
        period = _period(chosen, zone, now)
        parts = (*(table.digest for table in tables), declared_key(manifest, str(home.root)), as_key(rules))
        state = _digest(*parts, statements_key(), prices_of(home).key, str(period), __version__)
        path = Path(kept_path(str(home.root), chosen))
        kept = read_kept(path)
        if kept is not None and kept.state == state:
            return kept
        plans = effective(manifest, str(home.root), now.date())
    document = _evaluate(home, con, period, rules, [] if plans is None else plans.months, now)
    if document is None:
        return None
    document = msgspec.structs.replace(document, state=state)
    if write:
        write_json_atomic(path, document)
    return document


def _evaluate(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    period: Period,
    rules: dict[str, Rule],
    months: list[PlanMonth],
    now: datetime,
) -> SuggestionsDocument | None:
    prices = prices_of(home)
    cursor = con.cursor()
    try:
        events, costs = (table_path(home, name) for name in ("events", "event_costs"))
        prepare(cursor, events, prices, _utc_months(period))
        since, until = (f"TIMESTAMP {literal(one.isoformat(sep=' '))}" for one in (period.since, period.until))
        paths = {"events": literal(events), "costs": literal(costs)}
        cursor.execute(statement("requests").format(since=since, until=until, **paths))
        # what the prices were prepared from is not needed any more, and a month may hold a million requests
        cursor.execute("DROP TABLE temp.events")
        found = suggest(cursor, rules, prices.snapshot.table, period)
    finally:
        cursor.close()
    of_plans = suggest_plans(months, rules, period)
    if not found.clients and not of_plans:
        return None
    savings = [*(one.estimated_saving_usd for one in found.clients), *(one.estimated_saving_usd for one in of_plans)]
    return SuggestionsDocument(
        generated_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        timezone=period.zone,
        month=period.month,
        filters={},
        requests=sum(one.requests for one in found.clients),
        estimated_saving_usd=sum((one for one in savings if one is not None), Decimal(0)),
        clients=found.clients,
        suggestions=sorted([*found.suggestions, *of_plans], key=_order),
        rules=[rule.standing(name) for name, rule in rules.items()],
    )


def _order(one: Suggestion) -> tuple[Decimal, int, str]:
    """The largest saving first, then by severity and name."""
    return -(one.estimated_saving_usd or Decimal(0)), _SEVERITIES.index(one.severity), one.id


def _latest_month(manifest: sqlite3.Connection, zone: Zone) -> str | None:
    # of the sums by quarter hour, which are in order of time; a million events would have to be looked through
    (slot,) = manifest.execute("SELECT max(slot) FROM slots").fetchone()
    return None if slot is None else iso_day(zone.day(slot * SLOT_US))[:7]


def _period(month: str, zone: str, now: datetime) -> Period:
    start, end = (_EPOCH + timedelta(microseconds=at) for at in month_bounds(month, zone))
    today = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    return Period(month, zone, start, end, today)


def _utc_months(period: Period) -> list[str]:
    """UTC months that the period and the hour after it touch."""
    last = period.until + timedelta(hours=1)
    return sorted({f"{day:%Y-%m}" for day in (period.since, period.since + timedelta(days=15), last)})


def _digest(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()
