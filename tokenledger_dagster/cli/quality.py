"""``tokenledger quality``: published totals recomputed, and expectation suites over the published tables."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.governance.expectation_suites import SUITES
from tokenledger_dagster.printable import printable
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    from tokenledger_dagster.contracts.quality import QualityDocument

EXAMPLES = {
    "quality": """
examples:
  tokenledger orchestrate && tokenledger quality
  tokenledger quality --suite claims
  tokenledger quality --suite completeness --suite distribution --format json
"""
}
_NAMES = ("claims", *SUITES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Suites, format."""
    parser.add_argument(
        "--suite",
        metavar="NAME",
        action="append",
        choices=_NAMES,
        help=f"only this one, repeatable: {', '.join(_NAMES)} (default: all)",
    )
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints what was found; 1 where a claim or an expectation of severity error fails, 3 where none could be made."""
    import duckdb

    from tokenledger_dagster.governance.outcome import Inspection
    from tokenledger_dagster.governance.quality import run_quality

    home = common.open_home(settings)
    common.ledger(home).close()
    with duckdb.connect() as con:
        look = Inspection(home, con, common.zone_name(settings))
        if not look.path("events").exists():
            raise NothingToReport(f"no tables yet in {home.tables}; run `tokenledger orchestrate`")
        found = run_quality(look, args.suite or _NAMES, _told)
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(_text(found))
    if all(one.skipped for one in found.claims) and all(one.skipped for one in found.suites):
        raise NothingToReport(next(one.message for one in (found.claims or found.suites)))
    return 0 if found.passed else 1


def _told(name: str, word: str, seconds: float) -> None:
    common.note(f"{name:<30}{word:>8}{seconds * 1000:>9,.0f} ms")


def _text(found: QualityDocument) -> str:
    """Every check in a line; what did not simply pass is told in full below."""
    checks = [(one.name, _word(one.passed, one.skipped), one.message) for one in found.claims]
    checks += [(one.name, _word(one.passed, one.skipped, one.warning_count), one.message) for one in found.suites]
    text = output.render(["Check", "Result"], [[name, word] for name, word, _ in checks], "table", numeric_from=2)
    for name, word, message in checks:
        if word != "ok":
            text += f"\n{name} {word}: {printable(message)}\n"
    return f"{text}\nData Docs: {found.data_docs}\n"


def _word(passed: bool, skipped: bool, warnings: int = 0) -> str:
    return "skipped" if skipped else "FAILED" if not passed else "warning" if warnings else "ok"
