"""Bench results by hand, for tests of what is said about them.

Here: a run whose rounds and reference take stated seconds.  Not here: measuring anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tokenledger_dagster.bench.scenarios import medians, ratio_of
from tokenledger_dagster.contracts.bench import (
    BenchResult,
    CorpusFacts,
    Correctness,
    LakeFacts,
    Machine,
    Round,
    Scenario,
    Step,
    Versions,
    WorkloadFacts,
)
from tokenledger_dagster.contracts.perf import BaselineEntry

EPYC = "linux-x86_64-2x-amd-epyc/32gib/cpython-3.11"
EPYC_64 = "linux-x86_64-2x-amd-epyc/64gib/cpython-3.11"
APPLE = "darwin-arm64-10x-apple-m4/32gib/cpython-3.13"
STEP_OF = {"cold-backfill": "cold", "warm-tail": "tail", "burst": "poll"}
DEFINITION = "0a1b2c3d"


def spent(cpu: float, wall: float | None = None, new_bytes: int = 0, new_events: int = 0) -> Round:
    """A process of so many seconds."""
    wall = cpu if wall is None else wall
    return Round(wall_s=wall, user_s=cpu, system_s=0.0, new_bytes=new_bytes, new_events=new_events)


def step(name: str, rounds: list[Round], reference: list[Round], *, wrong: int = 0) -> Step:
    return Step(
        name=name,
        command=["tokenledger"],
        rounds=rounds,
        median=medians(rounds),
        correctness=Correctness(passed=not wrong, compared=10, different=wrong),
        reference=reference,
        ratio=ratio_of(rounds, reference),
    )


def workload(scenario: str, megabytes: int = 100, month: str = "2025-12") -> WorkloadFacts:
    return WorkloadFacts(
        name=f"{scenario}/{megabytes}MB/default/seed-1/{DEFINITION}",
        size=megabytes * 1_000_000,
        shape="default",
        seed=1,
        month=month,
        definition=DEFINITION,
    )


def scenario(name: str, found: Step, facts: WorkloadFacts | None = None) -> Scenario:
    corpus = CorpusFacts(shape="default", seed=1, bytes=100_000_000, files=10, events=1_000, usage_rows=2_000)
    return Scenario(
        name=name,
        corpus=corpus,
        steps=[found],
        lake=LakeFacts(files=1, bytes=1),
        workload=workload(name) if facts is None else facts,
    )


def run(scenarios: list[Scenario], machine_class: str = EPYC, at: str = "2026-02-18T09:00:00Z") -> BenchResult:
    return BenchResult(
        generated_at=at,
        kind="run",
        passed=all(one.correctness.passed for found in scenarios for one in found.steps),
        duration_ms=1,
        machine=Machine(
            machine_class="", cpu_model="", cores=2, memory_bytes=None, system="", python="", class_key=machine_class
        ),
        versions=Versions(tokenledger="0.1.0", commit="abc", msgspec="0", sqlite="0"),
        scenarios=scenarios,
    )


def usual_run(ratios: Mapping[str, float | tuple[float, float]], **more: Any) -> BenchResult:
    """One round of each scenario, against a reference of one second; a ratio, or those of processor and wall time."""
    found = []
    for name, ratio in ratios.items():
        cpu, wall = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        found.append(scenario(name, step(STEP_OF[name], [spent(cpu, wall)], [spent(1.0)])))
    return run(found, **more)


def entry(name: str, cpu: float = 10.0, wall: float = 10.0, **more: Any) -> BaselineEntry:
    """A baseline of the usual workload on the usual machine."""
    found = BaselineEntry(
        scenario=name,
        step=STEP_OF[name],
        workload=workload(name).name,
        month="2025-12",
        machine_class=EPYC,
        reference="newline-walk-1",
        cpu=cpu,
        wall=wall,
        rounds=11,
        recorded_at="2026-01-01T00:00:00Z",
        tokenledger="0.1.0",
    )
    return msgspec.structs.replace(found, **more)
