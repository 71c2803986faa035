"""The sample home gives exactly what was derived by hand in fixtures/sample/expected.json."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support import Event, World, set_mtime
from tokenledger_dagster.contracts.summaries import IngestSummary

SAMPLE = Path(__file__).resolve().parents[2] / "fixtures" / "sample"
EXPECTED: dict[str, Any] = json.loads((SAMPLE / "expected.json").read_text())


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, IngestSummary]:
    world = World(tmp_path_factory.mktemp("sample"))
    shutil.rmtree(world.home_dir)
    shutil.copytree(SAMPLE / "home", world.home_dir)
    return world, world.sync()


@pytest.fixture
def events(synced: tuple[World, IngestSummary]) -> list[Event]:
    return synced[0].events()


def sums(events: list[Event]) -> dict[str, int]:
    return {
        "events": len(events),
        "input_tokens": sum(event.input for event in events),
        "output_tokens": sum(event.output for event in events),
        "cache_write_tokens": sum(event.cache_write for event in events),
        "cache_write_1h_tokens": sum(event.cache_write_1h for event in events),
        "cache_read_tokens": sum(event.cache_read for event in events),
        "reasoning_tokens": sum(event.reasoning for event in events),
    }


def grouped(events: list[Event], *keys: Any) -> Any:
    """Sums by one or two keys, nested."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[keys[0](event)].append(event)
    return {name: grouped(own, *keys[1:]) if keys[1:] else sums(own) for name, own in found.items()}


def test_every_usage_row_is_booked_or_a_duplicate_by_its_rule(
    synced: tuple[World, IngestSummary], events: list[Event]
) -> None:
    assert len(events) == EXPECTED["events"] == 95
    assert synced[0].rules() == EXPECTED["duplicates_by_rule"]
    assert synced[1].ledger == {"records": 134, "events": 95, "duplicates": 39}


def test_totals_by_client(events: list[Event]) -> None:
    assert grouped(events, lambda event: event.client) == EXPECTED["totals"]


def test_days(events: list[Event]) -> None:
    assert grouped(events, lambda event: event.time[:10], lambda event: event.client) == EXPECTED["by_day"]


def test_models_as_logged(events: list[Event]) -> None:
    assert grouped(events, lambda event: event.model_raw) == EXPECTED["by_model_raw"]


def test_sessions(events: list[Event]) -> None:
    assert grouped(events, lambda event: event.client, lambda event: event.session) == EXPECTED["by_session"]


def test_web_searches_unpriced_events_and_configured_models(
    synced: tuple[World, IngestSummary], events: list[Event]
) -> None:
    booked = {rid for (rid,) in synced[0].query("SELECT rid FROM events")}
    records = [one for one in synced[0].records() if one["rid"] in booked and "model_from_config" in one["flags"]]
    configured = Counter(one["model_raw"] for one in records)

    assert sum(event.web_searches for event in events) == EXPECTED["web_search_requests"]
    assert [event.model_raw for event in events if event.nano is None] == ["acme-coder-9"] * EXPECTED["unpriced_events"]
    assert dict(configured) == EXPECTED["fallback_model_events"]


def test_skipped_lines(synced: tuple[World, IngestSummary]) -> None:
    assert {name: provider.skipped for name, provider in synced[1].providers.items()} == EXPECTED["skipped"]


def test_no_line_of_the_sample_is_a_problem(synced: tuple[World, IngestSummary]) -> None:
    assert synced[1].problems == []


def test_no_event_depends_on_when_the_sample_was_checked_out(
    synced: tuple[World, IngestSummary], tmp_path: Path
) -> None:
    world = World(tmp_path)
    shutil.rmtree(world.home_dir)
    shutil.copytree(SAMPLE / "home", world.home_dir)
    for path in world.home_dir.rglob("*.jsonl*"):
        set_mtime(path, 1_000_000_000)
    world.sync()

    assert world.booked() == synced[0].booked()
