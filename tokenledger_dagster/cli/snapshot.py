"""``tokenledger snapshot``: the UI snapshot of contract v1, printed and written."""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "snapshot": """
examples:
  tokenledger snapshot
  tokenledger snapshot --mode extended --month 2026-02 --no-write
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Mode, month, where to."""
    parser.add_argument("--mode", choices=("compact", "extended"), default="compact", help="default: compact")
    parser.add_argument("--month", metavar="YYYY-MM", help="default: the month of the latest event")
    parser.add_argument("--output", metavar="FILE", help="write here too")
    parser.add_argument(
        "--no-write", action="store_true", help="print only; leave the home's ui-snapshot.json as it is"
    )
    common.add_no_sync(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the snapshot as JSON."""
    from pathlib import Path

    from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot
    from tokenledger_dagster.usage.selection import day_number

    if args.month is not None:
        try:
            day_number(f"{args.month}-01", "--month")
        except UsageError as error:
            raise UsageError(f"--month {args.month}: not a month; write it as 2026-02") from error
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    connection = common.ledger(home)
    snapshot = make_snapshot(connection, mode=args.mode, month=args.month, top_n=settings.snapshot_top_n)
    connection.close()
    if not snapshot.totals.tokens:
        raise NothingToReport(f"no events for {args.month or 'any month'}")
    output.print_json(snapshot)
    sys.stdout.flush()
    if not args.no_write:
        write_snapshot(home, snapshot)
    if args.output:
        write_snapshot(home, snapshot, path=Path(args.output))
    return 0
