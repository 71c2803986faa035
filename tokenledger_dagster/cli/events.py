"""``tokenledger events`` and ``tokenledger duplicates``: one row per booked event, or per record set aside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tokenledger_dagster.cli import common
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.fileio import staged
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    from tokenledger_dagster.exports.streams import Stream

EXAMPLES = {
    "events": """
examples:
  tokenledger events --since 2026-02-01 --client claude-code > events.jsonl
  tokenledger events --format parquet --output events.parquet
""",
    "duplicates": """
examples:
  tokenledger duplicates --format csv --output duplicates.csv
  tokenledger duplicates --session 4d5611e5-241a-462a-8d15-5122611a9569
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters, format, where to."""
    common.add_selection(parser)
    parser.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: jsonl")
    parser.add_argument("--output", metavar="FILE", help="write to this file instead of stdout")
    common.add_no_sync(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Writes the rows; exits 3 where nothing matches."""
    if args.format == "parquet" and not args.output:
        raise UsageError("--format parquet needs --output FILE")
    selection = common.selection_of(args, settings)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    import duckdb

    from tokenledger_dagster.exports.streams import Table, stream

    con = duckdb.connect()
    try:
        count = _write(stream(con, home, cast(Table, args.command), selection), args)
    finally:
        con.close()
    if not count:
        asked = ", ".join(f"{name} {value}" for name, value in selection.filters().items())
        raise NothingToReport(f"no {args.command} for {asked or 'any period'}")
    if args.output:
        common.note(f"wrote {count:,} rows to {args.output}")
    return 0


def _write(rows: Stream, args: argparse.Namespace) -> int:
    if args.format == "parquet":
        return rows.write_parquet(Path(args.output))
    if not args.output:
        return rows.write(args.format, sys.stdout.buffer)
    with staged(Path(args.output)) as temporary, temporary.open("wb") as handle:
        return rows.write(args.format, handle)
