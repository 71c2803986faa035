"""The perf gate in documents: baselines, a gate's verdict, the trend of recorded runs.

Here: their shapes and schema versions.  Not here: results of a bench (``contracts.bench``), or how anything is compared
(``bench.gate``, ``bench.trend``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenledger_dagster.contracts.bench import Machine, Versions

PERF_SCHEMA_VERSION = 1

Figure = Literal["cpu", "wall"]
"""Processor time, or time by the clock; both as ratios to the reference."""
Match = Literal["exact", "nearest", "none"]
"""``exact``: same month, workload and machine class; ``nearest``: same workload, another machine class or month."""
Verdict = Literal["ok", "regressed", "wrong", "no_baseline", "not_measured"]
Course = Literal["ok", "slower", "too_few"]

_Ratio = Annotated[float, msgspec.Meta(gt=0)]


class BaselineEntry(msgspec.Struct, kw_only=True, frozen=True):
    """What one step came to on one kind of machine."""

    scenario: str
    step: str
    workload: str
    """``workload.name`` of the bench result."""
    month: str
    machine_class: str
    """``machine.class_key`` of the bench result."""
    reference: str
    cpu: _Ratio
    wall: _Ratio
    rounds: int
    recorded_at: str
    tokenledger: str
    commit: str | None = None


class Baselines(msgspec.Struct, kw_only=True):
    """The file that a gate compares with."""

    schema_version: int = PERF_SCHEMA_VERSION
    generated_at: str
    entries: list[BaselineEntry]
    """Sorted by workload, month, machine class, scenario and step."""


class Tolerance(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """By which share of its baseline a ratio may exceed it."""

    cpu: Annotated[float, msgspec.Meta(ge=0, le=100)]
    wall: Annotated[float, msgspec.Meta(ge=0, le=100)]


class GateRow(msgspec.Struct, kw_only=True):
    """One figure of one step."""

    scenario: str
    step: str
    figure: Figure
    workload: str | None = None
    """None where it was not measured, as ``ratio``."""
    ratio: float | None = None
    baseline: float | None = None
    """None where nothing fits, as the next."""
    limit: float | None = None
    """The highest ratio that passes."""
    match: Match = "none"
    baseline_machine: str | None = None
    verdict: Verdict


class GateResult(msgspec.Struct, kw_only=True):
    """One gate."""

    schema_version: int = PERF_SCHEMA_VERSION
    generated_at: str
    kind: str = "gate"
    passed: bool
    strict: bool
    duration_ms: int
    baseline_path: str
    result_paths: list[str]
    """The bench results that were judged: one, or two where something was measured again."""
    tolerance: Tolerance
    nearest_factor: float
    """By how much ``tolerance`` is multiplied where the match is ``nearest``."""
    measured_again: list[str]
    """Scenarios that were above a limit at first; the lower ratio of both times counts."""
    machine: Machine
    versions: Versions
    rows: list[GateRow]
    failures: list[str]
    """Why it did not pass, a line each."""
    notes: list[str]
    """What a person should know of a verdict that passed."""


class TrendPoint(msgspec.Struct, kw_only=True):
    """One recorded run."""

    generated_at: str
    commit: str | None
    ratio: float
    wall_s: float


class TrendRow(msgspec.Struct, kw_only=True):
    """One step over the runs of a window: same workload, month and machine class as the latest run."""

    scenario: str
    step: str
    workload: str
    month: str
    machine_class: str
    runs: int
    wall_p50_s: float
    """Over all rounds of all runs, as the next; nearest rank."""
    wall_p95_s: float
    mb_per_s: float | None
    """Median of the runs' own medians, as the next two; None where nothing new was read."""
    events_per_s: float | None
    ratio: float
    """Processor time over that of the reference."""
    latest_ratio: float
    change: float | None
    """Of the latest ratio against the median of the runs before it, as a share; None where there are none."""
    verdict: Course
    points: list[TrendPoint]
    """From the earliest to the latest."""


class TrendResult(msgspec.Struct, kw_only=True):
    """What recorded runs say."""

    schema_version: int = PERF_SCHEMA_VERSION
    generated_at: str
    kind: str = "trend"
    passed: bool
    """Whether no step became slower than ``threshold`` allows."""
    window: int
    """Runs looked at most, the latest ones."""
    least_runs: int
    threshold: float
    rows: list[TrendRow]
    other_runs: int
    """Recorded runs in none of the rows: of another workload or machine class, or before the window."""
    skipped: dict[str, int]
    """Files that hold no run to compare, by reason."""
