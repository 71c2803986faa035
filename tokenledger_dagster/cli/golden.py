"""``tokenledger bench golden``: lock figures that are right, and verify that they still are.

Here: arguments and exit codes, of the sample and with ``--closed`` of one's own closed months. Not here: figures and
comparing (``governance.golden_sample``, ``governance.golden_months``), the texts (``cli.golden_text``).
"""

from __future__ import annotations

import argparse
import re
from contextlib import closing
from decimal import Decimal, InvalidOperation
from pathlib import Path

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.actions import add_action, examples_of
from tokenledger_dagster.contracts.golden import GoldenReport
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.governance.golden import GOLDEN_SAMPLE, LOCK_CLOSED, lock_path
from tokenledger_dagster.settings import Settings

ABOUT = "lock figures that are right, of the sample or of closed months, and verify that they still are"
ACTIONS = {
    "lock": "write the figures down; where that changes locked ones, show how, and write with --accept only",
    "verify": "compare with the figures that were locked; exits 1 where one differs",
}
EXAMPLES = (
    "golden verify",
    "golden lock --accept",
    "golden lock --closed",
    "golden verify --closed --format markdown",
)
_LARGEST_EPSILON = Decimal(1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two actions, with the same choice of what they are about."""
    actions = parser.add_subparsers(dest="golden_action", required=True, metavar="ACTION")
    for name, about in ACTIONS.items():
        shown = examples_of("bench", (one for one in EXAMPLES if one.startswith(f"golden {name}")))
        one = add_action(actions, "bench golden", name, about, shown)
        one.add_argument("--closed", action="store_true", help="closed months of your ledger instead of the sample")
        one.add_argument("--golden", metavar="FILE", help=f"golden file of the sample (default: {_shown()})")
        if name == "lock":
            one.add_argument("--accept", action="store_true", help="also lock what differs from what was locked")
            one.add_argument(
                "--month", metavar="YYYY-MM", action="append", default=[], help="with --closed: only this (repeatable)"
            )
        else:
            one.add_argument(
                "--epsilon",
                metavar="USD",
                default="0",
                help="money may differ by so much (default: 0, to the nano-USD)",
            )
        common.add_no_sync(one)
        output.add_format(one)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Locks or verifies; exits 1 where a figure is not the locked one."""
    from tokenledger_dagster.cli.golden_text import document

    if args.closed and args.golden:
        raise UsageError("--golden names the file of the sample; leave it or --closed out")
    report = _closed(args, settings) if args.closed else _sample(args)
    document(report, args.format, is_lock=args.golden_action == "lock")
    return 0 if report.passed else 1


def _sample(args: argparse.Namespace) -> GoldenReport:
    from tokenledger_dagster.governance.golden_sample import lock_sample, verify_sample

    if getattr(args, "month", None):
        raise UsageError("--month is about closed months; give --closed too")
    path = Path(args.golden) if args.golden else GOLDEN_SAMPLE
    if path.is_dir():
        raise UsageError(f"--golden {path}: is a folder; name a file")
    if args.golden_action == "verify":
        return verify_sample(path, common.now(), _epsilon(args.epsilon))
    report = lock_sample(path, common.now(), accept_changes=args.accept)
    if not report.passed and not report.locked:
        common.note("tokenledger bench golden lock: locked figures would change; look at them, then give --accept")
    return report


def _closed(args: argparse.Namespace, settings: Settings) -> GoldenReport:
    import duckdb

    from tokenledger_dagster.governance.golden_months import build_tables, lock_closed, verify_closed

    months = [_month(given) for given in getattr(args, "month", [])]
    epsilon = _epsilon(args.epsilon) if args.golden_action == "verify" else Decimal(0)
    home = common.open_home(settings)
    if args.golden_action == "verify" and not lock_path(home).exists():
        raise NothingToReport(f"no month is locked in {home.root}; `{LOCK_CLOSED}` locks those that are closed")
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    days = settings.month_closes_after_days
    with closing(duckdb.connect()) as con:
        build_tables(home, con, common.zone_name(settings))
        if args.golden_action == "verify":
            return verify_closed(home, con, common.now(), epsilon=epsilon, closes_after_days=days)
        report = lock_closed(home, con, common.now(), days, accept_changes=args.accept, months=months)
    if not report.locked and not report.compared and not report.unlocked_months:
        raise NothingToReport(f"no month of {home.root} is closed yet; one is {days} days after its end")
    missing = [month for month in months if month not in report.unlocked_months and not lock_path(home).exists()]
    if missing and not report.locked:
        raise NothingToReport(f"--month {missing[0]}: has no events, or is not closed")
    if not report.passed and not report.locked:
        common.note(f"{LOCK_CLOSED}: locked months would change; look at them, then give --accept")
    return report


def _epsilon(given: str) -> Decimal:
    try:
        found = Decimal(given)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= _LARGEST_EPSILON:
        raise UsageError(f"--epsilon {given}: write an amount of USD from 0 to {_LARGEST_EPSILON}, as 0.000001")
    return found


def _month(given: str) -> str:
    if not re.fullmatch(r"(19|[2-9]\d)\d\d-(0[1-9]|1[0-2])", given):
        raise UsageError(f"--month {given}: write it as 2026-02")
    return given


def _shown() -> str:
    return "/".join(GOLDEN_SAMPLE.parts[-3:])
