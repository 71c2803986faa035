"""Results as files: made from scenarios, kept in the home, read again.

Here: stamps, names and the one place where a result's JSON is read.  Not here: its shape (``contracts.bench``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tokenledger_dagster.bench.machine import machine, versions
from tokenledger_dagster.contracts.bench import (
    BENCH_SCHEMA_VERSION,
    BenchResult,
    ClientsResult,
    ProfileResult,
    Scenario,
)
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home


def now_text() -> str:
    """This moment, RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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


def keep(home: Home, result: BenchResult | ProfileResult | ClientsResult) -> Path:
    """Writes the result under ``bench/``, and a bench also as ``latest-summary.json``; returns the first path."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = home.bench / f"{stamp}.json"
    write_json_atomic(path, result)
    if isinstance(result, BenchResult):
        write_json_atomic(home.bench_summary_path, result)
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


def latest_growth(home: Home) -> Path:
    """The last kept growth run.  Raises TokenLedgerError where there is none."""
    for path in sorted(home.bench.glob("*.json"), reverse=True):
        try:
            if read_result(path).kind == "growth":
                return path
        except TokenLedgerError:
            continue  # a profile, or of another version
    raise TokenLedgerError(f"{home.bench}: holds no growth run; make one with `tokenledger bench growth`")
