"""CLIProxyAPI files of both versions: events, tokens, skipped rows and requests of every file, pinned by hand.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import World, buckets, totals

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients" / "cliproxyapi" / "realistic"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FILES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no CLIProxyAPI samples beside it"),
]

QUEUE = [(3000, 0, 9000, 800), (40, 3000, 52000, 1200)]
EXPORT = [(40, 0, 52000, 1200), (3000, 0, 9000, 800), (500, 0, 0, 0)]

EXPECTED = {
    # file: events (input, cache write, cache read, output), duplicates, skipped
    "usage-queue-v7.json": (QUEUE, {}, {"zero_usage": 1}),
    "usage-queue-v7.jsonl": (QUEUE, {"cliproxyapi.same_request": 1}, {"zero_usage": 1}),
    "usage-export-v6.json": (EXPORT, {"cliproxyapi.same_request": 1}, {}),
    "management-usage-v6.json": (EXPORT, {"cliproxyapi.same_request": 1}, {}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    summary = world.sync(add_sources=(("cliproxyapi", str(FILES / name)),))
    events, duplicates, skipped = EXPECTED[name]

    assert summary.problems == []
    assert buckets(world.events()) == events
    assert (world.rules(), summary.providers["cliproxyapi"].skipped) == (duplicates, skipped)


def test_the_files_together_tell_five_requests(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sync(add_sources=(("cliproxyapi", str(FILES)),))

    assert totals(world.events()) == (6580, 3000, 122000, 4000)
    assert [(event.time, event.model_raw, event.reasoning) for event in world.events()] == [
        ("2026-02-23T02:00:00.000Z", "claude-opus-4-6", 0),
        ("2026-02-23T09:15:02.123Z", "gpt-5.3-codex", 300),
        ("2026-02-23T18:40:11.000Z", "gpt-5.3-codex", 0),
        ("2026-04-25T00:00:00.000Z", "gpt-5.3-codex", 300),
        ("2026-04-25T00:00:05.500Z", "claude-opus-4-6", 0),
    ]


def test_every_file_is_there() -> None:
    assert {path.name for path in FILES.iterdir()} == set(EXPECTED)
