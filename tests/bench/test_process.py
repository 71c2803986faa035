"""Measured processes: what they see, what is measured of them, what is said when they fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tokenledger_dagster.bench import process
from tokenledger_dagster.bench.machine import machine, versions
from tokenledger_dagster.bench.process import BenchError, environment, run, run_for_memory


def test_command_sees_nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKENLEDGER_MONTH", "XDG_CONFIG_HOME", "DAGSTER_HOME", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "/elsewhere")

    found = environment(tmp_path / "logs", tmp_path / "state")

    assert [name for name, value in found.items() if value == "/elsewhere"] == []
    assert (found["HOME"], found["TOKENLEDGER_HOME"]) == (str(tmp_path / "logs"), str(tmp_path / "state"))
    assert found["TOKENLEDGER_LOGS_HOME"] == str(tmp_path / "logs")


def test_process_is_measured(tmp_path: Path) -> None:
    ran = run(["--version"], environment(tmp_path, tmp_path), tmp_path)

    assert ran.output.startswith(b"tokenledger ")
    assert ran.round.cpu_s > 0
    assert ran.round.wall_s > 0
    assert ran.max_rss_bytes > 1_000_000


def test_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"`tokenledger report yearly` ended with 2: .*invalid choice"):
        run(["report", "yearly"], environment(tmp_path, tmp_path), tmp_path)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc")
def test_memory_is_that_of_the_whole_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a parent that holds little and whose child holds 60 MB for a moment
    child = "import time; held = bytearray(60_000_000); time.sleep(0.3)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    monkeypatch.setattr(process, "command_line", lambda arguments: [sys.executable, "-c", parent])

    _, memory = run_for_memory([], dict(os.environ), tmp_path)

    assert memory.method == "pss_of_tree"
    assert 60_000_000 < memory.peak_bytes < 200_000_000


def test_without_proc_the_systems_own_figure_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROC", tmp_path / "none")

    _, memory = run_for_memory(["--version"], environment(tmp_path, tmp_path), tmp_path)

    assert memory.method == "ru_maxrss"
    assert memory.peak_bytes > 1_000_000


def test_machine_and_versions_are_told() -> None:
    found = machine()

    assert found.cores >= 1
    assert found.machine_class.count("-") >= 3
    assert versions().tokenledger
