"""Every event of a rewritten source can be shown again: what its evidence names hashes to what was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.goldens import world_of
from tokenledger_dagster.usage.evidence import explain

CLIENTS = ("opencode", "kilo", "cline", "roo", "amp")


@pytest.mark.parametrize("client", CLIENTS)
def test_every_event_verifies(tmp_path: Path, client: str) -> None:
    world = world_of(client, tmp_path)
    world.sync()
    events = explain(world.ledger, [event.event_id for event in world.events()], verify=True)

    assert events
    assert {one.status for event in events for one in event.evidence} == {"verified"}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_source_that_is_gone_is_told_as_gone(tmp_path: Path, client: str) -> None:
    world = world_of(client, tmp_path)
    world.sync()
    for path in [path for path in world.home_dir.rglob("*") if path.is_file()]:
        path.unlink()
    events = explain(world.ledger, [event.event_id for event in world.events()], verify=True)

    assert {event.status for event in events} == {"source_gone"}
