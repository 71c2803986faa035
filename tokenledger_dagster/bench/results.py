"""Results as files: made from scenarios, kept in the home, read again.

Here: stamps, names and the one place where a result's JSON is read.  Not here: its shape (``contracts.bench``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster.bench.machine import machine, versions
from tokenledger_dagster.contracts.bench import (
    BENCH_SCHEMA_VERSION,
    BenchResult,
    ClientsResult,
    ProfileResult,
    Scenario,
)
from tokenledger_dagster.contracts.perf import GateResult
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home

RUN_KINDS = ("run", "growth")
"""Kinds of results that hold scenarios."""
_LARGEST_RESULT = 64 << 20


class _Head(msgspec.Struct):
    schema_version: int
    kind: str = ""


def now_text() -> str:
    """This moment, RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def make_result(kind: str, scenarios: Sequence[Scenario], duration_ms: int) -> BenchResult:
    """The result of these scenarios on this machine; it passed where no figure was wrong."""
    return BenchResult(
        generated_at=now_text(),
        kind=kind,
        passed=all(step.correctness.passed for scenario in scenarios for step in scenario.steps),
        duration_ms=duration_ms,
        machine=machine(),
        versions=versions(),
        scenarios=list(scenarios),
    )


def keep(home: Home, result: BenchResult | ProfileResult | ClientsResult, *, is_latest: bool = True) -> Path:
    """Writes the result under ``bench/``, and if it ``is_latest`` a bench also as ``latest-summary.json``.

    Returns the first path.
    """
    path = home.bench / f"{_stamp()}.json"
    write_json_atomic(path, result)
    if is_latest and isinstance(result, BenchResult):
        write_json_atomic(home.bench_summary_path, result)
    return path


def keep_gate(home: Home, verdict: GateResult) -> Path:
    """Writes a verdict under ``bench/``, and as the latest one; returns the first path."""
    path = home.bench / f"{_stamp()}.json"
    write_json_atomic(path, verdict)
    write_json_atomic(home.gate_summary_path, verdict)
    return path


def read_result(path: Path) -> BenchResult:
    """A kept result.

    Raises:
        TokenLedgerError: the file is no bench result, or of another schema version.
        OSError: it cannot be read.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=BenchResult)
    except msgspec.DecodeError as error:
        raise TokenLedgerError(f"{path}: is no bench result ({error}); `tokenledger bench run` makes one") from error
    if found.schema_version != BENCH_SCHEMA_VERSION:
        raise TokenLedgerError(f"{path}: has schema version {found.schema_version}; measure anew with this version")
    return found


class Recorded(NamedTuple):
    """Runs that a home keeps."""

    runs: list[BenchResult]
    """From the earliest to the latest."""
    skipped: dict[str, int]
    """Files that hold no such run, by reason."""


def recorded(home: Home) -> Recorded:
    """Every kept run whose steps can be compared.

    Skipped are files of other kinds (profiles, verdicts), of earlier and later versions, and what cannot be read.
    """
    runs: list[BenchResult] = []
    skipped: Counter[str] = Counter()
    for path in sorted(home.bench.glob("*.json")):
        if path == home.gate_summary_path:
            continue  # a copy
        found = _run_of(path)
        if isinstance(found, str):
            skipped[found] += 1
        else:
            runs.append(found)
    runs.sort(key=lambda run: run.generated_at)
    return Recorded(runs, dict(sorted(skipped.items())))


def _run_of(path: Path) -> BenchResult | str:
    """A run, or why the file holds none."""
    try:
        if not path.is_file():
            return "no file"
        if path.stat().st_size > _LARGEST_RESULT:
            return "too large"
        content = path.read_bytes()
        head = msgspec.json.decode(content, type=_Head)
    except OSError:
        return "unreadable"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "malformed"
    if head.schema_version != BENCH_SCHEMA_VERSION:
        return "other version"
    if head.kind not in RUN_KINDS:
        return "other kind"
    try:
        run = msgspec.json.decode(content, type=BenchResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "malformed"
    if not any(scenario.workload for scenario in run.scenarios) or not run.machine.class_key:
        return "older version"
    return run


def latest_growth(home: Home) -> Path:
    """The last kept growth run.  Raises TokenLedgerError where there is none."""
    for path in sorted(home.bench.glob("*.json"), reverse=True):
        try:
            if read_result(path).kind == "growth":
                return path
        except TokenLedgerError:
            continue  # a profile, or of another version
    raise TokenLedgerError(f"{home.bench}: holds no growth run; make one with `tokenledger bench growth`")
