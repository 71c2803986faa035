"""``tokenledger report``: usage and cost by one kind of key."""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.report import Report, Row, Totals
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.report import KINDS, make_report

EXAMPLES = {
    "report": """
examples:
  tokenledger report daily
  tokenledger report monthly --client codex --format json
  tokenledger report session --since 2026-02-01 --until 2026-02-28 --tz Europe/Berlin
"""
}
_TITLES = {"daily": "Day", "weekly": "Week", "monthly": "Month", "block": "Block (UTC)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Kind, filters, order, format."""
    parser.add_argument("kind", nargs="?", choices=tuple(KINDS), default="daily", help="default: daily")
    common.add_selection(parser)
    parser.add_argument("--order", choices=("asc", "desc"), help="by key where it is a time, else by tokens")
    common.add_no_sync(parser)
    output.add_format(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the report; exits 3 where nothing matches."""
    selection = common.selection_of(args, settings)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    connection = common.ledger(home)
    descending = None if args.order is None else args.order == "desc"
    report = make_report(connection, args.kind, selection, common.now(), descending=descending)
    connection.close()
    if not report.rows:
        asked = ", ".join(f"{name} {value}" for name, value in report.filters.items())
        raise NothingToReport(
            f"no events for {asked or 'any period'}; `tokenledger doctor` shows which logs were found"
        )
    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(_text(report, args.format))
    return 0


def _text(report: Report, form: str) -> str:
    exact = form == "csv"
    headers = [_TITLES.get(report.kind, report.kind.title()), "Models", "Input", "Output", "Cache write", "Cache read"]
    headers += ["Total", "List price USD" if exact else "List price", "Unpriced"]
    rows = [[row.key, ", ".join(one.model for one in row.models), *_figures(row, exact)] for row in report.rows]
    if not exact:
        rows.append(["Total", "", *_figures(report.totals, exact)])
    text = output.render(headers, rows, form, numeric_from=2)
    if form != "table":
        return text
    totals = report.totals
    foot = f"{totals.event_count:,} events in {totals.session_count:,} sessions, days in {report.timezone}"
    if totals.unpriced_tokens:
        foot += f"; {totals.unpriced_tokens:,} tokens have no known price and are in no sum of USD"
    return f"{text}{foot}\n"


def _figures(row: Row | Totals, exact: bool) -> list[str]:
    counts = (
        row.input_tokens + row.tool_input_tokens,
        row.output_tokens + row.tool_output_tokens,
        row.cache_write_tokens,
        row.cache_read_tokens,
        row.total_tokens,
    )
    if exact:
        price = "" if row.list_price_usd is None else f"{row.list_price_usd:f}"
        return [*map(str, counts), price, str(row.unpriced_tokens)]
    unpriced = output.tokens(row.unpriced_tokens) if row.unpriced_tokens else ""
    return [*map(output.tokens, counts), output.dollars(row.list_price_usd), unpriced]
