"""With `dagster dev` running and the switch on, a change of a log reaches the UI snapshot within half a minute."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.dagster.measure_daemon import measure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("dagster_webserver"), reason="comes with the extra `ui`"),
]


def test_an_appended_request_reaches_the_snapshot(tmp_path: Path) -> None:
    found = measure(tmp_path, changes=1)

    assert max(found["append_to_snapshot_seconds"]) <= 30
    ran = set(found["assets_run"])
    assert {"sources/codex_logs", "events/codex", "events/booked", "exports/ui_snapshot"} <= ran
    assert ran.isdisjoint({"sources/claude_logs", "events/claude", "events/droid", "pricing/book", "ledger/model_seed"})
