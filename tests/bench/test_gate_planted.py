"""The gate on copies of the program: the same one passes, one with a slower scanner fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tokenledger_dagster.bench.machine import PACKAGE_ROOT

SMALL = ("--size-mb", "30", "--rounds", "7", "--scenario", "cold-backfill")
SLOWER = """

def _slower(original):
    def walk(handle, take, *rest):
        def slow(data, filled, base):
            for _ in range(8):
                hashlib.blake2b(memoryview(data)[:filled]).digest()
            return take(data, filled, base)

        return original(handle, slow, *rest)

    return walk


walk_blocks = _slower(walk_blocks)
"""


def gate(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the gate of a copy; it measures the copy it belongs to."""
    environ = {**os.environ, "PYTHONPATH": str(tree), "TOKENLEDGER_HOME": str(tree / "home")}
    line = [sys.executable, "-m", "tokenledger_dagster.cli.main", "bench", "gate", *SMALL, *arguments]
    return subprocess.run(line, cwd=tree, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_planted_slow_scanner_fails_and_the_same_program_passes(tmp_path: Path) -> None:
    tree, baselines = tmp_path / "tree", tmp_path / "baseline.json"
    for name in ("tokenledger_dagster", "config"):
        shutil.copytree(PACKAGE_ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert gate(tree, "--record", "--baseline", str(baselines)).returncode == 0

    same = gate(tree, "--baseline", str(baselines))
    with (tree / "tokenledger_dagster" / "ingest" / "reading.py").open("a") as module:
        module.write(SLOWER)
    slower = gate(tree, "--baseline", str(baselines))

    assert same.returncode == 0, same.stdout + same.stderr
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert "FAILED: cold-backfill, cold: processor time is" in slower.stderr
    assert "above a limit, measured once more: cold-backfill" in slower.stderr
