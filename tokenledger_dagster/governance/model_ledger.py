"""What must hold of the unified ledger: whose prices its rows carry, what usage joins to, who is on the frontier.

Here: these as findings, worked out from the published tables by SQL. Not here: how rows are made
(`tokenledger_dagster.models`).
"""

from __future__ import annotations

import hashlib

from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.models.artifacts import LedgerFilesError, validate

_AGAIN = "Delete TOKENLEDGER_HOME/ledger and run again."


def prices_are_their_own(look: Inspection) -> Finding:
    """Whether every price in the ledger is a rate of just that model in just that context."""
    ledger, prices = look.path("unified_model_provider_ledger"), look.path("prices")
    rows = look.query(statement("foreign_prices", ledger=literal(ledger), prices=literal(prices)))
    if not rows:
        message = "Every price in the ledger is a rate of its own model and context."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{len(rows)} rows carry a price that is no rate of their model, first {rows[0]['source_model']}: models would "
        f"be chosen by others' prices. {_AGAIN}"
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def usage_joins_once(look: Inspection) -> Finding:
    """Whether each provider and model with usage has exactly one canonical row."""
    ledger, events = look.path("unified_model_provider_ledger"), look.path("events")
    rows = look.query(statement("usage_joins", ledger=literal(ledger), events=literal(events)))
    if not rows:
        message = "All usage joins to exactly one row of the ledger."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{len(rows)} models with usage have no row in the ledger, or several, first {rows[0]['model']}: joined usage "
        f"would be lost or counted twice. {_AGAIN}"
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def frontier_is_undominated(look: Inspection) -> Finding:
    """Whether comparing every pair of eligible rows gives the same frontier."""
    rows = look.query(statement("frontier", pareto=literal(look.path("unified_model_provider_pareto"))))
    if not rows:
        message = "Comparing all eligible pairs gives the same frontier."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = f"{len(rows)} rows stand where dominance does not put them, first {rows[0]['source_model']}. {_AGAIN}"
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def ledger_files_load(look: Inspection) -> Finding:
    """Whether the SQL files of the ledger load in SQLite and DuckDB and say what the CSV files say."""
    try:
        found = validate(look.home.ledger)
    except LedgerFilesError as error:
        return Finding(passed=False, message=f"{error}.", actual="not loadable", expected="loadable")
    told = ", ".join(f"{name} {count:,}" for name, count in found.items())
    return Finding(passed=True, message=f"SQLite and DuckDB load the ledger's SQL: {told} rows.", actual=0, expected=0)


def ledger_files_state(look: Inspection) -> str:
    """Stands for the content of all files of the ledger."""
    files = sorted(path for path in look.home.ledger.glob("*") if path.is_file())
    return " ".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
