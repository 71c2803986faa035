"""``tokenledger bench``: speed, memory and exactness on made-up logs; the growth chart; a profile.

Here: arguments, tables, exit codes.  Not here: measuring (``bench``), the perf gate and the trend (``cli.bench_gate``,
``cli.bench_trend``).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.bench.corpus import MB, SHAPES, Spec
from tokenledger_dagster.bench.results import keep, latest_growth, make_result, read_result
from tokenledger_dagster.bench.runner import run_scenarios
from tokenledger_dagster.bench.scenarios import SCENARIOS, USUAL, Options
from tokenledger_dagster.cli import bench_cache, bench_gate, bench_trend, common, golden, output
from tokenledger_dagster.cli.actions import add_action, examples_of
from tokenledger_dagster.clients.registry import client_name, clients
from tokenledger_dagster.contracts.bench import BenchResult, ClientsResult, ProfileResult, Step
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.fileio import write_atomic, write_json_atomic
from tokenledger_dagster.settings import Settings

ACTIONS = {
    "run": "measure a first reading, unchanged and grown logs, and a polling status bar",
    "growth": "measure first reading, unchanged and grown logs at several sizes",
    "chart": "draw the growth curve of a kept result as SVG",
    "profile": "say where the time of a first reading goes, stage by stage",
    "clients": "measure a first reading and a little more of every client's fixtures",
    "cache": bench_cache.ABOUT,
    "golden": golden.ABOUT,
    "gate": bench_gate.ABOUT,
    "trend": bench_trend.ABOUT,
}
_ACTION_EXAMPLES = {
    "run": ("run", "run --size-mb 200 --scenario warm-tail --rounds 7", "run --shape many-files --format json"),
    "growth": ("growth --sizes 200,1000,4000 --out growth.json",),
    "chart": ("chart --from growth.json --out growth.svg", "chart --out growth.svg"),
    "profile": ("profile --size-mb 200",),
    "clients": ("clients --client amp --client droid",),
    "cache": bench_cache.EXAMPLES,
    "golden": golden.EXAMPLES,
    "gate": bench_gate.EXAMPLES,
    "trend": bench_trend.EXAMPLES,
}


def _examples(*actions: str) -> str:
    return examples_of("bench", (example for action in actions for example in _ACTION_EXAMPLES[action]))


EXAMPLES = {"bench": _examples(*ACTIONS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One group of arguments for each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = {"run": _add_run, "growth": _add_growth, "chart": _add_chart, "profile": _add_profile}
    add |= {"clients": _add_clients, "gate": bench_gate.add_arguments, "trend": bench_trend.add_arguments}
    add["golden"] = golden.add_arguments
    add["cache"] = bench_cache.add_arguments
    for name, about in ACTIONS.items():
        one = add_action(actions, "bench", name, about, _examples(name))
        add[name](one)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs one action; exits 1 where a figure is not the generator's, or the program got slower."""
    actions: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
        "run": _run,
        "growth": _growth,
        "chart": _chart,
        "profile": _profile,
        "clients": _clients,
        "cache": bench_cache.run,
        "golden": golden.run,
        "gate": bench_gate.run,
        "trend": bench_trend.run,
    }
    return actions[args.action](args, settings)


# -------------------------------------------------------------------- arguments


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_size(parser, "50")
    parser.add_argument("--shape", choices=SHAPES, default="default", help="one file, or files of about 5 KB each")
    parser.add_argument(
        "--scenario",
        choices=tuple(SCENARIOS),
        action="append",
        default=[],
        help="only this one (repeatable; default: all but day, which takes minutes)",
    )
    _add_rounds(parser)
    parser.add_argument(
        "--polls", metavar="N", type=int, help="polls of burst (default: 60) and of day (default: 5760)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the logs and their truth.json where they are")
    _add_output(parser)


def _add_growth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", metavar="MB,MB", default="200,1000,4000", help="default: 200,1000,4000")
    _add_seed(parser)
    _add_rounds(parser)
    _add_output(parser)


def _add_chart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", metavar="FILE", help="kept result (default: the home's last growth)")
    parser.add_argument("--out", metavar="FILE", required=True, help="the SVG to write")


def _add_profile(parser: argparse.ArgumentParser) -> None:
    _add_size(parser, "50")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="runs of each stage (default: 3)")
    _add_output(parser)


def _add_clients(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", metavar="NAME", action="append", default=[], help="only this one (repeatable)")
    parser.add_argument("--size-mb", metavar="MB", default="5", help="about so much of each client (default: 5)")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="timed runs of each step (default: 3)")
    parser.set_defaults(seed=0)
    _add_output(parser)


def _add_size(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--size-mb", metavar="MB", default=default, help=f"size of the logs in millions of bytes (default: {default})"
    )
    _add_seed(parser)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="equal seeds make equal logs (default: 1)")


def _add_rounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="timed runs of each step (default: 5)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the untimed runs that measure memory")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE", help="write the JSON result there too")
    output.add_format(parser, ("table", "json"))


def _spec(size: str, args: argparse.Namespace, option: str, shape: Any = "default") -> Spec:
    try:
        megabytes = float(size)
    except ValueError:
        megabytes = math.nan
    if not 0.01 <= megabytes <= 1_000_000:
        raise UsageError(f"{option} {size}: write a number of megabytes, 0.01 or more")
    for name in ("rounds", "polls"):
        given = getattr(args, name, None)
        if given is not None and given < 1:
            raise UsageError(f"--{name} {given}: write a number above 0")
    if args.out:
        _require_writable(Path(args.out))
    return Spec(int(megabytes * MB), args.seed, shape)


def _require_writable(path: Path) -> None:
    """Says before anything is measured that the result could not be written."""
    if path.is_dir():
        raise UsageError(f"--out {path}: is a folder; name a file")
    folder = next(one for one in path.absolute().parents if one.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise TokenLedgerError(f"--out {path}: cannot be written in {folder}; name a file elsewhere")


# -------------------------------------------------------------------- actions


def _run(args: argparse.Namespace, settings: Settings) -> int:
    spec = _spec(args.size_mb, args, "--size-mb", args.shape)
    names = [name for name in SCENARIOS if name in (args.scenario or USUAL)]
    return _measure("run", [spec], names, args, settings)


def _growth(args: argparse.Namespace, settings: Settings) -> int:
    specs = [_spec(size.strip(), args, "--sizes") for size in args.sizes.split(",")]
    return _measure("growth", specs, ["cold-backfill", "warm-tail"], args, settings)


def _measure(kind: str, specs: list[Spec], names: list[str], args: argparse.Namespace, settings: Settings) -> int:
    polls = getattr(args, "polls", None)
    options = Options(rounds=args.rounds, memory=not args.no_memory)
    if polls is not None:
        options = msgspec.structs.replace(options, polls=polls, day_polls=polls)
    kept = getattr(args, "keep", False)
    started = time.monotonic()
    common.open_home(settings)  # a home that cannot be used is said before anything is measured
    scenarios = [one for spec in specs for one in run_scenarios(spec, names, options, common.note, kept=kept)]
    result = make_result(kind, scenarios, round((time.monotonic() - started) * 1000))
    _keep(result, args, settings)
    if args.format == "json":
        output.print_json(result)
    else:
        sys.stdout.write(_table(result))
    return _verdict(result)


def _chart(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.bench.chart import growth_svg

    source = Path(args.source) if args.source else latest_growth(common.open_home(settings))
    try:
        drawn = growth_svg(read_result(source))
    except FileNotFoundError as error:
        raise TokenLedgerError(
            f"{source}: is not there; make one with `tokenledger bench growth --out FILE`"
        ) from error
    write_atomic(Path(args.out), drawn.encode())
    common.note(f"drew {source} as {args.out}")
    return 0


def _profile(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.bench.profile import profile

    spec = _spec(args.size_mb, args, "--size-mb")
    common.open_home(settings)
    result = profile(spec, args.rounds, common.note)
    _keep(result, args, settings)
    if args.format == "json":
        output.print_json(result)
        return 0
    rows = [[one.name, f"{one.cpu_s:.3f}", f"{one.share:.0%}"] for one in result.stages]
    sys.stdout.write(output.render(["Stage", "CPU s", "Share"], rows, "table"))
    about = f"{result.corpus.bytes / MB:,.1f} MB, {result.corpus.events:,} events"
    spent = f"{result.total_cpu_s:.3f} s of processor time, {result.total_wall_s:.3f} s wall"
    print(f"{about}: {spent}; the limit (read and walk) is {result.limit_cpu_s:.3f} s")
    return 0


def _clients(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.bench.clients import measure_clients

    spec = _spec(args.size_mb, args, "--size-mb")
    names = [client_name(given) for given in args.client]
    if None in names:
        raise UsageError(f"--client {args.client[names.index(None)]}: no such client; known are {', '.join(clients())}")
    result = measure_clients([name for name in names if name], spec.size, args.rounds, common.note)
    _keep(result, args, settings)
    if args.format == "json":
        output.print_json(result)
        return 0
    headers = ["Client", "MB", "Files", "Records", "Cold s", "MB/s", "Records/s", "Tail s"]
    rows = [
        [
            one.client,
            f"{one.bytes / MB:,.1f}",
            f"{one.files:,}",
            f"{one.records:,}",
            f"{one.cold_s:.3f}",
            f"{one.mb_per_s:,.1f}",
            f"{one.records_per_s:,.0f}",
            f"{one.tail_s:.3f}",
        ]
        for one in result.clients
    ]
    sys.stdout.write(output.render(headers, rows, "table", numeric_from=1))
    return 0


# -------------------------------------------------------------------- results


def _keep(result: BenchResult | ProfileResult | ClientsResult, args: argparse.Namespace, settings: Settings) -> None:
    common.note(f"kept in {keep(common.open_home(settings), result)}")
    if args.out:
        write_json_atomic(Path(args.out), result)


def _table(result: BenchResult) -> str:
    headers = ["Scenario", "Step", "MB", "Rounds", "Wall s", "p95 s", "CPU s", "MB/s", "Events/s", "Peak MB", "Figures"]
    rows = [
        [scenario.name, step.name, f"{scenario.corpus.bytes / MB:,.1f}", *_figures(step)]
        for scenario in result.scenarios
        for step in scenario.steps
    ]
    text = output.render(headers, rows, "table", numeric_from=2)
    machine = result.machine
    foot = (
        f"{machine.cpu_model}, {machine.cores} cores, {machine.system}, {machine.python}; medians of whole processes\n"
    )
    lakes = [f"{one.name} {one.lake.files} files, {one.lake.bytes / MB:,.1f} MB" for one in result.scenarios]
    return f"{text}{foot}lake at the end: {'; '.join(lakes)}\n"


def _figures(step: Step) -> list[str]:
    median = step.median
    return [
        str(len(step.rounds)),
        f"{median.wall_s:.3f}",
        f"{median.wall_p95_s:.3f}",
        f"{median.cpu_s:.3f}",
        "-" if median.mb_per_s is None else f"{median.mb_per_s:,.1f}",
        "-" if median.events_per_s is None else f"{median.events_per_s:,.0f}",
        "-" if step.memory is None else f"{step.memory.peak_bytes / MB:,.0f}",
        "exact" if step.correctness.passed else f"{step.correctness.different} WRONG",
    ]


def _verdict(result: BenchResult) -> int:
    """1 where a figure is wrong; the first ones are told."""
    for scenario in result.scenarios:
        for step in scenario.steps:
            for one in step.correctness.first_differences:
                where = ", ".join(part for part in (scenario.name, step.name, one.day, one.model) if part)
                common.note(f"WRONG: {where}: {one.figure} is {one.actual:,}, should be {one.expected:,}")
    return 0 if result.passed else 1
