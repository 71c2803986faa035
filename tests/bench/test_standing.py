"""The stages ``bench`` and ``perf_gate`` of a pipeline summary: what a home keeps, or why it keeps nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.bench.recorded import EPYC, usual_run
from tokenledger_dagster.bench import gate
from tokenledger_dagster.bench.baseline import record
from tokenledger_dagster.bench.gate import GateOptions, run_gate
from tokenledger_dagster.bench.results import keep
from tokenledger_dagster.bench.standing import stages
from tokenledger_dagster.contracts.perf import Tolerance
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.home import Home, ensure_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "bench")


def test_home_without_benches_says_how_to_make_them(home: Home) -> None:
    found = stages(home)

    assert found["bench"].skipped
    assert found["bench"].details == {"reason": "no bench yet; `tokenledger bench run` makes one"}
    assert found["perf_gate"].skipped
    assert found["perf_gate"].details == {"reason": "no gate yet; `tokenledger bench gate` runs one"}


def test_last_bench_tells_when_what_and_how_fast(home: Home) -> None:
    keep(home, usual_run({"burst": 2.0}, at="2026-02-18T09:00:00Z"))
    found = stages(home)["bench"]

    assert not found.skipped
    assert found.details == {
        "measured_at": "2026-02-18T09:00:00Z",
        "passed": True,
        "scenarios": ["burst"],
        "steps": {"burst/poll": {"wall_s": 2.0, "mb_per_s": None, "events_per_s": None, "ratio": 2.0}},
        "machine_class": EPYC,
        "commit": "abc",
        "summary": str(home.bench_summary_path),
    }


def test_last_verdict_tells_its_baseline_and_failures(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = tmp_path / "baseline.json"
    record(baselines, usual_run({"burst": 2.0}))
    slow = usual_run({"burst": 3.0})
    monkeypatch.setattr(gate, "measure", lambda *_: slow)
    tolerance = Tolerance(cpu=0.2, wall=0.6)
    run_gate(home, GateOptions(size=1, rounds=1, tolerance=tolerance, nearest_factor=3, baseline=baselines), print)

    found = stages(home)

    assert found["perf_gate"].details == {
        "judged_at": found["perf_gate"].details["judged_at"],
        "passed": False,
        "strict": False,
        "baseline": str(baselines),
        "match": "exact",
        "failures": ["burst, poll: processor time is 3.0 times the reference, above 2.4"],
        "commit": "abc",
        "summary": str(home.gate_summary_path),
    }
    assert not found["bench"].skipped  # the run that was judged
    encode_json(found)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be understood"),
        (b"\x00\x01", "cannot be understood"),
        (b'{"schema_version": 1}', "cannot be understood"),
        (b"[" * 100_000, "cannot be understood"),
        (b" " * ((4 << 20) + 1), "is larger than 4 MB"),
    ],
)
def test_file_that_is_no_result_skips_the_stage_and_is_named(home: Home, content: bytes, told: str) -> None:
    home.bench.mkdir()
    for path in (home.bench_summary_path, home.gate_summary_path):
        path.write_bytes(content)

    found = stages(home)

    for name, path in (("bench", home.bench_summary_path), ("perf_gate", home.gate_summary_path)):
        assert found[name].skipped
        assert found[name].details["reason"].startswith(f"{path}: {told}")


def test_result_of_another_version_is_told(home: Home) -> None:
    keep(home, msgspec.structs.replace(usual_run({"burst": 2.0}), schema_version=7))

    assert "has schema version 7" in stages(home)["bench"].details["reason"]


def test_folder_in_the_place_of_a_file_is_told(home: Home) -> None:
    home.bench_summary_path.mkdir()

    assert "Is a directory" in stages(home)["bench"].details["reason"]


def test_reading_takes_milliseconds_and_imports_nothing_heavy(home: Home) -> None:
    rounds = {"cold-backfill": 10.0, "warm-tail": 3.0, "burst": 2.0}
    keep(home, usual_run(rounds))
    took = []
    for _ in range(5):
        started = time.process_time()
        stages(home)
        took.append(time.process_time() - started)
    assert min(took) < 0.005

    heavy = ("duckdb", "pandas", "pyarrow", "dagster", "yaml", "tokenledger_dagster.bench.scenarios")
    code = f"import sys, tokenledger_dagster.bench.standing; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
