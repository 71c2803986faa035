"""``tokenledger retention``: what the home no longer needs, and removing it.

Here: arguments, the table, exit codes.  Not here: what goes (``governance.retention``).
"""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.retention import RetentionReport
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "retention": """
examples:
  tokenledger retention              # says what would go, and removes nothing
  tokenledger retention --apply
  tokenledger retention --format json
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to remove, and the format."""
    parser.add_argument("--apply", action="store_true", help="remove what is listed (default: only list it)")
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints what goes and why; 4 where something could not be removed."""
    from tokenledger_dagster.governance.retention import retain, rules_of

    report = retain(common.open_home(settings), rules_of(settings), apply=args.apply)
    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(_text(report))
    for one in report.left:
        common.note(f"left as it is: {one.path}: {one.reason}")
    for problem in report.problems:
        common.note(f"tokenledger retention: {problem}")
    return 4 if report.problems else 0


def _text(report: RetentionReport) -> str:
    rows = [
        [one.kind, f"{one.count:,}", f"{one.days:,}", f"{one.found:,}", f"{one.going:,}", f"{one.going_bytes:,}"]
        for one in report.kinds
    ]
    text = output.render(["What", "Left at most", "Days at most", "There", "Going", "Bytes"], rows, "table")
    if report.removals:
        listed = [[one.path, one.reason, one.made_at, f"{one.bytes:,}"] for one in report.removals]
        text += "\n" + output.render(["Path", "Why", "Made", "Bytes"], listed, "table", numeric_from=3)
    removed = sum(one.is_removed for one in report.removals)
    if report.applied:
        return f"{text}{removed:,} of {len(report.removals):,} removed\n"
    return f"{text}nothing was removed; `tokenledger retention --apply` does it\n" if report.removals else text
