"""Loading and giving up a model again and again leaves nothing behind: no memory, no file, no thread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("measure_leaks.py")
MOST_KIB = 50
"""Of resident memory per cycle, in the second half; the noise of 300 cycles is some tens of KiB in all."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory and threads are read from /proc"),
]


@pytest.fixture(autouse=True)
def runtimes() -> None:
    for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
        pytest.importorskip(package, reason="the extra `inference` is not installed")


def measured(*arguments: str) -> Any:
    """In a process of its own, whose memory nothing else moves."""
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("backend", ["onnx", "numpy"])
def test_three_hundred_cycles_leave_nothing_behind(backend: str) -> None:
    found = measured("--backend", backend, "--cycles", "300")

    assert found["cycles"] == 300
    assert found["kib_per_cycle_second_half"] < MOST_KIB
    assert len(found["files"]) == 1
    assert len(found["threads"]) == 1


def test_a_leak_on_purpose_is_seen() -> None:
    found = measured("--backend", "onnx", "--cycles", "60", "--keep")

    assert found["kib_per_cycle_second_half"] > MOST_KIB
