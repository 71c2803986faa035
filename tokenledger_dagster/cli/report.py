"""``tokenledger report``: usage and cost by one kind of key."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from tokenledger_dagster.cli import output
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.plainjson import encode_plain, nano_number
from tokenledger_dagster.usage.declared import is_declared
from tokenledger_dagster.usage.report import KINDS, report_document, usd

TYPE_CHECKING = False  # with the rest of what a warm report does not need
if TYPE_CHECKING:
    import argparse
    import sqlite3

    from tokenledger_dagster.cli.arguments import Arguments
    from tokenledger_dagster.cli.kept import Kept
    from tokenledger_dagster.settings import Settings
    from tokenledger_dagster.usage.report import Document
    from tokenledger_dagster.usage.selection import Selection

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
    from tokenledger_dagster.cli import common

    parser.add_argument("kind", nargs="?", choices=tuple(KINDS), default="daily", help="default: daily")
    common.add_selection(parser)
    parser.add_argument("--order", choices=("asc", "desc"), help="by key where it is a time, else by tokens")
    common.add_no_sync(parser)
    output.add_format(parser)


def run(args: Arguments, settings: Settings) -> int:
    """Prints the report; exits 3 where nothing matches."""
    from tokenledger_dagster.cli import common

    selection = common.selection_of(args, settings)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings, walked=getattr(args, "walked", None))
    connection = common.ledger(home)
    try:
        return show_report(connection, args, selection, str(home.root))
    finally:
        connection.close()


def show_report(
    connection: sqlite3.Connection, args: Arguments, selection: Selection, home: str, kept: Kept | None = None
) -> int:
    """Prints the report from the state as it is, and keeps it for the next who asks the same.

    Raises NothingToReport where nothing matches.
    """
    descending = None if args.order is None else args.order == "desc"
    money = nano_number if args.format == "json" else usd
    plans = None
    if is_declared(connection, home):
        from tokenledger_dagster.usage.effective import effective  # only who declared plans pays for their arithmetic

        plans = effective(connection, home)
    now = datetime.now(UTC)
    report = report_document(connection, args.kind, selection, now, descending=descending, money=money, plans=plans)
    if not report["rows"]:
        asked = ", ".join(f"{name} {value}" for name, value in report["filters"].items())
        raise NothingToReport(
            f"no events for {asked or 'any period'}; `tokenledger doctor` shows which logs were found"
        )
    if args.format == "json":
        body = encode_plain(report)
        sys.stdout.buffer.write(body)
        if kept is not None:
            kept.keep(body)
    else:
        sys.stdout.write(_text(report, args.format))
    return 0


def _text(report: Document, form: str) -> str:
    kind, totals = report["kind"], report["totals"]
    exact = form == "csv"
    headers = [_TITLES.get(kind, kind.title()), "Models", "Input", "Output", "Cache write", "Cache read"]
    headers += ["Total", "List price USD" if exact else "List price", "Unpriced"]
    # without plans, cost is the list price; CSV has the same columns always
    costs = exact or totals["total_cost_usd"] != totals["list_price_usd"]
    headers += (["Cost USD", "Idle USD"] if exact else ["Cost", "Idle"]) if costs else []
    rows = [
        [row["key"], ", ".join(one["model"] for one in row["models"]), *_figures(row, exact, costs)]
        for row in report["rows"]
    ]
    if not exact:
        rows.append(["Total", "", *_figures(totals, exact, costs)])
    text = output.render(headers, rows, form, numeric_from=2)
    if form != "table":
        return text
    foot = f"{totals['event_count']:,} events in {totals['session_count']:,} sessions, days in {report['timezone']}"
    if totals["unpriced_tokens"]:
        foot += f"; {totals['unpriced_tokens']:,} tokens have no known price and are in no sum of USD"
    if totals["estimated_tokens"]:
        foot += f"; {totals['estimated_tokens']:,} tokens are estimates (--no-estimates leaves them out)"
    if costs:
        total = output.dollars(totals["total_cost_usd"])
        foot += f"; cost with plans {total}, of it {output.dollars(totals['idle_subscription_usd'])} idle fees"
    return f"{text}{foot}\n"


def _figures(row: Document, exact: bool, costs: bool) -> list[str]:
    counts = (
        row["input_tokens"] + row["tool_input_tokens"],
        row["output_tokens"] + row["tool_output_tokens"],
        row["cache_write_tokens"],
        row["cache_read_tokens"],
        row["total_tokens"],
    )
    price = row["list_price_usd"]
    cost, idle = row["effective_cost_usd"], row["idle_subscription_usd"]
    if exact:
        texts = ["" if usd is None else f"{usd:f}" for usd in (price, cost, idle)]
        return [*map(str, counts), texts[0], str(row["unpriced_tokens"]), *texts[1:]]
    unpriced = output.tokens(row["unpriced_tokens"]) if row["unpriced_tokens"] else ""
    figures = [*map(output.tokens, counts), output.dollars(price), unpriced]
    return [*figures, output.dollars(cost), output.dollars(idle) if idle else ""] if costs else figures
