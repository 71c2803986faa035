"""Where the time of a cold run goes, stage by stage, against what no reader can go below.

Here: timing the stages of ``bench.stages`` over one corpus and taking each from the next.  Not here: the stages.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from tokenledger_dagster.bench import stages
from tokenledger_dagster.bench.corpus import Spec
from tokenledger_dagster.bench.machine import machine, versions
from tokenledger_dagster.bench.results import now_text
from tokenledger_dagster.bench.runner import written_corpus
from tokenledger_dagster.bench.scenarios import Say
from tokenledger_dagster.contracts.bench import ProfileResult, StageCost

LIMIT_STAGES = ("read", "newline walk")
"""What every reader of lines has to do."""


class _Cost(msgspec.Struct, frozen=True):
    wall_s: float
    cpu_s: float


def profile(spec: Spec, rounds: int, say: Say) -> ProfileResult:
    """Profiles a cold run over a new corpus, in this process; each stage's cost is the median of its rounds."""
    with written_corpus(spec, say) as (corpus, folder):
        environ = {"HOME": str(corpus.home)}
        inputs = stages.discover(environ)
        costs: dict[str, float] = {}
        before = 0.0
        stages.read(inputs)  # so that every stage finds the files in memory
        for name, stage in stages.READING.items():
            cost = _median([_measure(partial(stage, inputs)) for _ in range(rounds)])
            costs[name] = max(0.0, cost.cpu_s - before)
            before = max(before, cost.cpu_s)
            say(f"  up to {name}: {cost.cpu_s:.3f} s")
        whole, inside = _whole_runs(environ, folder / "home", rounds)
        say(f"  everything: {whole.cpu_s:.3f} s")
        costs |= inside
        costs["persist"] = max(0.0, whole.cpu_s - before - sum(inside.values()))
        total = sum(costs.values())
        return ProfileResult(
            generated_at=now_text(),
            machine=machine(),
            versions=versions(),
            corpus=corpus.facts,
            total_wall_s=whole.wall_s,
            total_cpu_s=whole.cpu_s,
            limit_cpu_s=sum(costs[name] for name in LIMIT_STAGES),
            stages=[StageCost(name=name, cpu_s=cost, share=cost / total) for name, cost in costs.items()],
        )


def _whole_runs(environ: Mapping[str, str], home: Path, rounds: int) -> tuple[_Cost, dict[str, float]]:
    """Cost of a sync from nothing, and of the stages that are timed inside it."""
    costs: list[_Cost] = []
    parts: list[dict[str, float]] = []
    for _ in range(rounds):
        costs.append(_measure(lambda: parts.append(stages.sync_all(environ, home))))
        shutil.rmtree(home)
    return _median(costs), {name: statistics.median(one[name] for one in parts) for name in parts[0]}


def _measure(step: Callable[[], object]) -> _Cost:
    """Wall time, and processor time of this process and of those it waited for."""
    cpu, wall = _cpu(), time.perf_counter()
    step()
    return _Cost(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def _median(costs: list[_Cost]) -> _Cost:
    return _Cost(statistics.median(one.wall_s for one in costs), statistics.median(one.cpu_s for one in costs))
