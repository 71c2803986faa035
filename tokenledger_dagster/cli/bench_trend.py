"""``tokenledger bench trend``: recorded runs over time, and whether the latest is slower than those before it.

Here: arguments, the table, exit codes.  Not here: windows and percentiles (``bench.trend``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from tokenledger_dagster.bench.policy import load_policy
from tokenledger_dagster.bench.results import recorded
from tokenledger_dagster.bench.scenarios import SCENARIOS
from tokenledger_dagster.bench.trend import trend
from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.perf import TrendResult
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.settings import Settings

ABOUT = "compare the latest recorded run with those before it; exits 1 where it is slower"
EXAMPLES = ("trend", "trend --window 10 --scenario cold-backfill", "trend --svg trend.svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bench trend``."""
    parser.add_argument(
        "--window", metavar="N", type=int, help="the latest runs that count (default: config/perf_gate.yaml)"
    )
    parser.add_argument(
        "--scenario", choices=tuple(SCENARIOS), action="append", default=[], help="only this one (repeatable)"
    )
    parser.add_argument("--svg", metavar="FILE", help="draw the ratios run by run into this file too")
    output.add_format(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the trend; exits 1 where the latest run is slower than the threshold allows."""
    policy = load_policy().trend
    if args.window is not None:
        if not 2 <= args.window <= 10_000:
            raise UsageError(f"--window {args.window}: write a number from 2 to 10000")
        policy = msgspec.structs.replace(policy, window=args.window)
    found = trend(recorded(common.open_home(settings)), policy, args.scenario)
    if args.svg:
        _draw(found, Path(args.svg))
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(_table(found, args.format))
    _tell(found)
    return 0 if found.passed else 1


def _draw(found: TrendResult, path: Path) -> None:
    from tokenledger_dagster.bench.trend_chart import trend_svg

    try:
        write_atomic(path, trend_svg(found).encode())
    except OSError as error:
        raise TokenLedgerError(f"--svg {path}: {error.strerror or error}; name a file elsewhere") from error
    common.note(f"drew {path}")


def _tell(found: TrendResult) -> None:
    if found.skipped:
        told = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items())
        common.note(f"skipped files: {told}")
    if found.other_runs:
        common.note(f"{found.other_runs} recorded runs are of other logs or machines, or before the window")
    for row in found.rows:
        place = f"{row.scenario}, {row.step}"
        if row.verdict == "too_few":
            common.note(f"{place}: {row.runs} of {found.least_runs} runs that a judgement needs")
        elif row.verdict == "slower":
            change = row.change or 0.0
            common.note(f"SLOWER: {place}: {change:+.1%} against the runs before; {found.threshold:.0%} are allowed")


def _table(found: TrendResult, form: str) -> str:
    headers = ["Scenario", "Step", "Runs", "p50 s", "p95 s", "MB/s", "Events/s", "Ratio", "Latest", "Change", "Verdict"]
    rows = [
        [
            row.scenario,
            row.step,
            str(row.runs),
            f"{row.wall_p50_s:.3f}",
            f"{row.wall_p95_s:.3f}",
            "-" if row.mb_per_s is None else f"{row.mb_per_s:,.1f}",
            "-" if row.events_per_s is None else f"{row.events_per_s:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.latest_ratio:.2f}",
            "-" if row.change is None else f"{row.change:+.1%}",
            row.verdict.replace("_", " "),
        ]
        for row in found.rows
    ]
    text = output.render(headers, rows, form, numeric_from=2)
    if form != "table":
        return text
    places = dict.fromkeys(f"{row.workload}, {row.month}, {row.machine_class}" for row in found.rows)
    return "".join([text, *(f"{place}\n" for place in places)])
