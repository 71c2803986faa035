"""``tokenledger pricing lint`` and ``audit``: whether a pricing book says what can be meant, and where it has it from.

Here: which book is read, printing, exit codes. Not here: the rules (`pricing.lint`, `pricing.audit`).
"""

from __future__ import annotations

import argparse
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.pricing_lint import AuditReport, LintFinding, LintReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.rate_table import RateTable

_BUILT_IN = "config/rates.csv"


def add_lint(parser: argparse.ArgumentParser) -> None:
    """File, format."""
    _add_file(parser)
    output.add_format(parser, ("table", "json"))


def add_audit(parser: argparse.ArgumentParser) -> None:
    """File, what is let pass, format."""
    from tokenledger_dagster.pricing.audit import MAX_AGE_DAYS

    _add_file(parser)
    parser.add_argument(
        "--max-age-days",
        metavar="N",
        type=int,
        default=MAX_AGE_DAYS,
        help=f"days after which a book is stale (default: {MAX_AGE_DAYS})",
    )
    parser.add_argument("--allow-stale", action="store_true", help="let an old book pass")
    parser.add_argument("--allow-missing-source", action="store_true", help="let rates without a source pass")
    output.add_format(parser, ("table", "json"))


def run_lint(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the report; exits 1 where the book has an error."""
    from tokenledger_dagster.pricing.audit import MAX_AGE_DAYS
    from tokenledger_dagster.pricing.findings import stamp
    from tokenledger_dagster.pricing.lint import lint

    home, now = common.open_home(settings), common.now()
    content, place = _content(args, home)
    if content is not None:
        return _show(args, lint(content, place, today=now.date(), price_list=_price_lists(home), now=now))
    _, findings = _built_in(now, MAX_AGE_DAYS)
    report = LintReport(
        generated_at=stamp(now),
        pricing=place,
        passed=True,
        error_count=0,
        warning_count=len(findings),
        findings=findings,
    )
    return _show(args, report)


def run_audit(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the report; exits 1 where the book is stale or does not name its sources."""
    from tokenledger_dagster.pricing.audit import audit, deprecated_models
    from tokenledger_dagster.pricing.findings import stamp
    from tokenledger_dagster.pricing.standing import models_in_use

    now = common.now()
    home = common.open_home(settings)
    content, place = _content(args, home)
    used, withdrawn = models_in_use(home)
    if content is not None:
        report = audit(
            content,
            place,
            today=now.date(),
            max_age_days=args.max_age_days,
            allow_stale=args.allow_stale,
            allow_missing_source=args.allow_missing_source,
            used_models=used,
            deprecations=withdrawn,
            now=now,
        )
        return _show(args, report)
    meta, findings = _built_in(now, args.max_age_days)
    findings += deprecated_models(now.date(), used, withdrawn)
    report = AuditReport(
        generated_at=stamp(now),
        pricing=place,
        passed=True,
        as_of=meta["as_of"],
        age_days=(now.date() - date.fromisoformat(meta["as_of"])).days,
        max_age_days=args.max_age_days,
        source=f"{meta['source']} {meta['source_version']}",
        findings=findings,
    )
    return _show(args, report)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: pricing.json of the home")


def _content(args: argparse.Namespace, home: Home) -> tuple[bytes | None, str]:
    """The book's bytes and what it is called; without a book the built-in list is judged in its stead."""
    from tokenledger_dagster.pricing.book import read_bytes

    path = Path(args.file) if args.file else home.pricing_book_path
    content = read_bytes(path)
    if content is None and args.file:
        raise TokenLedgerError(f"{path}: no such file; name a pricing book")
    if content is not None:
        return content, str(path)
    common.note(f"there is no {path}: prices are those of the built-in list")
    return None, _BUILT_IN


def _price_lists(home: Home) -> RateTable:
    """The built-in rates and imported ones, without the book, which may be broken."""
    from tokenledger_dagster.pricing.rate_table import RateTable, read_rows
    from tokenledger_dagster.pricing.rates import BOOK, BUILT_IN
    from tokenledger_dagster.pricing.snapshots import current

    now = current(home)
    lists = {name: read_rows(now.content(name), name) for name in now.parts if name != BOOK}
    return RateTable(lists.pop(BUILT_IN), now.snapshot_id, lists=lists)


def _built_in(now: datetime, max_age_days: int) -> tuple[dict[str, Any], list[LintFinding]]:
    """What the built-in price list says of itself, and what is to be said of its age."""
    from tokenledger_dagster.pricing.audit import audit_price_list
    from tokenledger_dagster.pricing.standing import installed_version

    meta = msgspec.json.decode((CONFIG_DIRECTORY / "rates.meta.json").read_bytes(), type=dict[str, Any])
    return meta, audit_price_list(meta, now.date(), max_age_days, installed=installed_version())


def _show(args: argparse.Namespace, report: LintReport | AuditReport) -> int:
    from tokenledger_dagster.cli.pricing_text import findings_text

    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(findings_text(report.findings))
        errors = sum(one.severity == "error" for one in report.findings)
        outcome = "passed" if report.passed else "failed"
        print(f"{outcome}: {report.pricing}, {errors} errors, {len(report.findings) - errors} warnings")
    return 0 if report.passed else 1
