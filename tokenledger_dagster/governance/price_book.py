"""What must hold of the prices a ledger is governed by: the book, its sources, what waits, what has no price.

Here: these as findings. Not here: judging a book (`pricing.lint`, `pricing.audit`), and whether two computations of a
price agree (`governance.prices`).
"""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime

import msgspec

from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.contracts.reconcile import Disagreement
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.accepted import standing
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.audit import audit, audit_price_list, deprecated_models
from tokenledger_dagster.pricing.book import read_bytes
from tokenledger_dagster.pricing.lint import lint
from tokenledger_dagster.pricing.rate_table import rate_table
from tokenledger_dagster.pricing.standing import installed_version, last_reconciled, models_in_use

NO_BOOK = "There is no pricing book: prices are those of the built-in list."


def book_lints(look: Inspection) -> Finding:
    """Whether the pricing book says nothing that cannot be meant."""
    content = read_bytes(look.home.pricing_book_path)
    if content is None:
        return Finding(passed=True, message=NO_BOOK, actual=0, expected=0)
    report = lint(content, str(look.home.pricing_book_path), today=_today(), price_list=rate_table())
    return _judged(report.findings, report.passed, "The pricing book says nothing that cannot be meant.")


def prices_audited(look: Inspection) -> Finding:
    """Whether book and price list name their sources, and somebody looked lately."""
    meta = json.loads((CONFIG_DIRECTORY / "rates.meta.json").read_bytes())
    findings = audit_price_list(meta, _today(), installed=installed_version())
    findings += deprecated_models(_today(), *models_in_use(look.home))
    content = read_bytes(look.home.pricing_book_path)
    if content is not None:
        findings += audit(content, str(look.home.pricing_book_path), today=_today()).findings
    return _judged(findings, not findings, "Book and price list name their sources, and somebody looked lately.")


def prices_accepted(look: Inspection) -> Finding:
    """Whether the prices of this moment are those the ledger is priced with."""
    with closing(connect(look.home, read_only=True)) as manifest:
        found = standing(look.home, manifest)
    own = found.snapshot.snapshot_id
    if found.problem:
        return Finding(passed=False, message=f"{found.problem}.", actual=own, expected="today's prices")
    if found.waiting is None:
        message = f"The ledger is priced with today's prices, snapshot {own}."
        return Finding(passed=True, message=message, actual=own, expected=own)
    message = (
        f"Prices of models in this ledger have changed and wait: figures are those of snapshot {own}. "
        "`tokenledger pricing reprice` shows what would change; with --write it takes them."
    )
    return Finding(passed=False, message=message, actual=own, expected=found.waiting.snapshot_id)


def everything_priced(look: Inspection) -> Finding:
    """Whether today's prices know every model of the month that was reconciled last."""
    summary = last_reconciled(look.home)
    if summary is None:
        return Finding(passed=True, skipped=True, message="Nothing was reconciled yet.")
    report = summary.coverage
    rows = [
        {"provider": provider, "model": one.model, "events": one.count, "tokens": one.tokens, "reason": one.reason}
        for provider, models in report.missing_models_by_provider.items()
        for one in models
    ]
    if not report.unpriced_count:
        message = f"All {report.priced_count} priced requests of {report.month} have a rate."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{report.unpriced_count} requests of {report.month} have no rate: their tokens count, their cost does not. "
        f"{summary.artifacts.patch_path} is a patch with the rates to fill in; `tokenledger pricing apply` takes it."
    )
    return Finding(passed=False, message=message, actual=report.unpriced_count, expected=0, rows=rows)


def price_sources_agree(look: Inspection) -> Finding:
    """Whether the sources of prices agree within 1 % on every model that is used."""
    summary = last_reconciled(look.home)
    if summary is None:
        return Finding(passed=True, skipped=True, message="Nothing was reconciled yet.")
    found = [one for one in summary.disagreements if isinstance(one, Disagreement)]
    if not found:
        message = "No two sources differ by more than 1 % on a model in use."
        return Finding(passed=True, message=message, actual=0, expected=0)
    rows = [msgspec.to_builtins(one, builtin_types=()) for one in found]
    message = (
        f"Sources differ by more than 1 % in {len(found)} rates of models in use; the first layer that lists a model "
        "decides. Look at the vendor's page, and write the right one into pricing.json."
    )
    return Finding(passed=False, message=message, actual=len(found), expected=0, rows=rows)


def fees_spread_exactly(look: Inspection) -> Finding:
    """Whether every fee is carried by requests or idle, and the table of costs holds just these shares."""
    costs, plans = literal(look.path("event_costs")), literal(look.path("subscriptions"))
    rows = look.query(statement("fees", costs=costs, plans=plans))
    (counted,) = look.query(f"SELECT count(*) AS n FROM read_parquet({plans})")
    if not rows:
        message = f"{counted['n']} parts of fees are carried or idle to the nano-USD."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{len(rows)} of {counted['n']} parts of fees do not add up, first {rows[0]['subscription']} in "
        f"{rows[0]['month']}: somebody's cost is wrong. Delete tables/event_costs.parquet and run again."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def gate(home: Home) -> list[str]:
    """Why a pricing gate refuses, one line each: faults of the book, old prices, usage without a price.

    Raises BookError where the book cannot be read at all.
    """
    meta = json.loads((CONFIG_DIRECTORY / "rates.meta.json").read_bytes())
    findings = audit_price_list(meta, _today())
    content, place = read_bytes(home.pricing_book_path), str(home.pricing_book_path)
    if content is not None:
        findings += lint(content, place, today=_today(), price_list=rate_table()).findings
        findings += audit(content, place, today=_today()).findings
    reasons = [f"{one.place}: {one.message} [{one.rule}]" for one in findings if one.severity == "error"]
    summary = last_reconciled(home)
    report = None if summary is None else summary.coverage
    if report is not None and report.unpriced_count:
        reasons.append(f"{report.unpriced_count} requests of {report.month} have no price [everything_priced]")
    return reasons


def _judged(findings: list[LintFinding], passed: bool, fine: str) -> Finding:
    findings = sorted(findings, key=lambda one: one.severity)  # errors first
    rows = [
        {"rule": one.rule, "severity": one.severity, "place": one.place, "message": one.message} for one in findings
    ]
    wrong = sum(one.severity == "error" for one in findings) or len(findings)
    if passed and not findings:
        return Finding(passed=True, message=fine, actual=0, expected=0)
    first = findings[0]
    message = f"{len(findings)} findings, first {first.rule} at {first.place}: {first.message}."
    return Finding(passed=passed, message=message, actual=0 if passed else wrong, expected=0, rows=rows)


def _today() -> date:
    return datetime.now(UTC).date()
