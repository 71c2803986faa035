"""What must hold of a ledger, each property with what follows where it does not.

Here: the list of invariants and running one.  Not here: how each is decided (``governance.lake``, ``.sums``,
``.prices``, ``.artifacts``, ``.contracts``, ``.estimates``), and how an orchestrator runs them (``checks``).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.tables import TABLES, USAGE_TABLES
from tokenledger_dagster.exports.tables import stored
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.governance import (
    artifacts,
    contracts,
    estimates,
    golden_checks,
    lake,
    model_ledger,
    price_book,
    prices,
    sums,
)
from tokenledger_dagster.governance.outcome import SHOWN_ROWS, CheckOutcome, Finding, Inspection, Invariant

__all__ = ["INVARIANTS", "CheckOutcome", "Inspection", "Invariant", "inspect", "judge"]

_PROPERTIES = (
    Invariant(
        name="segments_intact",
        table="lake",
        run=lake.segments_intact,
        description="Every segment of the lake has the bytes that were recorded; else figures made from it are wrong.",
    ),
    Invariant(
        name="event_ids_unique",
        table="events",
        run=lake.event_ids_unique,
        reads=("events",),
        description="No event id stands twice; else a request is counted and paid twice.",
    ),
    Invariant(
        name="counters_non_negative",
        table="events",
        run=lake.counters_non_negative,
        reads=("events",),
        description="No counter is below zero; else sums and costs come out too low.",
    ),
    Invariant(
        name="booked_plus_duplicates_equal_scanned",
        table="duplicates",
        run=lake.booked_plus_duplicates_equal_scanned,
        description="Every record read is either an event or a duplicate; else usage was lost or counted twice.",
    ),
    Invariant(
        name="costs_agree",
        table="event_costs",
        run=prices.costs_agree,
        state=prices.booked_prices_state,
        reads=("event_costs",),
        description="Two computations price every event alike, to the nano-USD; else one of them states wrong costs.",
    ),
    Invariant(
        name="closed_months_unchanged",
        table="event_costs",
        run=golden_checks.closed_months_unchanged,
        state=golden_checks.closed_key,
        reads=("events", "event_costs"),
        blocking=False,
        description="Locked months have the events and figures they had; else what was reported is no longer true.",
    ),
    Invariant(
        name="views_sum_to_same_totals",
        table="usage_daily",
        run=sums.views_sum_to_same_totals,
        reads=("events", "event_costs", *USAGE_TABLES),
        description="Every usage table sums to the events; else two reports contradict each other.",
    ),
    Invariant(
        name="days_sum_to_month",
        table="usage_monthly",
        run=sums.days_sum_to_month,
        reads=("usage_daily", "usage_monthly"),
        description="The days of a month sum to it, by client and model; else a month's bill cannot be explained.",
    ),
    Invariant(
        name="cells_equal_tables",
        table="usage_daily",
        run=sums.cells_equal_tables,
        description="The sums reports are answered from equal the published days; else CLI and tables disagree.",
    ),
    Invariant(
        name="unpriced_share",
        table="unpriced",
        run=prices.unpriced_share,
        blocking=False,
        severity="WARN",
        description="At most 1 % of all tokens have no list price; else costs are visibly too low.",
    ),
    Invariant(
        name="rate_table_current",
        table="prices",
        run=prices.rate_table_current,
        state=prices.rate_table_state,
        blocking=False,
        severity="WARN",
        description="The committed rate table is what its price list gives; else prices are out of date.",
    ),
    Invariant(
        name="book_lints",
        table="book",
        run=price_book.book_lints,
        blocking=False,
        description="The pricing book says nothing that cannot be meant; else prices stay as they were accepted.",
    ),
    Invariant(
        name="prices_audited",
        table="book",
        run=price_book.prices_audited,
        blocking=False,
        severity="WARN",
        description="Book and price list name their sources and are not old; else nobody knows if a cost is right.",
    ),
    Invariant(
        name="prices_accepted",
        table="reprice",
        run=price_book.prices_accepted,
        blocking=False,
        severity="WARN",
        description="The ledger is priced with today's prices; else a change waits for somebody to look at it.",
    ),
    Invariant(
        name="fees_spread_exactly",
        table="subscriptions",
        run=price_book.fees_spread_exactly,
        reads=("event_costs", "subscriptions"),
        description="Every fee is carried by requests or idle, to the nano-USD; else somebody pays twice or nothing.",
    ),
    Invariant(
        name="everything_priced",
        table="coverage",
        run=price_book.everything_priced,
        blocking=False,
        severity="WARN",
        description="Today's prices know every model of the month; else its cost comes out too low.",
    ),
    Invariant(
        name="price_sources_agree",
        table="reconcile",
        run=price_book.price_sources_agree,
        blocking=False,
        severity="WARN",
        description="Sources of prices agree within 1 % on models in use; else one of them states a wrong cost.",
    ),
    Invariant(
        name="prices_are_their_own",
        table="unified_model_provider_ledger",
        run=model_ledger.prices_are_their_own,
        reads=("unified_model_provider_ledger", "prices"),
        description="No row carries another model's price; else models are chosen by prices that nobody asks.",
    ),
    Invariant(
        name="usage_joins_once",
        table="unified_model_provider_ledger",
        run=model_ledger.usage_joins_once,
        reads=("unified_model_provider_ledger", "events"),
        description="All usage joins to exactly one canonical row; else joined usage is lost or counted twice.",
    ),
    Invariant(
        name="frontier_is_undominated",
        table="unified_model_provider_pareto",
        run=model_ledger.frontier_is_undominated,
        reads=("unified_model_provider_pareto",),
        description="No frontier row is beaten by an eligible one, and every other is; else the view misleads.",
    ),
    Invariant(
        name="ledger_files_load",
        table="unified_model_provider_pareto",
        run=model_ledger.ledger_files_load,
        state=model_ledger.ledger_files_state,
        blocking=False,
        description="SQLite and DuckDB load the ledger's SQL files; else who builds on them has nothing.",
    ),
    Invariant(
        name="tables_present",
        table="warehouse",
        run=artifacts.tables_present,
        description="The published database holds every table, whole and commented; else analysts read old or no data.",
    ),
    Invariant(
        name="ui_snapshot_schema",
        table="ui_snapshot",
        run=artifacts.ui_snapshot_schema,
        description="The UI snapshot has the shape of contract version 1; else status bars show nothing.",
    ),
    Invariant(
        name="artifacts_present",
        table="artifacts",
        run=artifacts.artifacts_present,
        blocking=False,
        description="Every file that a run leaves is there; else who reads it finds nothing, or what is out of date.",
    ),
    Invariant(
        name="artifact_schemas",
        table="artifacts",
        run=artifacts.artifact_schemas,
        description="Every document and table has the shape of its contract; else programs read what nobody meant.",
    ),
    Invariant(
        name="sample_golden",
        table="sample",
        run=golden_checks.sample_golden,
        state=golden_checks.sample_key,
        blocking=False,
        description="The bundled sample gives every locked figure; else this program counts or prices otherwise.",
    ),
    Invariant(
        name="model_files_intact",
        table="embedding_model",
        run=estimates.model_files_intact,
        state=estimates.model_files_state,
        description="The model's files have the hashes of its manifest; else texts are embedded by another model.",
    ),
    Invariant(
        name="vectors_are_whole",
        table="session_vectors",
        run=estimates.vectors_are_whole,
        state=estimates.vectors_state,
        description="Each session has all its parts, of length 1 and told by whom; else searches mislead.",
    ),
    Invariant(
        name="guesses_keep_their_limits",
        table="session_activity",
        run=estimates.guesses_keep_their_limits,
        state=estimates.guesses_state,
        blocking=False,
        description="A guessed activity is a known class above both thresholds; else it passes for more than it is.",
    ),
    Invariant(
        name="estimates_are_possible",
        table="token_estimates",
        run=estimates.estimates_are_possible,
        state=estimates.token_estimates_state,
        blocking=False,
        description="No text is estimated at more tokens than it has bytes; else the estimate misleads.",
    ),
    Invariant(
        name="suggestions_keep_the_digits",
        table="mapping_suggestions",
        run=estimates.suggestions_keep_the_digits,
        state=estimates.suggestions_state,
        blocking=False,
        description="A suggested model has the digits of the name; else a person is led to another version's price.",
    ),
)

INVARIANTS: dict[str, Invariant] = {
    invariant.name: invariant
    for invariant in (*_PROPERTIES, *(contracts.invariant(table) for table in TABLES.values()))
}
"""Every invariant by name; ``contract_<table>`` for each public table among them."""


def inspect(name: str, look: Inspection) -> CheckOutcome:
    """Checks one invariant.

    Raises:
        KeyError: no such invariant.
        OSError, duckdb.Error: what it speaks of cannot be read at all.
    """
    return judge(INVARIANTS[name], look)


def judge(invariant: Invariant, look: Inspection) -> CheckOutcome:
    """Checks one property, of this list or of another, or remembers that nothing it reads changed since it passed.

    Raises:
        OSError, duckdb.Error: what it speaks of cannot be read at all.
    """
    name, key = invariant.name, _key(invariant, look)
    if key is not None and _passed(look).get(name) == key:
        message = "Nothing it reads changed since it last passed."
        return _outcome(invariant, Finding(passed=True, message=message, actual=0, expected=0))
    finding = invariant.run(look)
    if key is not None:
        _remember(look, name, key if finding.passed and not finding.skipped else None)
    return _outcome(invariant, finding)


def _outcome(invariant: Invariant, finding: Finding) -> CheckOutcome:
    actual, expected = finding.actual, finding.expected
    numbers = isinstance(actual, (int, float)) and isinstance(expected, (int, float))
    return CheckOutcome(
        name=invariant.name,
        passed=finding.passed,
        actual=actual,
        expected=expected,
        delta=actual - expected if numbers else None,  # type: ignore[operator]
        rows=finding.rows[:SHOWN_ROWS],
        description=finding.message,
        blocking=invariant.blocking,
        severity=invariant.severity,
        skipped=finding.skipped,
    )


# -------------------------------------------------------------------- passes, remembered


def _key(invariant: Invariant, look: Inspection) -> str | None:
    """Key of all that a check reads, the very files among it, so that one that was changed by hand is noticed.

    None where the check looks at what no key can stand for, or where a file is not there.
    """
    if not invariant.reads and invariant.state is None:
        return None
    digest = hashlib.blake2b(_code().encode(), digest_size=16)
    if invariant.state is not None:
        digest.update(invariant.state(look).encode())
    for table in invariant.reads:
        try:
            found = look.path(table).stat()
        except OSError:
            return None
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        built = stored(look.home, table)
        digest.update(msgspec.json.encode(TABLES[table]))
        digest.update(f"{table} {built and built.digest} {stamp}".encode())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Stands for the checks themselves: what passed under other rules is checked again."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.*")):
        if path.suffix in (".py", ".sql"):
            digest.update(path.name.encode() + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def _memory(look: Inspection) -> Path:
    return look.home.tables / "_passed.json"


def _passed(look: Inspection) -> dict[str, str]:
    try:
        return msgspec.json.decode(_memory(look).read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _remember(look: Inspection, name: str, key: str | None) -> None:
    # two processes may write at once; what one of them loses is checked again
    known = _passed(look)
    known.pop(name, None)
    write_json_atomic(_memory(look), known if key is None else {**known, name: key})
