"""A newer parser reads what is still there anew, and what it makes of a row counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import World, claude
from tokenledger_dagster.clients import claude_code, claude_code_logs, claude_pack, compiled
from tokenledger_dagster.contracts.record import Counters


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_unchanged_files_are_read_again_by_a_newer_parser(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.claude(claude("m1", "r1", output=5))
    world.sync()
    monkeypatch.setattr(claude_code_logs.ClaudeCodeLogs, "parser_version", 2)

    summary = world.sync()

    assert (summary.sources.changed, summary.cache.miss, summary.cache.invalidate) == (1, 1, 1)
    assert [(event.output, event.copies) for event in world.events()] == [(5, ("reread_copy",))]
    assert world.sync().sources.unchanged == 1


def test_the_newer_reading_counts_even_where_the_older_one_says_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude(claude("m1", "r1", output=500))
    world.sync()
    monkeypatch.setattr(claude_code_logs.ClaudeCodeLogs, "parser_version", 2)
    monkeypatch.setattr(claude_code, "counters_of", lambda usage, flag: Counters(output_tokens=7))
    # every line goes to the reader that takes it with care, and that calls the function above
    monkeypatch.setattr(compiled, "bulk", lambda: None)
    monkeypatch.setattr(claude_pack, "decoded_lines", lambda decoder, lines: [None] * len(lines))

    world.sync()

    assert [event.output for event in world.events()] == [7]


def test_what_a_vanished_file_held_stays_as_it_was_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.claude(claude("m1", "r1", output=7))
    world.sync()
    path.unlink()
    monkeypatch.setattr(claude_code_logs.ClaudeCodeLogs, "parser_version", 2)

    world.sync()

    assert [event.output for event in world.events()] == [7]
