"""Every client's fixtures give exactly their golden, in one sync or in several, and again from the beginning."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.clients.goldens import FIXTURES, booked, found_in, world_of

CLIENTS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))


def expected(client: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / client / "expected.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_a_sync_gives_the_golden(tmp_path: Path, client: str) -> None:
    assert found_in(world_of(client, tmp_path)) == expected(client)


@pytest.mark.parametrize("client", CLIENTS)
def test_reading_everything_again_changes_no_event(tmp_path: Path, client: str) -> None:
    world = world_of(client, tmp_path)
    found_in(world)
    world.sync(no_cache=True)
    world.sync(full=True)

    assert booked(world) == expected(client)["events"]


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_files_that_appear_one_by_one_give_the_same_events(tmp_path: Path, client: str) -> None:
    world = world_of(client, tmp_path)
    files = sorted(path for path in world.home_dir.rglob("*") if path.is_file())
    aside = {path: path.with_name(f"{path.name}.aside") for path in files}
    for path, other in aside.items():
        path.rename(other)
    world.sync()
    for path in reversed(files):
        aside[path].rename(path)
        found_in(world)

    if client in OBSERVED_SUMS:
        assert usage_of(booked(world)) == usage_of(expected(client)["events"])
        return
    found = [{name: event[name] for name in ("event_id", "usage")} for event in booked(world)]
    wanted = [{name: event[name] for name in ("event_id", "usage")} for event in expected(client)["events"]]
    assert sorted(found, key=lambda event: event["event_id"]) == sorted(wanted, key=lambda event: event["event_id"])


OBSERVED_SUMS = ("droid", "goose")
"""Clients that keep running sums: how often these were looked at decides into how many events they fall."""


def usage_of(events: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Counters by session."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        found[event["session"]].update(event["usage"])
    return dict(found)
