"""``tokenledger feeder``: whether a feeder's files keep to its contract."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.feeder import FeederReport
from tokenledger_dagster.feeders.registry import FEEDERS, validator
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "feeder": """
examples:
  tokenledger feeder validate cliproxyapi usage-export.json
  tokenledger feeder validate cliproxyapi queue/*.jsonl --format json
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action so far."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    about = "Hold files against a feeder's contract; exits 1 where one breaks it."
    validate = actions.add_parser("validate", help=about[0].lower() + about[1:], description=about)
    validate.add_argument("feeder", choices=list(FEEDERS), help="the program that wrote the files")
    validate.add_argument("files", metavar="FILE", nargs="+", help="files as the feeder left them")
    output.add_format(validate, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Validates each file; 1 where any of them breaks the contract."""
    check = validator(args.feeder)
    reports = [check(Path(path)) for path in args.files]
    if args.format == "json":
        output.print_json({"schema_version": 1, "generated_at": common.now(), "reports": reports})
    else:
        sys.stdout.write("".join(_text(one) for one in reports))
    return 0 if all(one.is_valid for one in reports) else 1


def _text(report: FeederReport) -> str:
    rows = [[one.reason, f"{one.count:,}", ", ".join(one.positions)] for one in report.rejected]
    told = f"{report.path}: {report.accepted:,} of {report.records:,} records keep to the contract"
    noted = "".join(f"  {name.replace('_', ' ')}: {count:,}\n" for name, count in sorted(report.noted.items()))
    table = output.render(["Reason", "Records", "First positions"], rows, "table", numeric_from=3) if rows else ""
    return f"{told}\n{noted}{table}"
