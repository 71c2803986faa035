"""What no other file shows becomes rows in bulk: the same rows, in every value, that booking each would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import World, claude, claude_progress, meta, spawned_by, tokens, turn
from tokenledger_dagster.bench.corpus import Corpus, Spec
from tokenledger_dagster.ingest import ledger
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling_rows import StandingRows

_EVENT = "e.event_id, e.grp, e.rid, e.session_no, e.model_no, e.timestamp_us, e.shared, e.is_estimated"
_PRICED = "e.booking_flags, e.channel, e.list_price_nano, e.list_basis, e.price_confidence, e.requested_context"
_COUNTED = (
    "e.input_tokens, e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.tool_input_tokens, "
    "e.tool_output_tokens, e.cache_write_1h_tokens, e.reasoning_tokens, e.web_search_requests"
)


def rows(world: World) -> tuple[list[Any], list[Any], list[Any]]:
    """Events and records without the numbers of events, and what a reader looks them up by."""
    events = f"SELECT {_EVENT}, {_COUNTED}, {_PRICED}, e.priced_context, e.unpriced_reason FROM events e ORDER BY e.rid"
    records = (
        "SELECT r.rid, r.grp, r.stream_no, r.session_no, r.copy, e.rid, r.rule "
        "FROM records r LEFT JOIN events e USING (event_no) ORDER BY r.rid"
    )
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name"
    return world.query(events), world.query(records), world.query(indexes)


def pack_states(world: World) -> set[int]:
    connection = connect(world.ledger, read_only=True)
    try:
        return {state for (states,) in connection.execute("SELECT states FROM packs") for state in states}
    finally:
        connection.close()


def both(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """One home settled in bulk, one by general booking alone; both have read the same logs."""
    world.sync()
    slow = World(tmp_path / "slow")
    slow.environ = world.environ
    slow.sync(host="another")
    with monkeypatch.context() as patched:
        patched.setattr(StandingRows, "take", lambda *_: None)
        slow.query("SELECT 1")
    return world, slow


def test_bulk_makes_the_rows_that_booking_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_INDEX_ROWS", 100)
    world = World(tmp_path / "fast")
    Corpus(world.home_dir, Spec(3_000_000, 5)).write()
    fast, slow = both(tmp_path, world, monkeypatch)

    assert rows(fast) == rows(slow)
    assert fast.cells() == slow.cells()


def test_bulk_knows_repetitions_replays_and_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "fast")
    own = claude("m9", "r9", session="s1", sidechain=True, agentId="a1")
    searched = {"input_tokens": 7, "output_tokens": 3, "cache_creation_input_tokens": 9, "cache_read_input_tokens": 1}
    split = {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}
    tools = {"web_search_requests": 2, "web_fetch_requests": 0}
    full = {**searched, "cache_creation": split, "server_tool_use": tools, "service_tier": "standard"}
    world.claude(
        claude("m1", "r1", output=1),
        claude("m1", "r1", output=8, minutes=1, costUSD=0.25),
        claude("m2", "r2", usage=full, minutes=2),
        claude("m3", None, output=400_000, read=300_000, minutes=3, model="claude-unheard-of"),
        claude_progress(own),
        claude_progress(own),
    )
    world.codex(
        meta("t1"),
        turn(),
        tokens((100, 40, 10, 5), (100, 40, 10, 5)),
        tokens((100, 40, 10, 5), (100, 40, 10, 5), minutes=1),
        tokens((300_000, 40, 20, 5), (299_900, 0, 10, 0), minutes=2),
    )
    world.codex(
        meta("t2", source=spawned_by("gone"), forked_from_id="gone"),
        turn(),
        tokens((50, 0, 5), (50, 0, 5)),
        tokens((90, 0, 9), (40, 0, 4), minutes=4),
        name="2026/02/18/rollout-2026-02-18T09-00-00-t2.jsonl",
    )
    fast, slow = both(tmp_path, world, monkeypatch)

    assert len(pack_states(fast)) > 1
    assert rows(fast) == rows(slow)
    assert fast.cells() == slow.cells()
