"""``tokenledger events`` and ``tokenledger duplicates``: one row per booked event, or per record set aside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, cast

from tokenledger_dagster.cli import common
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.settings import Settings

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

    from tokenledger_dagster.exports import streams

    con = duckdb.connect()
    try:
        table = cast(streams.Table, args.command)
        result = streams.rows(con, home, table, selection)
        count = _write(streams, result, args)
    finally:
        con.close()
    if not count:
        asked = ", ".join(f"{name} {value}" for name, value in selection.filters().items())
        raise NothingToReport(f"no {table} for {asked or 'any period'}")
    if args.output:
        common.note(f"wrote {count:,} rows to {args.output}")
    return 0


def _write(streams: Any, result: Any, args: argparse.Namespace) -> int:
    if args.format == "parquet":
        return int(streams.write_parquet(result, Path(args.output)))
    if not args.output:
        return int(streams.write(result, args.format, sys.stdout.buffer))
    from tokenledger_dagster.fileio import staged

    with staged(Path(args.output)) as temporary, temporary.open("wb") as handle:
        return int(streams.write(result, args.format, handle))
