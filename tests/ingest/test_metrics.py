"""Ingest, booking and pricing tell what they do through the metrics seam."""

from __future__ import annotations

from pathlib import Path

from tokenledger_dagster.home import SAMPLE_HOME, ensure_home
from tokenledger_dagster.ingest.sync import SyncOptions, sync
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics


def test_a_first_sync_of_the_sample(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    sync(ensure_home(tmp_path, "test"), {"HOME": str(SAMPLE_HOME)}, SyncOptions(), metrics)

    assert metrics.value(names.INGEST_RECORDS, client="claude-code") == 71
    assert metrics.value(names.INGEST_RECORDS, client="codex") == 63
    assert metrics.value(names.INGEST_SOURCES, client="codex") == 14
    assert metrics.value(names.INGEST_SKIPPED, client="claude-code", reason="blank") == 3
    assert metrics.value(names.INGEST_CACHE, outcome="miss") == 32
    assert metrics.value(names.BOOKING_EVENTS, client="claude-code") == 54
    assert metrics.value(names.BOOKING_DUPLICATES, rule="claude.stream_copy") == 9
    assert metrics.value(names.PRICING_EVENTS, outcome="priced") == 94
    assert metrics.value(names.PRICING_EVENTS, outcome="unpriced") == 1
    assert len(metrics.observations(names.BOOKING_DURATION)) == 1
    assert len(metrics.observations(names.INGEST_DURATION)) == 1
