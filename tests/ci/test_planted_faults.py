"""Every gate of `make ci` lets a whole checkout pass and stops one with its own kind of fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENV = Path(sys.executable).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="needs make and git"),
]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the checkout holds, ignored files aside."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    target = tmp_path_factory.mktemp("pristine")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture
def checkout(pristine: Path, tmp_path: Path) -> Path:
    """One of one's own, to plant a fault in."""
    return Path(shutil.copytree(pristine, tmp_path / "checkout"))


def gate(checkout: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Runs a make target with this interpreter's packages and the copy's code."""
    environ = {**os.environ, "HOME": str(checkout.parent), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environ.pop("DAGSTER_HOME", None)
    # what is installed stays as it is; the copy's own modules come first
    run = f"env PYTHONPATH={checkout} PATH={VENV}:{os.environ['PATH']}"
    command = ["make", target, "UV=true", "SYNC=true", f"RUN={run}", f"VENV={checkout.parent / 'venv'}"]
    (checkout.parent / "venv").mkdir(exist_ok=True)
    return subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, timeout=540, check=False)


def edit(checkout: Path, name: str, old: str, new: str) -> None:
    path = checkout / name
    text = path.read_text("utf-8")
    assert old in text, f"{name} says no longer {old!r}: plant the fault elsewhere"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def change_a_total(checkout: Path) -> None:
    logs = sorted((checkout / "fixtures/sample/home/.claude/projects").rglob("*.jsonl"))
    log = next(one for one in logs if '"output_tokens":' in one.read_text("utf-8"))
    text = log.read_text("utf-8")
    head, _, tail = text.partition('"output_tokens":')
    log.write_text(f'{head}"output_tokens":9{tail}', encoding="utf-8")


def lose_a_scenario(checkout: Path) -> None:
    """The golden file knows one that no report has."""
    path = checkout / "fixtures/golden/sample.json"
    document = json.loads(path.read_text("utf-8"))
    scenarios = document["scenarios"]
    assert scenarios
    if isinstance(scenarios, dict):
        scenarios["hourly"] = next(iter(scenarios.values()))
    else:
        scenarios.append({**scenarios[0], "name": "hourly"})
    path.write_text(json.dumps(document), encoding="utf-8")


def leave_a_model_without_a_price(checkout: Path) -> None:
    edit(checkout, "fixtures/gate/pricing.json", "acme-coder-9", "acme-coder-8")


def let_the_book_go_stale(checkout: Path) -> None:
    edit(checkout, "fixtures/gate/pricing.json", '"updated_at": "@TODAY@', '"updated_at": "2026-01-01')


def edit_the_ledger_by_hand(checkout: Path) -> None:
    edit(checkout, "ledger/unified_model_provider_ledger.csv", ",anthropic,", ",openai,")


def break_the_snapshot(checkout: Path) -> None:
    edit(
        checkout,
        "tokenledger_dagster/exports/ui_snapshot.py",
        "encode_plain(document))",
        "encode_plain({**document, 'totals': None}))",
    )


def take_an_asset_out(checkout: Path) -> None:
    edit(checkout, "assets/exports.py", "ASSETS = [warehouse, ui_snapshot, ", "ASSETS = [warehouse, ")


def slow_the_scanner(checkout: Path) -> None:
    """Half as long again for every block that is read."""
    path = checkout / "tokenledger_dagster/ingest/scan.py"
    path.write_text(path.read_text("utf-8") + SLOWER, encoding="utf-8")


SLOWER = """

_unhurried = scan


def scan(*arguments, **options):
    import time

    begun = time.process_time()
    found = _unhurried(*arguments, **options)
    until = time.process_time() + 1.5 * (time.process_time() - begun)
    while time.process_time() < until:
        pass
    return found
"""


@pytest.mark.parametrize("target", ["graph", "ledger-diff", "pricing-ci", "golden-verify", "sample-ci", "quality-ci"])
def test_a_whole_checkout_passes(checkout: Path, target: str) -> None:
    done = gate(checkout, target)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "plant", "word"),
    [
        ("golden-verify", change_a_total, "output_tokens"),
        ("golden-verify", lose_a_scenario, "hourly"),
        ("pricing-ci", leave_a_model_without_a_price, "everything_priced"),
        ("pricing-ci", let_the_book_go_stale, "stale_book"),
        ("ledger-diff", edit_the_ledger_by_hand, "unified_model_provider_ledger.csv"),
        ("sample-ci", break_the_snapshot, "ui_snapshot"),
        ("graph", take_an_asset_out, "test_graph_is_the_committed_one"),
        ("bench-gate", slow_the_scanner, "cold-backfill"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_each_fault_is_stopped(checkout: Path, target: str, plant: Callable[[Path], None], word: str) -> None:
    plant(checkout)
    done = gate(checkout, target)

    assert done.returncode != 0, done.stdout + done.stderr
    assert word in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
