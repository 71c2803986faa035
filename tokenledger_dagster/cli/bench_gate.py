"""``tokenledger bench gate``: this checkout's speed against recorded baselines, as a pass or a failure.

Here: arguments, the table, exit codes.  Not here: measuring and judging (``bench.gate``).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import msgspec

from tokenledger_dagster.bench import baseline
from tokenledger_dagster.bench.corpus import MB
from tokenledger_dagster.bench.gate import GateOptions, gate_options, judge_file, run_bench, run_gate
from tokenledger_dagster.bench.policy import load_policy
from tokenledger_dagster.bench.scenarios import USUAL
from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.perf import GateResult, Tolerance
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.settings import Settings

ABOUT = "hold the speed of this program against a recorded baseline; exits 1 where it got slower"
EXAMPLES = ("gate", "gate --record --baseline baseline.json", "gate --strict --baseline baseline.json --rounds 21")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bench gate``."""
    parser.add_argument("--baseline", metavar="FILE", help="baselines to compare with (default: those of config/)")
    parser.add_argument(
        "--strict", action="store_true", help="fail where a scenario or a baseline of just this case is missing"
    )
    parser.add_argument(
        "--tolerance",
        metavar="CPU[,WALL]",
        help="shares by which processor time, and wall time, may exceed the baseline (default: config/perf_gate.yaml)",
    )
    parser.add_argument(
        "--size-mb", metavar="MB", help="size of the logs in millions of bytes (default: config/perf_gate.yaml)"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=int, help="timed runs of each step (default: config/perf_gate.yaml)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="equal seeds make equal logs (default: 1)")
    parser.add_argument(
        "--scenario", choices=USUAL, action="append", default=[], help="only this one (repeatable; default: all)"
    )
    parser.add_argument(
        "--from", dest="source", metavar="FILE", help="judge this result of `bench run` instead of measuring"
    )
    parser.add_argument(
        "--record", action="store_true", help="measure, and write what it came to into the baselines instead of judging"
    )
    output.add_format(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measures and judges, or records; exits 1 where the gate fails."""
    if args.record and (args.source or args.strict or args.tolerance):
        raise UsageError("--record measures and judges nothing: leave --from, --strict and --tolerance out")
    policy = load_policy().gate
    rounds = policy.record_rounds if args.record else policy.rounds
    options = msgspec.structs.replace(
        gate_options(policy),
        size=_size(args.size_mb, policy.size_mb),
        rounds=rounds if args.rounds is None else args.rounds,
        tolerance=_tolerance(args.tolerance, policy.tolerance),
        seed=args.seed,
        scenarios=tuple(args.scenario or USUAL),
        strict=args.strict,
        baseline=Path(args.baseline) if args.baseline else baseline.PATH,
    )
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds}: write a number above 0")
    if args.record:
        return _record(options, args.format, settings)
    home = common.open_home(settings)
    if args.source:
        verdict, path = judge_file(home, Path(args.source), options)
    else:
        verdict, path = run_gate(home, options, common.note)
    common.note(f"kept in {path}")
    for text in [*verdict.notes, *(f"FAILED: {text}" for text in verdict.failures)]:
        common.note(text)
    if args.format == "json":
        output.print_json(verdict)
    else:
        sys.stdout.write(_table(verdict, args.format))
    return 0 if verdict.passed else 1


def _record(options: GateOptions, form: str, settings: Settings) -> int:
    """Measures and writes the baselines; refuses to record a wrong answer."""
    _require_writable(options.baseline)
    home = common.open_home(settings)
    if options.baseline.exists():
        baseline.read_baselines(options.baseline)
    result, path = run_bench(home, options, common.note)
    common.note(f"kept in {path}")
    if not result.passed:
        common.note("FAILED: a figure is not what the logs hold; nothing was recorded")
        return 1
    count = baseline.record(options.baseline, result)
    common.note(f"recorded {count} steps in {options.baseline}")
    entries = baseline.entries_of(result)
    if form == "json":
        output.print_json(baseline.read_baselines(options.baseline))
        return 0
    rows = [[one.scenario, one.step, f"{one.cpu:.2f}", f"{one.wall:.2f}", one.machine_class] for one in entries]
    sys.stdout.write(output.render(["Scenario", "Step", "CPU", "Wall", "Machine"], rows, form, numeric_from=2))
    return 0


def _table(verdict: GateResult, form: str) -> str:
    headers = ["Scenario", "Step", "Figure", "Ratio", "Baseline", "Limit", "Match", "Verdict"]
    rows = [
        [
            row.scenario,
            row.step,
            row.figure,
            *("-" if value is None else f"{value:.2f}" for value in (row.ratio, row.baseline, row.limit)),
            row.match,
            row.verdict.replace("_", " "),
        ]
        for row in verdict.rows
    ]
    text = output.render(headers, rows, form, numeric_from=3)
    if form != "table":
        return text
    said = "passed" if verdict.passed else "FAILED"
    unit = "ratios are to reading the same bytes and finding their newlines"
    return f"{text}{said}; {unit}; baselines: {verdict.baseline_path}\n"


def _size(given: str | None, default: float) -> int:
    try:
        megabytes = default if given is None else float(given)
    except ValueError:
        megabytes = math.nan
    if not 0.01 <= megabytes <= 1_000_000:
        raise UsageError(f"--size-mb {given}: write a number of megabytes, 0.01 or more")
    return int(megabytes * MB)


def _tolerance(given: str | None, default: Tolerance) -> Tolerance:
    if given is None:
        return default
    cpu, comma, wall = given.partition(",")
    try:
        shares = {"cpu": float(cpu), "wall": float(wall) if comma else default.wall}
        if not all(map(math.isfinite, shares.values())):
            raise ValueError(given)
        return msgspec.convert(shares, Tolerance)
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"--tolerance {given}: write shares such as 0.2 or 0.2,0.6, from 0 to 100") from error


def _require_writable(path: Path) -> None:
    """Says before anything is measured that the baselines could not be written."""
    if path.is_dir():
        raise UsageError(f"--baseline {path}: is a folder; name a file")
    folder = next(one for one in path.absolute().parents if one.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise TokenLedgerError(f"--baseline {path}: cannot be written in {folder}; name a file elsewhere")
