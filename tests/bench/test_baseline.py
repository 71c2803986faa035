"""Which baseline a run is held against, and the file they are kept in."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.bench.recorded import APPLE, EPYC, EPYC_64, entry, usual_run, workload
from tokenledger_dagster.bench import baseline
from tokenledger_dagster.bench.baseline import Key, find, read_baselines, record
from tokenledger_dagster.bench.machine import memory_class
from tokenledger_dagster.bench.reference import REFERENCE
from tokenledger_dagster.bench.scenarios import USUAL
from tokenledger_dagster.errors import TokenLedgerError

COLD = Key("cold-backfill", "cold", workload("cold-backfill").name, "2025-12", EPYC, "newline-walk-1")


def test_exact_entry_wins_over_a_later_one_of_another_machine() -> None:
    mine = entry("cold-backfill", cpu=12.0)
    other = entry("cold-backfill", cpu=9.0, machine_class=APPLE, recorded_at="2026-09-09T00:00:00Z")

    assert find([other, mine], COLD) == (mine, "exact")


@pytest.mark.parametrize(
    ("entries", "cpu"),
    [
        # the machine class that shares most parts: system, architecture, cores, processor, memory, interpreter
        ([entry("cold-backfill", 1, machine_class=APPLE), entry("cold-backfill", 2, machine_class=EPYC_64)], 2),
        # the same month before another one, however alike the machine
        ([entry("cold-backfill", 1, month="2025-11"), entry("cold-backfill", 2, machine_class=APPLE)], 2),
        # else the one recorded last
        (
            [
                entry("cold-backfill", 1, machine_class=EPYC_64, recorded_at="2026-03-01T00:00:00Z"),
                entry("cold-backfill", 2, machine_class=EPYC_64, recorded_at="2026-02-01T00:00:00Z"),
            ],
            1,
        ),
    ],
)
def test_without_an_exact_entry_the_nearest_is_told_as_such(entries: list[msgspec.Struct], cpu: float) -> None:
    for listed in (entries, entries[::-1]):
        found = find(listed, COLD)  # type: ignore[arg-type]
        assert found.match == "nearest"
        assert found.entry is not None
        assert found.entry.cpu == cpu


@pytest.mark.parametrize(
    "other",
    [
        entry("cold-backfill", workload=workload("cold-backfill", megabytes=200).name),
        entry("cold-backfill", step="warm"),
        entry("cold-backfill", reference="newline-walk-2"),
        entry("burst"),
    ],
)
def test_other_work_is_no_baseline_at_all(other: msgspec.Struct) -> None:
    assert find([other], COLD) == (None, "none")  # type: ignore[list-item]


def test_recording_replaces_its_own_entries_and_keeps_others(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"

    assert record(path, usual_run({"cold-backfill": 10.0, "burst": 2.0})) == 2
    assert record(path, usual_run({"cold-backfill": 7.0}, machine_class=APPLE)) == 1
    assert record(path, usual_run({"cold-backfill": (11.0, 8.5)})) == 1

    found = read_baselines(path)
    assert [(one.scenario, one.machine_class, one.cpu, one.wall) for one in found.entries] == [
        ("burst", EPYC, 2.0, 2.0),
        ("cold-backfill", APPLE, 7.0, 7.0),
        ("cold-backfill", EPYC, 11.0, 8.5),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no baselines"),
        (b"\x00\x00", "holds no baselines"),
        (b"[]", "holds no baselines"),
        (b'{"schema_version": 1, "generated_at": "", "entries": [{"scenario": "burst"}]}', "missing required field"),
        (b'{"schema_version": 9, "generated_at": "", "entries": []}', "has schema version 9"),
    ],
)
def test_file_that_holds_no_baselines_is_refused_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content)

    with pytest.raises(TokenLedgerError, match=told) as caught:
        read_baselines(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ratio", [0, -1.5, "NaN"])
def test_ratio_that_no_run_can_have_is_refused(tmp_path: Path, ratio: object) -> None:
    path = tmp_path / "baseline.json"
    record(path, usual_run({"burst": 2.0}))
    document = json.loads(path.read_bytes())
    document["entries"][0]["cpu"] = ratio
    path.write_text(json.dumps(document))

    with pytest.raises(TokenLedgerError, match="holds no baselines"):
        read_baselines(path)


def test_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match=r"bench gate --record --baseline FILE` makes one"):
        read_baselines(tmp_path / "none.json")


def test_committed_baselines_cover_every_scenario_in_todays_unit() -> None:
    found = read_baselines(baseline.PATH)

    assert {one.scenario for one in found.entries} == set(USUAL)
    assert {one.reference for one in found.entries} == {REFERENCE}


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (None, "memory-unknown"),
        (500_000_000, "1gib"),
        (1 << 30, "1gib"),
        (25_000_000_000, "32gib"),
        (32 << 30, "32gib"),
        ((32 << 30) + 1, "64gib"),
    ],
)
def test_memory_counts_in_powers_of_two(size: int | None, told: str) -> None:
    assert memory_class(size) == told
