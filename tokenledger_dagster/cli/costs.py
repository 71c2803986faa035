"""``tokenledger costs``: what a period cost, with plans: variable, allocated, idle, by provider and model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.snapshot import check_month
from tokenledger_dagster.contracts.costs import CostBreakdown, CostShare
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.selection import month_days

if TYPE_CHECKING:
    import argparse

    from tokenledger_dagster.usage.selection import Selection

EXAMPLES = {
    "costs": """
examples:
  tokenledger costs --month 2026-02
  tokenledger costs --since 2026-02-01 --until 2026-02-14 --format json
  tokenledger costs --month 2026-02 --client codex
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Month or filters, format."""
    parser.add_argument("--month", metavar="YYYY-MM", help="one month (default: everything)")
    common.add_selection(parser)
    common.add_no_sync(parser)
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the breakdown; exits 3 where nothing matches."""
    from tokenledger_dagster.usage.aggregates import open_aggregates
    from tokenledger_dagster.usage.breakdown import cost_breakdown
    from tokenledger_dagster.usage.effective import effective
    from tokenledger_dagster.usage.read_suggestions import with_suggestions

    check_month(args.month)
    if args.month:
        if args.since or args.until:
            raise UsageError("--month names the period already; leave --since and --until out")
        args.since, args.until = month_days(args.month)
    selection: Selection = common.selection_of(args, settings)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    connection = common.ledger(home)
    try:
        if args.month:
            with open_aggregates(home, selection.zone, now=common.now()) as kept:
                found = kept.costs(args.month, selection)
        else:
            found = cost_breakdown(connection, selection, effective(connection, str(home.root)), common.now())
        found = with_suggestions(found, home)
    finally:
        connection.close()
    if not found.total_tokens and not found.monthly_total_usd:
        asked = ", ".join(f"{name} {value}" for name, value in found.filters.items())
        raise NothingToReport(
            f"no events for {asked or 'any period'}; `tokenledger doctor` shows which logs were found"
        )
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(_text(found))
    return 0


def _text(found: CostBreakdown) -> str:
    rows = [
        ["Variable", output.dollars(found.variable_cost_usd)],
        ["Allocated fees", output.dollars(found.subscription_allocated_usd)],
        ["Idle fees", output.dollars(found.idle_subscription_usd)],
        ["Total", output.dollars(found.monthly_total_usd)],
        ["At list price", output.dollars(found.list_price_usd)],
        ["Tokens", output.tokens(found.total_tokens)],
        ["USD per Mtok", f"{found.blended_usd_per_mtok:.4f}"],
        ["  without cache reads", f"{found.blended_usd_per_mtok_without_cache_reads:.4f}"],
    ]
    text = output.render(["What it cost", ""], rows, "table")
    for title, shares in (("Provider", found.provider_breakdown), ("Model", found.model_breakdown)):
        text += "\n" + output.render(
            [title, "Tokens", "Variable", "Allocated", "Idle", "Total", "List price", "USD/Mtok"],
            [_share(one) for one in shares],
            "table",
        )
    if found.subscriptions:
        text += "\n" + output.render(
            ["Plan", "From", "To", "Fee", "Allocated", "Idle", "At list price", "Leverage", "Used"],
            [
                [
                    one.subscription,
                    one.segment_start,
                    one.segment_end,
                    *map(output.dollars, (one.fee_usd, one.allocated_usd, one.idle_usd, one.list_price_usd)),
                    "-" if one.leverage is None else f"{one.leverage:.1f}x",
                    "-" if one.utilisation is None else f"{one.utilisation:.0%}",
                ]
                for one in found.subscriptions
            ],
            "table",
            numeric_from=3,
        )
    if found.unpriced_tokens:
        text += f"{found.unpriced_tokens:,} tokens of {found.skipped_unpriced_count:,} requests have no list price\n"
    if not found.comparable:
        text += f"effective cost is not comparable with other periods: {', '.join(found.not_comparable_reasons)}\n"
    return text


def _share(one: CostShare) -> list[str]:
    money = (
        one.variable_cost_usd,
        one.subscription_allocated_usd,
        one.idle_subscription_usd,
        one.total_cost_usd,
        one.list_price_usd,
    )
    return [one.name, output.tokens(one.tokens), *map(output.dollars, money), f"{one.blended_usd_per_mtok:.4f}"]
