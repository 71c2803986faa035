"""``tokenledger doctor``: what was found, what is at risk, and whether the state is sound."""

from __future__ import annotations

import argparse
import os
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.governance.doctor import Finding, examine
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "doctor": """
examples:
  tokenledger doctor
  tokenledger doctor --format json
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Format only."""
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints findings; exits 1 where one of them is an error."""
    home = common.open_home(settings)
    findings = examine(home, os.environ, settings)
    if args.format == "json":
        output.print_json({"schema_version": 1, "generated_at": common.now(), "findings": findings})
    else:
        sys.stdout.write(_text(findings))
    return 1 if any(one.level == "error" for one in findings) else 0


def _text(findings: list[Finding]) -> str:
    marks = {"ok": "ok     ", "info": "       ", "warning": "WARNING", "error": "ERROR  "}
    return "".join(f"{marks[one.level]}  {one.topic:<13}  {one.text}\n" for one in findings)
