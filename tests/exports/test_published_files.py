"""A status bar that looks every 5 ms while another process publishes sees whole documents, none older than the last."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import World

ROOT = Path(__file__).parents[2]
PUBLISHES = 200
PUBLISH = """
import pathlib, sys, time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from tokenledger_dagster.contracts.snapshot import Snapshot, SnapshotRow, SnapshotTotals
from tokenledger_dagster.exports.ui_snapshot import write_snapshot
from tokenledger_dagster.home import Home

home, start = Home(pathlib.Path(sys.argv[1])), datetime(2026, 3, 2, tzinfo=UTC)
for number in range(1, int(sys.argv[2]) + 1):
    # long and short documents in turn, so that what is left of one would show in the next
    rows = [
        SnapshotRow(name=f"model-{row}", tokens=number, total_cost_usd=Decimal(number), session_count=1,
                    blended_usd_per_mtok=Decimal(1), list_price_usd=Decimal(number))
        for row in range(400 if number % 2 else 1)
    ]
    totals = SnapshotTotals(cost_usd=Decimal(number), tokens=number, blended_usd_per_mtok=Decimal(1), session_count=1,
                            skipped_unpriced_count=0, list_price_usd=Decimal(number))
    made = (start + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    write_snapshot(home, Snapshot(generated_at=made, month="2026-03", mode="extended", totals=totals, top_providers=[],
                                  top_models=rows, suggestions=[], timezone="UTC", top_clients=[]))
    time.sleep(0.002)
"""


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "docs" / "integrations" / "examples" / "status_bar.py"
    spec = importlib.util.spec_from_file_location("status_bar_of_publishes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_reader_never_sees_half_a_document_nor_an_older_one(bar: ModuleType, world: World) -> None:
    place = world.ledger.ui_snapshot_path
    writer = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(world.ledger.root), str(PUBLISHES)], cwd=ROOT, stderr=subprocess.PIPE
    )
    seen: list[int] = []
    states: set[str] = set()
    try:
        while writer.poll() is None:
            found = bar.read(place)
            if seen or found.state != "absent":  # from the first publish on it is always there
                states.add(found.state)
                seen += [] if found.document is None else [found.document["totals"]["tokens"]]
            time.sleep(0.005)
    finally:
        writer.kill()
        _, said = writer.communicate()

    assert (writer.returncode, said) == (0, b"")
    assert states == {"ok"}
    assert seen == sorted(seen)
    assert len(set(seen)) > 10, "the reader looked while documents were published"
    last = json.loads(place.read_bytes())
    assert (last["totals"]["tokens"], bar.line(world.ledger.root, 0).state) == (PUBLISHES, "ok")
    assert [path.name for path in world.ledger.root.glob(".*.tmp")] == []
