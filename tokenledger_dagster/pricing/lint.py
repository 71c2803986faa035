"""Everything that is wrong with a pricing book, said at once.

Here: one report of the bytes as they are. `book.parse_book` refuses a broken book with its first fault, and takes what
is merely suspicious; lint names every fault and every suspicion with its place and remedy, and whatever passes it can
be loaded. Not here: the rules (`lint_shape.py`, `lint_names.py`, `lint_rows.py`, `lint_list.py`, `lint_history.py`),
and whether the book is recent (`audit.py`).
"""

from __future__ import annotations

from datetime import date, datetime

from tokenledger_dagster.contracts.pricing_lint import LintFinding, LintReport
from tokenledger_dagster.pricing.book import BookError, parse_book
from tokenledger_dagster.pricing.findings import DOCUMENT, error, in_order, stamp
from tokenledger_dagster.pricing.lint_history import history_findings
from tokenledger_dagster.pricing.lint_list import list_findings
from tokenledger_dagster.pricing.lint_names import name_findings
from tokenledger_dagster.pricing.lint_rows import Look, row_findings
from tokenledger_dagster.pricing.lint_shape import Reading, read
from tokenledger_dagster.pricing.rate_table import RateTable


def lint(content: bytes, place: str, *, today: date, price_list: RateTable, now: datetime | None = None) -> LintReport:
    """Return what is wrong with a pricing book.

    Args:
        content: the bytes of `pricing.json`, whatever they are.
        place: what the report calls the file.
        today: UTC day on which announced rates are judged and the price list is compared.
        price_list: the built-in rates; of imported lists in it only slips of a factor and known models are taken.
        now: time of the report, this moment by default.
    """
    reading = read(content)
    findings = [*reading.findings, *_rules(reading, today, price_list)]
    if not any(one.severity == "error" for one in findings):
        findings += _refusal(content, place)
    errors = sum(one.severity == "error" for one in findings)
    return LintReport(
        generated_at=stamp(now),
        pricing=place,
        passed=errors == 0,
        error_count=errors,
        warning_count=len(findings) - errors,
        findings=in_order(findings),
    )


def _rules(reading: Reading, today: date, price_list: RateTable) -> list[LintFinding]:
    if reading.document is None:
        return []
    look = Look.at(reading.document, reading.broken, today, price_list)
    found = [*name_findings(look), *row_findings(look), *list_findings(look), *history_findings(look)]
    return [one for one in found if not reading.is_told(one.place)]


def _refusal(content: bytes, place: str) -> list[LintFinding]:
    """What the program's own reader says of a book that no rule finds an error in."""
    try:
        parse_book(content, place)
    except BookError as refused:
        return [error("refused", DOCUMENT, str(refused).removeprefix(f"{place}: "))]
    return []
