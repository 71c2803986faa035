"""The trend: what the last recorded runs of the same logs on the same kind of machine say, step by step.

Here: windows, their percentiles, and the latest run against those before it.  Not here: finding the files
(``bench.results``), or drawing (``bench.trend_chart``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from tokenledger_dagster.bench.policy import TrendPolicy
from tokenledger_dagster.bench.results import Recorded, now_text
from tokenledger_dagster.bench.scenarios import SCENARIOS
from tokenledger_dagster.contracts.bench import BenchResult, Ratio, Step, WorkloadFacts
from tokenledger_dagster.contracts.perf import Course, TrendPoint, TrendResult, TrendRow
from tokenledger_dagster.errors import NothingToReport


class _Sample(msgspec.Struct, frozen=True):
    """One step of one run."""

    run: BenchResult
    workload: WorkloadFacts
    step: Step
    ratio: Ratio

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What runs have to share to be compared."""
        return self.workload.name, self.workload.month, self.run.machine.class_key, self.ratio.reference


def trend(found: Recorded, policy: TrendPolicy, scenarios: Sequence[str] = ()) -> TrendResult:
    """The trend of every step of these scenarios, all of them where none is named.

    Of each scenario the runs count that are like its latest one: workload, month, machine class and reference.

    Raises:
        NothingToReport: no run of these scenarios was recorded.
    """
    samples = _samples(found.runs, scenarios)
    if not samples:
        asked = f" of {', '.join(scenarios)}" if scenarios else ""
        told = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items())
        skipped = f" (skipped: {told})" if told else ""
        raise NothingToReport(f"no recorded runs{asked} to compare{skipped}; `tokenledger bench run` records one")
    rows = [
        _row(scenario, step, _window(listed, policy.window), policy) for (scenario, step), listed in samples.items()
    ]
    rows.sort(key=lambda row: list(SCENARIOS).index(row.scenario) if row.scenario in SCENARIOS else len(SCENARIOS))
    used = {id(sample.run) for listed in samples.values() for sample in _window(listed, policy.window)}
    return TrendResult(
        generated_at=now_text(),
        passed=all(row.verdict != "slower" for row in rows),
        window=policy.window,
        least_runs=policy.least_runs,
        threshold=policy.threshold,
        rows=rows,
        other_runs=len(found.runs) - len(used),
        skipped=found.skipped,
    )


def _samples(runs: Sequence[BenchResult], scenarios: Sequence[str]) -> dict[tuple[str, str], list[_Sample]]:
    """Steps with a ratio by scenario and name, from the earliest run to the latest."""
    found: dict[tuple[str, str], list[_Sample]] = {}
    for run in runs:
        for scenario in run.scenarios:
            if scenario.workload is None or (scenarios and scenario.name not in scenarios):
                continue
            for step in scenario.steps:
                # a fast wrong answer is no measurement
                if step.ratio is not None and step.rounds and step.correctness.passed:
                    sample = _Sample(run, scenario.workload, step, step.ratio)
                    found.setdefault((scenario.name, step.name), []).append(sample)
    return found


def _window(samples: Sequence[_Sample], size: int) -> list[_Sample]:
    """The last runs that are like the latest one."""
    return [one for one in samples if one.group == samples[-1].group][-size:]


def _row(scenario: str, step: str, window: Sequence[_Sample], policy: TrendPolicy) -> TrendRow:
    latest = window[-1]
    walls = sorted(one.wall_s for sample in window for one in sample.step.rounds)
    ratios = [sample.ratio.cpu for sample in window]
    before = statistics.median(ratios[:-1]) if len(ratios) > 1 else 0.0
    change = round(ratios[-1] / before - 1, 4) if before > 0 else None
    verdict: Course = "ok"
    if change is None or len(window) < policy.least_runs:
        verdict = "too_few"
    elif change > policy.threshold:
        verdict = "slower"
    return TrendRow(
        scenario=scenario,
        step=step,
        workload=latest.workload.name,
        month=latest.workload.month,
        machine_class=latest.run.machine.class_key,
        runs=len(window),
        wall_p50_s=statistics.median(walls),
        wall_p95_s=walls[math.ceil(0.95 * len(walls)) - 1],
        mb_per_s=_median([sample.step.median.mb_per_s for sample in window]),
        events_per_s=_median([sample.step.median.events_per_s for sample in window]),
        ratio=round(statistics.median(ratios), 4),
        latest_ratio=ratios[-1],
        change=change,
        verdict=verdict,
        points=[
            TrendPoint(
                generated_at=sample.run.generated_at,
                commit=sample.run.versions.commit,
                ratio=sample.ratio.cpu,
                wall_s=sample.step.median.wall_s,
            )
            for sample in window
        ],
    )


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None
