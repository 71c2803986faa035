"""What must hold of the unified ledger: whose prices its rows carry, what usage joins to, who is on the frontier.

Here: these as findings, worked out from the published tables by SQL. Not here: how rows are made
(`tokenledger_dagster.models`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.exports.costs import prices_of
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.models.list_price import MIN_CONFIDENCE
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.validation import LedgerFilesError, validate
from tokenledger_dagster.pricing.context import (
    UNKNOWN_CHANNEL,
    channel_of_provider,
    channels,
    requested_context,
)

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.book import Book

_AGAIN = "Delete TOKENLEDGER_HOME/ledger and run again."


def prices_are_their_own(look: Inspection) -> Finding:
    """Whether every price in the ledger is a rate of just that model in just that context, whole and in force."""
    ledger, prices = literal(look.path("unified_model_provider_ledger")), literal(look.path("prices"))
    names = look.query(statement("ledger_names", ledger=ledger))
    book = prices_of(look.home).snapshot.table.book
    asked = [_asked(name, book) for name in names]
    columns = {name: [getattr(one, name) for one in asked] for name in _Asked.__struct_fields__}
    rows = look.query(statement("foreign_prices", ledger=ledger, prices=prices), columns)
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


class _Asked(msgspec.Struct, frozen=True):
    """What the name of a row asks for; nothing of what it carries."""

    provider: str | None
    maker: str | None
    model: str | None
    confidence: int
    modifiers: str
    own_channel: str | None
    """On whose list the provider's price stands."""
    maker_channel: str | None
    """The same of the model's maker."""
    context: str
    book_model: str | None
    """Under which name the provider's book prices the model; None where it says nothing of it."""


def _asked(row: dict[str, Any], book: Book | None) -> _Asked:
    provider, maker, model = row["provider"], row["maker"], row["model"]
    book_model = None
    if book is not None and provider is not None and model is not None:
        name = msgspec.structs.replace(resolve_model(model, "", ""), model=model, confidence=row["confidence"])
        called = book.named(provider, name)
        # the book gives a name that it says nothing of back as it is
        book_model = called.model if called is not name and called.confidence >= MIN_CONFIDENCE else None
    of_maker = channels("maker")
    own = (provider and channel_of_provider(provider)) or of_maker.get(maker or "", maker) or UNKNOWN_CHANNEL
    priced_maker = maker if book_model is None else resolve_model(book_model, "", "").maker
    parts = (pair.partition("=") for pair in row["modifiers"].split(";"))
    modifiers = {name: value for name, _, value in parts if name}
    return _Asked(
        **row,
        own_channel=own,
        maker_channel=of_maker.get(priced_maker or "", priced_maker),
        context=requested_context("", None, None, modifiers),
        book_model=book_model,
    )


def ledger_files_state(look: Inspection) -> str:
    """Stands for the content of all files of the ledger."""
    files = sorted(path for path in look.home.ledger.glob("*") if path.is_file())
    return " ".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
