"""``tokenledger explain``: the events, prices and bytes behind a figure."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.summaries import SUMMARY_SCHEMA_VERSION
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.report import KINDS, usd

EXAMPLES = {
    "explain": """
examples:
  tokenledger explain --kind daily --key 2026-02-18 --verify
  tokenledger explain --kind model --key claude-opus-4-5 --format json
  tokenledger explain 9ed7ad409d6c46cfbe46dc5b47cec343
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """An event, or a report's kind and key."""
    parser.add_argument("event_id", nargs="?", help="id of one event")
    parser.add_argument("--kind", choices=tuple(KINDS), help="kind of report the figure is in")
    parser.add_argument("--key", help="key of the figure's row")
    parser.add_argument("--verify", action="store_true", help="re-read the bytes and compare their hashes")
    common.add_selection(parser)
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the events behind the figure; exits 1 where bytes no longer agree."""
    from tokenledger_dagster.ingest.settling import settle
    from tokenledger_dagster.usage.evidence import events_of, explain

    if (args.event_id is None) == (args.kind is None) or (args.kind is None) != (args.key is None):
        raise UsageError("name an event id, or --kind with --key; see `tokenledger explain --help`")
    home = common.open_home(settings)
    selection = common.selection_of(args, settings)
    common.ledger(home).close()  # says what is wrong with it, if anything is
    settle(home)
    connection = common.ledger(home)
    figure: dict[str, Any] = {"event_id": args.event_id}
    ids = [args.event_id]
    if args.kind is not None:
        ids, tokens, nano = events_of(connection, args.kind, args.key, selection)
        price = None if nano is None else usd(nano)
        figure = {"kind": args.kind, "key": args.key, "timezone": selection.zone, **selection.filters()}
        figure |= {"event_count": len(ids), "total_tokens": tokens, "list_price_usd": price}
    connection.close()
    found = explain(home, ids, verify=args.verify)
    if not found:
        raise NothingToReport(f"no events for {args.event_id or f'{args.kind} {args.key}'}")
    states = Counter(event.status for event in found)
    if args.format == "json":
        stamp = common.now()
        head = {"schema_version": SUMMARY_SCHEMA_VERSION, "generated_at": stamp, "figure": figure}
        output.print_json({**head, "verification": dict(states) if args.verify else None, "events": found})
    else:
        sys.stdout.write(_text(figure, found))
    if args.verify and args.format != "json":
        listed = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(states.items()))
        print(f"verification: {listed}")
    return 1 if states["mismatch"] else 0


def _text(figure: dict[str, Any], found: list[Any]) -> str:
    rows = []
    for event in found:
        winner = event.evidence[0]
        place = f"{winner.source_path}:{winner.byte_offset}+{winner.byte_length}"
        total = sum(event.usage[name] for name in list(event.usage)[:6])
        rows.append(
            [
                place,
                event.event_id,
                event.timestamp,
                event.model,
                event.status.replace("_", " "),
                f"{len(event.evidence) - 1}",
                f"{total:,}",
                output.dollars(event.list_price_usd),
            ]
        )
    headers = ["Evidence (file:offset+length)", "Event", "Time", "Model", "Bytes", "Copies", "Tokens", "List price"]
    text = output.render(headers, rows, "table", numeric_from=5)
    if "kind" in figure:
        text += (
            f"{figure['kind']} {figure['key']}: {figure['event_count']:,} events, {figure['total_tokens']:,} tokens, "
            f"{output.dollars(figure['list_price_usd'])}\n"
        )
    return text
