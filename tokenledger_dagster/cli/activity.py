"""``tokenledger activity``: sessions, tokens and cost by what sessions were about, which is a guess.

Here: arguments and printing.  Not here: the guess and what it is made of (``inference``); no log's words are read here.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.home import Home
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import argparse

    from tokenledger_dagster.inference.activity_costs import ActivityCosts
    from tokenledger_dagster.inference.session_activity import Summary
    from tokenledger_dagster.usage.selection import Selection

EXAMPLES = {
    "activity": """
examples:
  tokenledger activity
  tokenledger activity --since 2026-02-01 --until 2026-02-28 --client claude-code
  tokenledger activity --project tidepool --format json
"""
}
_NOT_FOR = "A guess by the first words of each session: it sums up kinds of work and is not for judging people."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters, format."""
    common.add_selection(parser)
    common.add_no_sync(parser)
    output.add_format(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints usage by activity; exits 3 where nothing matches or no session is embedded, 4 where inference is off."""
    from tokenledger_dagster.inference.activity_costs import activity_costs
    from tokenledger_dagster.inference.session_activity import activities

    selection = common.selection_of(args, settings)
    home = common.open_home(settings)
    summary = _made(home, settings)
    if not args.no_sync:
        common.synced(home, settings)
    connection = common.ledger(home)
    try:
        found = activity_costs(connection, selection, activities(home))
    finally:
        connection.close()
    if not found.rows:
        asked = ", ".join(f"{name} {value}" for name, value in selection.filters().items())
        raise NothingToReport(
            f"no events for {asked or 'any period'}; `tokenledger doctor` shows which logs were found"
        )
    if args.format == "json":
        output.print_json(_document(found, selection, summary))
    else:
        sys.stdout.write(_text(found, summary, args.format))
    return 0


def _made(home: Home, settings: Settings) -> Summary:
    """The table of guesses, up to date with the vectors there are.

    Raises:
        InferenceOffError: inference is off.
        NothingToReport: no session has vectors.
    """
    from tokenledger_dagster.inference.embedder import open_embedder
    from tokenledger_dagster.inference.manifest import read_manifest
    from tokenledger_dagster.inference.session_activity import write_activity
    from tokenledger_dagster.inference.switch import require

    model = read_manifest(require(home, settings)).weights_sha256
    summary = write_activity(home, lambda: open_embedder(home, settings), model).summary
    if not summary.sessions:
        raise NothingToReport(
            f"no session of {home.root} is embedded yet; set `inference.prompts: true` under `features` and run the "
            "job `inference`, or search once with `tokenledger search --read-prompts`"
        )
    return summary


def _document(found: ActivityCosts, selection: Selection, summary: Summary) -> dict[str, Any]:
    import msgspec

    return {
        "schema_version": 1,
        "generated_at": common.now(),
        "timezone": selection.zone,
        "filters": selection.filters(),
        "is_estimate": True,
        "note": _NOT_FOR,
        "method": summary.method,
        "min_tokens": summary.min_tokens,
        "min_score": summary.min_score,
        "min_margin": summary.min_margin,
        **msgspec.structs.asdict(found),
    }


def _text(found: ActivityCosts, summary: Summary, form: str) -> str:
    if form == "csv":
        headers = ["activity", "embedded", "sessions", "events", "tokens", "list_price_usd", "unpriced_tokens"]
        return output.render(headers, [[_cell(getattr(row, name)) for name in headers] for row in found.rows], "csv")
    rows = [
        [row.label, f"{row.sessions:,}", output.tokens(row.tokens), output.dollars(row.list_price_usd)]
        for row in found.rows
    ]
    rows.append(["Total", f"{found.sessions:,}", output.tokens(found.tokens), output.dollars(found.list_price_usd)])
    text = output.render(["Activity (estimated)", "Sessions", "Tokens", "List price"], rows, form)
    foot = f"{found.guessed_sessions:,} of {found.sessions:,} sessions have a guess"
    if found.tokens:
        foot += f", with {found.guessed_tokens / found.tokens:.0%} of the tokens"
    foot += f" (score from {summary.min_score:g}, margin from {summary.min_margin:g}). {_NOT_FOR}"
    return f"{text}\n{foot}\n" if form == "markdown" else f"{text}{foot}\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
