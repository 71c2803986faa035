"""What is measured: a first reading, unchanged and slightly grown logs, and a status bar that polls, or polls all day.

Here: the order of runs in each scenario and the comparison after each.  Not here: spawning (``bench.process``), logs
(``bench.corpus``), or what becomes of the results (``bench.results``).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.bench import process
from tokenledger_dagster.bench.corpus import MB, Corpus, Spec
from tokenledger_dagster.bench.reference import REFERENCE
from tokenledger_dagster.bench.truth import FIRST_DIFFERENCES, compare
from tokenledger_dagster.bench.workload import definition, load_workload
from tokenledger_dagster.contracts.bench import (
    Correctness,
    Difference,
    LakeFacts,
    Medians,
    Memory,
    Ratio,
    Round,
    Scenario,
    Step,
    WorkloadFacts,
)
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.ingest.sync import SyncOptions, sync

REPORT = ("report", "daily", "--format", "json", "--tz", "UTC")
SNAPSHOT = ("snapshot",)
TAIL_SHARE = 0.01
"""How much a corpus grows before each round of the step ``tail``."""

_SAY_POLLS = 500

Say = Callable[[str], None]


class Options(msgspec.Struct, frozen=True):
    """How often."""

    rounds: int = 5
    polls: int = 60
    day_polls: int = 5_760
    """Eight hours of one every five seconds."""
    memory: bool = True
    """Whether each step is run once more, untimed, for its memory."""


class Bench:
    """One corpus, measured in scenarios; each has a home of its own."""

    def __init__(self, corpus: Corpus, folder: Path, options: Options, say: Say) -> None:
        self._corpus = corpus
        self._folder = folder
        self._options = options
        self._say = say
        self._walked = corpus.bytes
        """What the reference reads, however much is appended later: its work stays the same."""

    def run(self, name: str) -> Scenario:
        """Runs the scenario of this name."""
        facts = self._corpus.facts
        home = self._new_home(name)
        steps = SCENARIOS[name](self, home)
        lake, workload = lake_facts(home), workload_facts(name, self._corpus.spec)
        found = Scenario(name=name, corpus=facts, steps=steps, lake=lake, workload=workload)
        shutil.rmtree(home.root)
        return found

    def cold_backfill(self, home: Home) -> list[Step]:
        """Every round begins with an empty home."""

        def empty() -> tuple[int, int]:
            shutil.rmtree(home.root)
            ensure_home(home.root, "bench")
            return self._corpus.bytes, self._corpus.truth.events

        return [self._step("cold", home, self._options.rounds, empty)]

    def warm_tail(self, home: Home) -> list[Step]:
        """After a first reading: nothing changed, then every round a little never seen before."""
        self._fill(home)
        size = max(1, int(self._corpus.bytes * TAIL_SHARE))
        warm = self._step("warm", home, self._options.rounds, lambda: (0, 0))
        return [
            warm,
            self._step("tail", home, self._options.rounds, lambda: self._grown(lambda: self._corpus.grow(size))),
        ]

    def burst(self, home: Home) -> list[Step]:
        """A status bar: a request is logged, the bar asks, again and again; at the end every cell is compared."""
        self._fill(home)
        polls = self._step("poll", home, self._options.polls, lambda: self._grown(self._corpus.touch), SNAPSHOT)
        ran = self._spawn(REPORT, home)
        polls.correctness = _joined([polls.correctness, compare(json.loads(ran.output), self._corpus.truth)])
        return [polls]

    def day(self, home: Home) -> list[Step]:
        """A status bar that polls for a whole day, and a report before and after it: the ledger must not grow slow.

        The polls are syncs in this process, so that thousands of them take minutes; the reports are processes.
        """
        self._fill(home)
        grow = self._corpus.work
        before = self._step("before", home, self._options.rounds, lambda: self._grown(grow))
        polls = self._polls(home, self._options.day_polls)
        after = self._step("after", home, self._options.rounds, lambda: self._grown(grow))
        return [before, polls, after]

    # ---------------------------------------------------------------- parts of a scenario

    def _new_home(self, name: str) -> Home:
        return ensure_home(self._folder / f"home-{name}", "bench")

    def _fill(self, home: Home) -> None:
        self._say("  first reading (not timed)")
        self._spawn(REPORT, home)

    def _grown(self, grow: Callable[[], None]) -> tuple[int, int]:
        """Bytes and events that ``grow`` adds."""
        size, events = self._corpus.bytes, self._corpus.truth.events
        grow()
        return self._corpus.bytes - size, self._corpus.truth.events - events

    def _step(
        self, name: str, home: Home, count: int, prepare: Callable[[], tuple[int, int]], command: Sequence[str] = REPORT
    ) -> Step:
        rounds: list[Round] = []
        reference: list[Round] = []
        checked: list[Correctness] = []
        for number in range(1, count + 1):
            new_bytes, new_events = prepare()
            reference.append(self._reference(home))
            ran = self._spawn(command, home)
            rounds.append(msgspec.structs.replace(ran.round, new_bytes=new_bytes, new_events=new_events))
            checked.append(self._check(json.loads(ran.output)))
            if name != "poll" or number % 20 == 0 or number == count:
                self._say(f"  {name} {number} of {count}: {ran.round.wall_s:.3f} s")
        memory: Memory | None = None
        if self._options.memory and name != "poll":
            prepare()
            ran, memory = process.run_for_memory(command, self._environ(home), self._folder)
            checked.append(self._check(json.loads(ran.output)))
            self._say(f"  {name}, memory: {memory.peak_bytes / MB:.0f} MB")
        return Step(
            name=name,
            command=["tokenledger", *command],
            rounds=rounds,
            median=medians(rounds),
            memory=memory,
            correctness=_joined(checked),
            reference=reference,
            ratio=ratio_of(rounds, reference),
        )

    def _polls(self, home: Home, count: int) -> Step:
        """Syncs in this process, each after the rows of a few requests; what they come to is compared at the end."""
        rounds: list[Round] = []
        environ = self._environ(home)
        for number in range(1, count + 1):
            new_bytes, new_events = self._grown(self._corpus.work)
            started, spent = time.perf_counter(), os.times()
            sync(home, environ, SyncOptions())
            wall, done = time.perf_counter() - started, os.times()
            user, system = done.user - spent.user, done.system - spent.system
            rounds.append(Round(wall_s=wall, user_s=user, system_s=system, new_bytes=new_bytes, new_events=new_events))
            if number % _SAY_POLLS == 0 or number == count:
                self._say(f"  poll {number:,} of {count:,}: {wall:.3f} s, {lake_facts(home).files} files")
        ran = self._spawn((*REPORT, "--no-sync"), home)
        correctness = self._check(json.loads(ran.output))
        return Step(name="poll", command=["sync()"], rounds=rounds, median=medians(rounds), correctness=correctness)

    def _spawn(self, command: Sequence[str], home: Home) -> process.Ran:
        return process.run(command, self._environ(home), self._folder)

    def _reference(self, home: Home) -> Round:
        return process.run_reference(self._corpus.home, self._walked, self._environ(home), self._folder)

    def _environ(self, home: Home) -> dict[str, str]:
        return process.environment(self._corpus.home, home.root)

    def _check(self, document: dict[str, Any]) -> Correctness:
        """A report by all its cells, a UI snapshot by its month's tokens."""
        if "rows" in document:
            return compare(document, self._corpus.truth)
        month, tokens = document["month"], document["totals"]["tokens"]
        expected = self._corpus.truth.totals(month).total_tokens
        if tokens == expected:
            return Correctness(passed=True, compared=1, different=0)
        wrong = Difference(day=month, model="", figure="total_tokens", actual=tokens, expected=expected)
        return Correctness(passed=False, compared=1, different=1, first_differences=[wrong])


USUAL = ("cold-backfill", "warm-tail", "burst")
"""What runs unless asked otherwise; a day takes minutes."""
SCENARIOS: dict[str, Callable[[Bench, Home], list[Step]]] = {
    "cold-backfill": Bench.cold_backfill,
    "warm-tail": Bench.warm_tail,
    "burst": Bench.burst,
    "day": Bench.day,
}


def medians(rounds: Sequence[Round]) -> Medians:
    """Of each figure by itself; rates from the rounds' own bytes and events."""
    walls = sorted(one.wall_s for one in rounds)
    read = [one for one in rounds if one.new_bytes]
    return Medians(
        wall_s=statistics.median(walls),
        cpu_s=statistics.median(one.cpu_s for one in rounds),
        wall_p95_s=walls[math.ceil(0.95 * len(walls)) - 1],
        mb_per_s=statistics.median(one.new_bytes / MB / one.wall_s for one in read) if read else None,
        events_per_s=statistics.median(one.new_events / one.wall_s for one in read) if read else None,
    )


def ratio_of(rounds: Sequence[Round], reference: Sequence[Round]) -> Ratio | None:
    """Medians of each round's ratio to the reference before it, whose conditions it shared; None without any."""
    pairs = [(one, other) for one, other in zip(rounds, reference, strict=True) if other.cpu_s > 0 and other.wall_s > 0]
    if not pairs:
        return None
    return Ratio(
        reference=REFERENCE,
        cpu=round(statistics.median(one.cpu_s / other.cpu_s for one, other in pairs), 4),
        wall=round(statistics.median(one.wall_s / other.wall_s for one, other in pairs), 4),
    )


def workload_facts(scenario: str, spec: Spec) -> WorkloadFacts:
    """What a scenario over a corpus of this kind is told apart by."""
    digest = definition()
    return WorkloadFacts(
        name=f"{scenario}/{spec.size / MB:g}MB/{spec.shape}/seed-{spec.seed}/{digest}",
        size=spec.size,
        shape=spec.shape,
        seed=spec.seed,
        month=load_workload().first_day[:7],
        definition=digest,
    )


def lake_facts(home: Home) -> LakeFacts:
    """Files below ``lake/`` and their size, the manifest among them."""
    sizes = [path.stat().st_size for path in home.lake.rglob("*") if path.is_file()]
    return LakeFacts(files=len(sizes), bytes=sum(sizes))


def _joined(checked: Sequence[Correctness]) -> Correctness:
    first = [difference for one in checked for difference in one.first_differences]
    return Correctness(
        passed=all(one.passed for one in checked),
        compared=sum(one.compared for one in checked),
        different=sum(one.different for one in checked),
        first_differences=first[:FIRST_DIFFERENCES],
    )
