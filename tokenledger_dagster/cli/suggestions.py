"""``tokenledger suggestions``: what a month's figures suggest, each with its evidence and saving."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.snapshot import check_month
from tokenledger_dagster.clients.registry import client_name, logs
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.printable import printable
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import argparse

    from tokenledger_dagster.contracts.suggestions import Suggestion, SuggestionsDocument

EXAMPLES = {
    "suggestions": """
examples:
  tokenledger suggestions
  tokenledger suggestions --month 2026-02 --client claude-code
  tokenledger suggestions --format json
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Month, clients, format."""
    parser.add_argument("--month", metavar="YYYY-MM", help="default: the month of the latest event")
    parser.add_argument("--tz", metavar="ZONE", help="IANA time zone that the month is cut in (default: the system's)")
    parser.add_argument("--client", metavar="NAME", action="append", default=[], help="only this client (repeatable)")
    common.add_no_sync(parser)
    output.add_format(parser, ("table", "json", "markdown"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the suggestions; exits 0 with or without any, 3 where the month has nothing to look at."""
    import duckdb

    from tokenledger_dagster.exports.suggestions import keep_suggestions
    from tokenledger_dagster.ingest.zones import Zone
    from tokenledger_dagster.usage.read_suggestions import of_client

    check_month(args.month)
    clients = tuple(_client(given) for given in args.client)
    zone = args.tz or common.zone_name(settings)
    Zone(zone)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    with duckdb.connect() as con:
        # snapshot and costs show months of the home's own zone
        whole = keep_suggestions(home, con, zone, args.month, write=zone == common.zone_name(settings))
    found = None if whole is None else of_client(whole, clients)
    if found is None or not (found.requests or found.suggestions):
        asked = ", ".join([f"--month {args.month}"] * bool(args.month) + [f"--client {one}" for one in clients])
        raise NothingToReport(f"no events for {asked or 'any month'}; `tokenledger doctor` shows which logs were found")
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(_markdown(found) if args.format == "markdown" else _table(found))
    return 0


def _client(given: str) -> str:
    name = client_name(given)
    if name is None:
        raise UsageError(f"--client {given}: no such client; known are {', '.join(logs())}")
    return name


def _table(found: SuggestionsDocument) -> str:
    if not found.suggestions:
        return _nothing(found)
    rows = [
        [one.severity, one.rule, _about(one), output.dollars(one.estimated_saving_usd), one.confidence]
        for one in found.suggestions
    ]
    text = output.render(["", "Rule", "About", "Saving", "Confidence"], rows, "table", numeric_from=3)
    for one in found.suggestions:
        text += f"\n{one.title}\n  {one.text}\n  Limits: {' '.join(one.limits)}\n"
        if one.overlaps_with:
            text += f"  Not on top of: {', '.join(map(printable, one.overlaps_with))}\n"
    return f"{text}\n{_together(found)}\n"


def _markdown(found: SuggestionsDocument) -> str:
    if not found.suggestions:
        return _nothing(found)
    rows = [[one.title, _about(one), output.dollars(one.estimated_saving_usd), one.text] for one in found.suggestions]
    table = output.render(["Suggestion", "About", "Saving", "Figures"], rows, "markdown", numeric_from=4)
    return f"## Suggestions for {found.month}\n\n{table}\n{_together(found)}\n"


def _nothing(found: SuggestionsDocument) -> str:
    rules = sum(one.enabled for one in found.rules)
    return f"{found.month}: nothing to suggest; {rules} rules looked at {found.requests:,} requests.\n"


def _about(one: Suggestion) -> str:
    scope = one.scope
    parts = (scope.client, scope.model, scope.subscription)
    return printable(" ".join(part for part in parts if part))


def _together(found: SuggestionsDocument) -> str:
    saving = output.dollars(found.estimated_saving_usd)
    return f"{found.month}: together {saving} at most once per request, of {found.requests:,} requests looked at."
