"""``tokenledger snapshot``: the UI snapshot of contract v1, printed and written."""

from __future__ import annotations

import sys

from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.exports.ui_snapshot import snapshot_document, write_document
from tokenledger_dagster.plainjson import encode_plain
from tokenledger_dagster.usage.declared import is_declared
from tokenledger_dagster.usage.kept_suggestions import add_to_snapshot
from tokenledger_dagster.usage.selection import day_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import sqlite3

    from tokenledger_dagster.cli.arguments import Arguments
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
    from tokenledger_dagster.cli import common

    parser.add_argument("--mode", choices=("compact", "extended"), default="compact", help="default: compact")
    parser.add_argument("--month", metavar="YYYY-MM", help="default: the month of the latest event")
    parser.add_argument("--output", metavar="FILE", help="write here too")
    parser.add_argument(
        "--no-write", action="store_true", help="print only; leave the home's ui-snapshot.json as it is"
    )
    common.add_no_sync(parser)


def run(args: Arguments, settings: Settings) -> int:
    """Prints the snapshot as JSON."""
    from tokenledger_dagster.cli import common

    check_month(args.month)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings, walked=getattr(args, "walked", None))
    connection = common.ledger(home)
    try:
        return show_snapshot(connection, args, str(home.root), settings.snapshot_top_n)
    finally:
        connection.close()


def check_month(month: str | None) -> None:
    """Raises UsageError for what is no month."""
    if month is not None:
        try:
            day_number(f"{month}-01", "--month")
        except UsageError as error:
            raise UsageError(f"--month {month}: not a month; write it as 2026-02") from error


def show_snapshot(connection: sqlite3.Connection, args: Arguments, home: str, top_n: int) -> int:
    """Prints and writes the snapshot of the state as it is.  Raises NothingToReport where the month is empty."""
    plans = None
    if is_declared(connection, home):
        from tokenledger_dagster.usage.effective import effective  # only who declared plans pays for their arithmetic

        plans = effective(connection, home)
    document = snapshot_document(connection, mode=args.mode, month=args.month, top_n=top_n, plans=plans)
    document = add_to_snapshot(document, home)
    if not document["totals"]["tokens"] and not document["totals"]["cost_usd"]:
        raise NothingToReport(f"no events for {args.month or 'any month'}")
    sys.stdout.buffer.write(encode_plain(document))
    sys.stdout.flush()
    if not args.no_write:
        write_document(home, document)
    if args.output:
        write_document(home, document, args.output)
    return 0
