"""``tokenledger pricing reprice``: what today's prices would change of what is booked, and accepting them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import argparse

    from tokenledger_dagster.contracts.reprice import RepriceReport

_SHOWN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Write or not, format."""
    parser.add_argument("--write", action="store_true", help="accept today's prices (default: only show)")
    common.add_no_sync(parser)
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the changes; exits 0, with or without any."""
    from tokenledger_dagster.pricing.reprice import reprice

    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    common.note_if_busy(home)
    report = reprice(home, write=args.write)
    if report.problem and args.write:
        raise TokenLedgerError(report.problem)
    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(_text(report, written=args.write))
    if report.problem and args.no_sync:  # else the sync has said it
        common.note(report.problem)
    return 0


def _text(report: RepriceReport, *, written: bool) -> str:
    fees = "".join(
        f"{one.provider}: monthly fee of the book {output.dollars(one.old_usd_month)} -> "
        f"{output.dollars(one.new_usd_month)}, for past months too; plans.yaml knows dated fees\n"
        for one in report.fees
    )
    if not report.rows and not fees:
        return f"Nothing changes: prices are those of snapshot {report.new_snapshot_id}.\n"
    text = _rows(report) if report.rows else ""
    text += fees
    change = (
        f"snapshot {report.old_snapshot_id} -> {report.new_snapshot_id}, months {', '.join(report.months) or 'none'}"
    )
    if report.accepted and written:
        return f"{text}Accepted: {change}. `tokenledger orchestrate` brings the tables along.\n"
    return f"{text}Not accepted: {change}. `tokenledger pricing reprice --write` accepts it.\n"


def _rows(report: RepriceReport) -> str:
    headers = ["Month (UTC)", "Model", "Context", "Why", "Requests", "Tokens", "Old USD", "New USD", "Difference"]
    rows = [
        [
            row.month,
            f"{row.provider}/{row.model}",
            row.requested_context,
            row.reason,
            f"{row.events:,}",
            output.tokens(row.total_tokens),
            "unpriced" if row.newly_priced == row.events else output.dollars(row.old_usd),
            "unpriced" if row.newly_unpriced == row.events else output.dollars(row.new_usd),
            output.dollars(row.difference_usd),
        ]
        for row in report.rows[:_SHOWN]
    ]
    totals = report.totals
    last = [f"{totals.events:,}", "", *map(output.dollars, (totals.old_usd, totals.new_usd, totals.difference_usd))]
    rows.append(["Total", "", "", "", *last])
    text = output.render(headers, rows, "table", numeric_from=4)
    for row in report.rows[:_SHOWN]:
        rates = f"{row.old_rate or 'no rate'} -> {row.new_rate or 'no rate'}"
        text += f"{row.month} {row.model} {row.requested_context}: {rates}\n"
    if len(report.rows) > _SHOWN:
        text += f"and {len(report.rows) - _SHOWN} rows more; --format json shows all\n"
    return text
