"""Dagster's own commands work on the checkout with no configuration but the ledger's home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SAMPLE = ROOT / "fixtures" / "sample" / "home"

pytestmark = pytest.mark.slow


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # a history of its own: the checkout's is the user's
    (tmp_path / "dagster_home").mkdir(exist_ok=True)
    # nor must anything be written beside the sample's logs
    shutil.copytree(SAMPLE, tmp_path / "home", dirs_exist_ok=True)
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "TOKENLEDGER_HOME": str(tmp_path / "ledger"),
        "DAGSTER_HOME": str(tmp_path / "dagster_home"),
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (BIN / name).exists(), reason=f"{name} comes with the extra `ui`")


@pytest.mark.parametrize(
    "arguments",
    [
        ("dagster", "definitions", "validate", "-m", "tokenledger_dagster.definitions"),
        ("dagster", "asset", "materialize", "--select", "*", "-m", "tokenledger_dagster.definitions"),
        pytest.param(("dg", "list", "defs"), marks=needs("dg")),
        pytest.param(("dg", "launch", "--assets", "*"), marks=needs("dg")),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_command_succeeds(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = command(tmp_path, *arguments)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if "*" in arguments:
        assert (tmp_path / "ledger" / "tokenledger.duckdb").is_file()


def test_damaged_segment_fails_the_command(tmp_path: Path) -> None:
    everything = ("dagster", "asset", "materialize", "--select", "*", "-m", "tokenledger_dagster.definitions")
    assert command(tmp_path, *everything).returncode == 0
    segment = next((tmp_path / "ledger" / "lake").rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes()[:-1])

    done = command(tmp_path, *everything)

    assert done.returncode == 1
    assert "segments_intact" in done.stdout + done.stderr
