"""``tokenledger sync``: read what is new in the agents' logs."""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.clients.registry import client_name, clients
from tokenledger_dagster.contracts.summaries import IngestSummary
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.sync import SyncOptions
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "sync": """
examples:
  tokenledger sync
  tokenledger sync --client codex --format json
  tokenledger sync --source codex=~/saved/exec-output     # read now and remembered
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Clients, extra sources, how thoroughly."""
    parser.add_argument("--client", metavar="NAME", action="append", default=[], help="only this client (repeatable)")
    parser.add_argument(
        "--source", metavar="CLIENT=PATH", action="append", default=[], help="a file or folder to read from now on too"
    )
    parser.add_argument("--no-cache", action="store_true", help="read every file from its start and reconcile")
    parser.add_argument("--full", action="store_true", help="as --no-cache, and book everything anew")
    output.add_format(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Syncs and prints the ingest summary."""
    options = SyncOptions(
        only=tuple(_client(given, "--client") for given in args.client),
        no_cache=args.no_cache or args.full,
        full=args.full,
        add_sources=tuple(_source(given) for given in args.source),
        zone=common.zone_name(settings),
        host=settings.host,
    )
    home = common.open_home(settings)
    summary = common.synced(home, settings, options)
    if common.journal_rows(home) > settings.journal_compact_rows:
        from tokenledger_dagster.ingest.compaction import compact

        compact(home)
    if args.format == "json":
        output.print_json(summary)
    else:
        sys.stdout.write(_text(summary, args.format))
    return 0


def _client(given: str, option: str) -> str:
    name = client_name(given)
    if name is None:
        raise UsageError(f"{option} {given}: no such client; known are {', '.join(clients())}")
    return name


def _source(given: str) -> tuple[str, str]:
    client, mark, path = given.partition("=")
    if not mark or not path:
        raise UsageError(f"--source {given}: write it as CLIENT=PATH, for example codex=/backup/sessions")
    return _client(client, "--source"), path


def _text(summary: IngestSummary, form: str) -> str:
    headers = ["Client", "Records", "New events", "Duplicates", "Skipped lines", "MB read"]
    rows = [
        [
            name,
            f"{one.scanned:,}",
            f"{one.emitted:,}",
            f"{one.duplicates:,}",
            f"{sum(one.skipped.values()):,}",
            f"{one.bytes_read / 1e6:,.1f}",
        ]
        for name, one in summary.providers.items()
    ]
    table = output.render(headers, rows, form)
    if form != "table":
        return table
    files = summary.sources
    found = (
        f"{files.seen:,} files: {files.new:,} new, {files.changed:,} changed, {files.unchanged:,} unchanged; "
        f"{files.missing:,} gone since, their events are kept\n"
        f"the ledger holds {summary.ledger.get('events', 0):,} events and "
        f"{summary.ledger.get('duplicates', 0):,} duplicates ({summary.duration_ms:,} ms)\n"
    )
    return (table if rows else "") + found
