"""The perf gate: measured ratios against their baselines, and every figure exact.

Here: the verdict as a pure function of a run and its baselines, and the run that a gate measures.  Not here: which
entry fits (``bench.baseline``), tolerances (``bench.policy``), scenarios.

What counts is never seconds but how often the reference (``bench.reference``) could have run meanwhile: a slow machine
passes, a slowed program does not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tokenledger_dagster.bench import baseline
from tokenledger_dagster.bench.baseline import Key
from tokenledger_dagster.bench.corpus import MB, Spec
from tokenledger_dagster.bench.policy import GatePolicy
from tokenledger_dagster.bench.results import keep, keep_gate, make_result, now_text, read_result
from tokenledger_dagster.bench.runner import run_scenarios
from tokenledger_dagster.bench.scenarios import USUAL, Options, Say
from tokenledger_dagster.contracts.bench import BenchResult, Scenario, Step
from tokenledger_dagster.contracts.perf import (
    BaselineEntry,
    Figure,
    GateResult,
    GateRow,
    Tolerance,
    Verdict,
)
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home

FIGURES: tuple[Figure, ...] = ("cpu", "wall")
FIGURE_NAMES = {"cpu": "processor time", "wall": "wall time"}


class Judged(msgspec.Struct, frozen=True):
    """The verdict on a run."""

    rows: list[GateRow]
    failures: list[str]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def regressed(self) -> list[str]:
        """Scenarios above a limit."""
        return list(dict.fromkeys(row.scenario for row in self.rows if row.verdict == "regressed"))


class GateOptions(msgspec.Struct, frozen=True):
    """What a gate measures and how strictly it judges."""

    size: int
    """Bytes of logs."""
    rounds: int
    tolerance: Tolerance
    nearest_factor: float
    seed: int = 1
    scenarios: tuple[str, ...] = USUAL
    strict: bool = False
    baseline: Path = baseline.PATH


def gate_options(policy: GatePolicy) -> GateOptions:
    """The policy's own."""
    return GateOptions(
        size=int(policy.size_mb * MB),
        rounds=policy.rounds,
        tolerance=policy.tolerance,
        nearest_factor=policy.nearest_factor,
    )


def judge(result: BenchResult, entries: Sequence[BaselineEntry], options: GateOptions) -> Judged:
    """Holds every step of a run against its baseline.

    A ratio passes up to and including ``baseline * (1 + tolerance)``; against a nearest match the tolerance is
    multiplied.  Depends on ratios and exactness alone, not on how long anything took.
    """
    rows = [
        row
        for scenario in result.scenarios
        for step in scenario.steps
        for row in _step_rows(scenario, step, result.machine.class_key, entries, options)
    ]
    rows += _missing_rows(result, entries)
    return Judged(rows, _failures(rows, strict=options.strict), _notes(rows, strict=options.strict))


def measure(options: GateOptions, say: Say, scenarios: Sequence[str] | None = None) -> BenchResult:
    """Runs scenarios over logs of their own, with the reference in turn.

    Raises:
        TokenLedgerError: the disk has no room, or a measured command failed.
    """
    started = time.monotonic()
    names = [name for name in USUAL if name in (options.scenarios if scenarios is None else scenarios)]
    rounds = Options(rounds=options.rounds, polls=options.rounds, memory=False)
    found = run_scenarios(Spec(options.size, options.seed), names, rounds, say, kept=False)
    return make_result("run", found, round((time.monotonic() - started) * 1000))


def run_bench(home: Home, options: GateOptions, say: Say) -> tuple[BenchResult, Path]:
    """Measures the scenarios of a gate and judges nothing; returns the result and where the home keeps it.

    Raises:
        TokenLedgerError: the disk has no room, or a measured command failed.
    """
    result = measure(options, say)
    return result, keep(home, result)


def run_gate(home: Home, options: GateOptions, say: Say) -> tuple[GateResult, Path]:
    """Measures, judges, and keeps all documents in the home; returns the verdict and its path.

    A scenario above a limit is measured once more, on logs written anew, and the lower ratio of both times counts:
    something else may have run meanwhile, but what the program itself became slower by is there both times.

    Raises:
        TokenLedgerError: there are no baselines to read, the disk has no room, or a measured command failed.
    """
    entries = baseline.read_baselines(options.baseline).entries
    started = time.monotonic()
    result, path = run_bench(home, options, say)
    paths = [str(path)]
    judged = judge(result, entries, options)
    again = judged.regressed
    if again:
        say(f"above a limit, measured once more: {', '.join(again)}")
        second = measure(options, say, again)
        paths.append(str(keep(home, second, is_latest=False)))  # it lacks the scenarios that passed
        result = _lower(result, second)
        judged = judge(result, entries, options)
    return _kept(home, result, judged, options, paths, again, started)


def judge_file(home: Home, path: Path, options: GateOptions) -> tuple[GateResult, Path]:
    """The verdict on a kept result, kept in the home; returns it and its path.

    Raises:
        TokenLedgerError: the file holds no bench result, or one of an earlier version, without ratios.
    """
    started = time.monotonic()
    try:
        result = read_result(path)
    except OSError as error:
        raise TokenLedgerError(
            f"{path}: {error.strerror or error}; make one with `tokenledger bench run --out FILE`"
        ) from error
    if not baseline.entries_of(result):
        raise TokenLedgerError(f"{path}: holds no ratios to a reference; measure anew with this version")
    entries = baseline.read_baselines(options.baseline).entries
    return _kept(home, result, judge(result, entries, options), options, [str(path)], [], started)


def _kept(
    home: Home,
    result: BenchResult,
    judged: Judged,
    options: GateOptions,
    paths: list[str],
    again: list[str],
    started: float,
) -> tuple[GateResult, Path]:
    verdict = GateResult(
        generated_at=now_text(),
        passed=judged.passed,
        strict=options.strict,
        duration_ms=round((time.monotonic() - started) * 1000),
        baseline_path=str(options.baseline),
        result_paths=paths,
        tolerance=options.tolerance,
        nearest_factor=options.nearest_factor,
        measured_again=again,
        machine=result.machine,
        versions=result.versions,
        rows=judged.rows,
        failures=judged.failures,
        notes=judged.notes,
    )
    return verdict, keep_gate(home, verdict)


# -------------------------------------------------------------------- rows


def _step_rows(
    scenario: Scenario, step: Step, machine_class: str, entries: Sequence[BaselineEntry], options: GateOptions
) -> list[GateRow]:
    right = step.correctness.passed
    if scenario.workload is None or step.ratio is None:
        return [_row(scenario.name, step.name, figure, "not_measured" if right else "wrong") for figure in FIGURES]
    workload, ratio = scenario.workload, step.ratio
    key = Key(scenario.name, step.name, workload.name, workload.month, machine_class, ratio.reference)
    entry, match = baseline.find(entries, key)
    factor = options.nearest_factor if match == "nearest" else 1.0
    rows = []
    for figure in FIGURES:
        measured: float = getattr(ratio, figure)
        held: float | None = None if entry is None else getattr(entry, figure)
        limit = None if held is None else limit_of(held, getattr(options.tolerance, figure) * factor)
        told: Verdict = "no_baseline" if limit is None else "ok" if measured <= limit else "regressed"
        row = _row(scenario.name, step.name, figure, told if right else "wrong")
        row.workload, row.match = workload.name, match
        row.ratio, row.baseline, row.limit = measured, held, limit
        row.baseline_machine = None if entry is None else entry.machine_class
        rows.append(row)
    return rows


def limit_of(held: float, tolerance: float) -> float:
    """The highest ratio that passes, with the four decimals that ratios have."""
    return round(held * (1 + tolerance), 4)


def _missing_rows(result: BenchResult, entries: Sequence[BaselineEntry]) -> list[GateRow]:
    """Steps of a gate that the run lacks: the usual scenarios, and what the baselines hold for them."""
    measured = {(scenario.name, step.name) for scenario in result.scenarios for step in scenario.steps}
    known = {(one.scenario, one.step) for one in entries if one.scenario in USUAL}
    lacking = sorted(known - measured, key=lambda pair: (USUAL.index(pair[0]), pair[1]))
    named = {name for name, _ in measured | known}
    lacking += [(name, "-") for name in USUAL if name not in named]
    return [_row(scenario, step, figure, "not_measured") for scenario, step in lacking for figure in FIGURES]


def _row(scenario: str, step: str, figure: Figure, verdict: Verdict) -> GateRow:
    return GateRow(scenario=scenario, step=step, figure=figure, verdict=verdict)


def _failures(rows: Sequence[GateRow], *, strict: bool) -> list[str]:
    told = []
    for row in rows:
        place = f"{row.scenario}, {row.step}"
        if row.verdict == "wrong":
            told.append(f"{place}: a figure is not what the logs hold")
        elif row.verdict == "regressed":
            told.append(f"{place}: {FIGURE_NAMES[row.figure]} is {row.ratio} times the reference, above {row.limit}")
        elif strict and row.verdict == "not_measured":
            told.append(f"{place}: was not measured, and --strict wants every scenario")
        elif strict and row.match != "exact":
            told.append(f"{place}: no baseline of this month, workload and machine class, and --strict wants one")
    return list(dict.fromkeys(told))


def _notes(rows: Sequence[GateRow], *, strict: bool) -> list[str]:
    told = []
    for row in rows:
        place = f"{row.scenario}, {row.step}"
        if row.match == "nearest":
            held = f"held against {row.baseline_machine}, with wider limits"
            told.append(f"no baseline of this month and machine class; {held}")
        elif row.verdict == "no_baseline":
            told.append(f"{place}: no baseline of this workload, so nothing is judged but its figures")
        elif row.verdict == "not_measured" and not strict:
            told.append(f"{place}: was not measured")
    return list(dict.fromkeys(told))


# -------------------------------------------------------------------- two runs


def _lower(first: BenchResult, second: BenchResult) -> BenchResult:
    """The first run with the lower ratios of both; a wrong figure of either stays."""
    later = {(scenario.name, step.name): step for scenario in second.scenarios for step in scenario.steps}

    def best(scenario: Scenario, step: Step) -> Step:
        other = later.get((scenario.name, step.name))
        if other is None or step.ratio is None or other.ratio is None or not step.correctness.passed:
            return step
        cpu, wall = min(step.ratio.cpu, other.ratio.cpu), min(step.ratio.wall, other.ratio.wall)
        ratio = msgspec.structs.replace(step.ratio, cpu=cpu, wall=wall)
        return msgspec.structs.replace(step, ratio=ratio, correctness=other.correctness)

    scenarios = [
        msgspec.structs.replace(scenario, steps=[best(scenario, step) for step in scenario.steps])
        for scenario in first.scenarios
    ]
    return msgspec.structs.replace(first, scenarios=scenarios)
