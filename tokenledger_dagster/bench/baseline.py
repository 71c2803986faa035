"""Baselines: what each step came to before, as ratios, on which logs and which kind of machine.

Here: reading and writing the file, adding a run to it, and finding the entry that a run is held against.  Not here: the
verdict (``bench.gate``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster.bench.results import now_text
from tokenledger_dagster.contracts.bench import BenchResult
from tokenledger_dagster.contracts.perf import PERF_SCHEMA_VERSION, BaselineEntry, Baselines, Match
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.settings import DEFAULT_CONFIG

PATH = DEFAULT_CONFIG.with_name("perf_baseline.json")
_LARGEST_FILE = 16 << 20


class Key(NamedTuple):
    """What a measured step is looked up by."""

    scenario: str
    step: str
    workload: str
    month: str
    machine_class: str
    reference: str


class Found(NamedTuple):
    """An entry, and how well it fits."""

    entry: BaselineEntry | None
    match: Match


def read_baselines(path: Path) -> Baselines:
    """The baselines of a file.

    Raises:
        TokenLedgerError: it is missing, no file of baselines, or of another schema version.
    """
    remedy = "`tokenledger bench gate --record --baseline FILE` makes one"
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TokenLedgerError(f"{path}: is larger than {_LARGEST_FILE >> 20} MB, so no baselines; {remedy}")
        found = msgspec.json.decode(path.read_bytes(), type=Baselines)
    except OSError as error:
        raise TokenLedgerError(f"{path}: {error.strerror or error}; {remedy}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenLedgerError(f"{path}: holds no baselines ({error}); {remedy}") from error
    if found.schema_version != PERF_SCHEMA_VERSION:
        raise TokenLedgerError(f"{path}: has schema version {found.schema_version}; record it anew with this version")
    return found


def find(entries: Sequence[BaselineEntry], key: Key) -> Found:
    """The entry of the same month, workload and machine class; else the nearest one of the same workload.

    Nearest is the same month before another one, then the machine class that shares most parts, then the one recorded
    last.
    """
    same = [
        one
        for one in entries
        if (one.scenario, one.step, one.workload, one.reference)
        == (key.scenario, key.step, key.workload, key.reference)
    ]
    if not same:
        return Found(None, "none")

    def nearness(one: BaselineEntry) -> tuple[bool, int, str, str]:
        return one.month == key.month, _shared(one.machine_class, key.machine_class), one.recorded_at, one.machine_class

    best = max(same, key=lambda one: (_is_exact(one, key), *nearness(one)))
    return Found(best, "exact" if _is_exact(best, key) else "nearest")


def entries_of(result: BenchResult) -> list[BaselineEntry]:
    """Every step of a run that has a ratio, as baselines."""
    return [
        BaselineEntry(
            scenario=scenario.name,
            step=step.name,
            workload=scenario.workload.name,
            month=scenario.workload.month,
            machine_class=result.machine.class_key,
            reference=step.ratio.reference,
            cpu=step.ratio.cpu,
            wall=step.ratio.wall,
            rounds=len(step.rounds),
            recorded_at=result.generated_at,
            tokenledger=result.versions.tokenledger,
            commit=result.versions.commit,
        )
        for scenario in result.scenarios
        for step in scenario.steps
        if scenario.workload is not None and step.ratio is not None
    ]


def record(path: Path, result: BenchResult) -> int:
    """Writes a run's ratios into a file of baselines, in place of those of the same keys; returns how many.

    Raises:
        TokenLedgerError: the file that is there holds no baselines, or cannot be written.
    """
    before = read_baselines(path).entries if path.exists() else []
    new = {_key_of(entry): entry for entry in entries_of(result)}
    merged = {**{_key_of(entry): entry for entry in before}, **new}
    entries = sorted(merged.values(), key=_order)
    try:
        write_json_atomic(path, Baselines(generated_at=now_text(), entries=entries))
    except OSError as error:
        raise TokenLedgerError(f"{path}: {error.strerror or error}; name a file elsewhere with --baseline") from error
    return len(new)


def _is_exact(entry: BaselineEntry, key: Key) -> bool:
    return (entry.month, entry.machine_class) == (key.month, key.machine_class)


def _shared(one: str, other: str) -> int:
    """Parts of two machine classes that are the same, wherever they stand."""
    split = [set(name.replace("/", "-").split("-")) for name in (one, other)]
    return len(split[0] & split[1])


def _key_of(entry: BaselineEntry) -> Key:
    return Key(entry.scenario, entry.step, entry.workload, entry.month, entry.machine_class, entry.reference)


def _order(entry: BaselineEntry) -> tuple[str, ...]:
    return (entry.workload, entry.month, entry.machine_class, entry.scenario, entry.step, entry.reference)
