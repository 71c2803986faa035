"""Published files of Cursor: what each gives, pinned by hand.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import World, totals

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients" / "cursor"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FILES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no files of Cursor beside it"),
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("name", "events", "tokens", "cost", "skipped"),
    [
        ("auto", 197, (7_155, 4_444_063, 83_544_576, 699_697), "30.67", {"zero_usage": 2}),
        ("composer-1", 199, (7_139_104, 0, 107_877_418, 727_191), "27.79", {}),
    ],
)
def test_exports(
    world: World, name: str, events: int, tokens: tuple[int, int, int, int], cost: str, skipped: dict[str, int]
) -> None:
    path = FILES / "gerryyang2025+my-tools" / f"usage-events-2025-12-02-{name}.csv"
    summary = world.sync(add_sources=[("cursor", str(path))])
    records = world.records()

    assert (len(world.events()), totals(world.events())) == (events, tokens)
    assert summary.providers["cursor"].skipped == skipped
    assert {event.model_raw for event in world.events()} == {name}
    assert {record["billing_kind"] for record in records} == {"included"}
    assert f"{sum(record['reported_cost_usd'] or 0 for record in records):.2f}" == cost
    assert [record["flags"] for record in records] == [[]] * events
    assert summary.problems == []


def test_chats_of_three_layouts(world: World) -> None:
    shutil.copytree(FILES / "realistic" / "User", world.home_dir / ".config" / "Cursor" / "User")
    summary = world.sync()

    assert summary.problems == []
    assert summary.providers["cursor"].skipped == {
        "zero_usage": 1, "null_value": 1, "invalid_json": 1, "no_usage": 1,
    }  # fmt: skip
    found = [(event.session[:8], event.model_raw, event.time, event.buckets) for event in world.events()]
    assert sorted(found, key=lambda one: (one[2], one[3])) == [
        ("cccccccc", "gpt-4o", "2025-02-08T07:33:20.000Z", (5, 0, 0, 6)),
        ("cccccccc", "gpt-4o", "2025-02-08T07:33:20.000Z", (900, 0, 0, 40)),
        ("aaaaaaaa", "claude-4-sonnet", "2025-05-23T11:33:30.000Z", (18_234, 0, 0, 512)),
        ("aaaaaaaa", "claude-4-sonnet", "2025-05-23T11:33:55.000Z", (20_110, 0, 0, 87)),
        ("task-cal", None, "2025-12-25T22:01:00.000Z", (7, 0, 0, 7)),
    ]
    assert {event.project for event in world.events()} == {"/home/USER/proj", None}


def test_workspaces_without_token_counts(world: World) -> None:
    source = FILES / "michaeldhood+chatrxiv" / "structure-only"
    shutil.copytree(source, world.home_dir / ".config" / "Cursor" / "User")
    summary = world.sync()

    assert (world.events(), summary.problems, summary.sources.seen) == ([], [], 2)


def test_transcripts_and_other_json_hold_no_usage(world: World) -> None:
    folders = (
        "jazzyalex+agent-sessions",
        "getagentseal+codeburn",
        "Dicklesworthstone+coding_agent_session_search",
    )
    for folder in folders:
        shutil.copytree(FILES / folder, world.home_dir / ".cursor" / folder)
    summary = world.sync()

    assert (world.events(), summary.problems, summary.sources.seen) == ([], [], 11)


def test_the_command_lines_own_database_is_no_state(world: World) -> None:
    path = FILES / "jazzyalex+agent-sessions" / "Cursor" / "test-store.db"
    (problem,) = world.sync(add_sources=[("cursor", str(path))]).problems

    assert "its table cursorDiskKV is missing" in problem
    assert world.events() == []
