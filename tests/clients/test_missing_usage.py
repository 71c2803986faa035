"""What is no usage, alike for every client: null, missing and empty are none, what is no object is told as such."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.clients.checks import put
from tests.clients.goldens import FIXTURES, world_of
from tests.support import Row, World, at, claude, jsonl, set_mtime, us

NOTHING = [
    (None, "usage_null"),
    ({}, "usage_null"),
    ([], "usage_not_an_object"),
    (["x"], "usage_not_an_object"),
    ("", "usage_not_an_object"),
    ("many", "usage_not_an_object"),
    (0, "usage_not_an_object"),
    (7, "usage_not_an_object"),
    (False, "usage_not_an_object"),
]


def lines(name: str, *rows: Row) -> dict[str, bytes]:
    return {name: jsonl(*rows)}


def whole(name: str, document: Any) -> dict[str, bytes]:
    return {name: json.dumps(document).encode()}


LOGS: dict[str, Callable[[Any], dict[str, bytes]]] = {
    "claude-code": lambda usage: lines(
        ".claude/projects/-home-ada/s1.jsonl", {**claude(), "message": {"id": "m1", "model": "x", "usage": usage}}
    ),
    "codex": lambda usage: lines(
        ".codex/sessions/2026/02/18/rollout-2026-02-18T09-00-00-c1.jsonl",
        {"timestamp": at(1), "type": "event_msg", "payload": {
            "type": "token_count", "info": {"total_token_usage": usage}}},
    ),
    "gemini-cli": lambda usage: lines(
        ".gemini/tmp/kelp/chats/session-2026-02-18T09-00-g1.jsonl",
        {"sessionId": "g1", "projectHash": "kelp", "startTime": at(0)},
        {"id": "m1", "type": "gemini", "timestamp": at(1), "tokens": usage},
    ),
    "qwen-code": lambda usage: lines(
        ".qwen/projects/-home-ada/chats/q1.jsonl",
        {"uuid": "u1", "sessionId": "q1", "type": "assistant", "timestamp": at(1), "usageMetadata": usage},
    ),
    "kimi": lambda usage: lines(
        ".kimi/sessions/aa/k1/wire.jsonl",
        {"timestamp": 1771405200, "message": {"type": "StatusUpdate", "payload": {"token_usage": usage}}},
    ),
    "pi": lambda usage: lines(
        ".pi/agent/sessions/--home--/2026_p1.jsonl",
        {"type": "message", "id": "e1", "timestamp": at(1), "message": {"role": "assistant", "usage": usage}},
    ),
    "amp": lambda usage: whole(
        ".local/share/amp/threads/T-1.json",
        {"id": "T-1", "messages": [{"role": "assistant", "messageId": 1, "usage": usage}]},
    ),
    "cline": lambda usage: whole(
        ".cline/data/sessions/s1/s1.messages.json",
        [{"role": "assistant", "id": "m1", "ts": 1771405200000, "metrics": usage}],
    ),
    "droid": lambda usage: whole(".factory/sessions/-home-ada/d1.settings.json", {"tokenUsage": usage}),
    "opencode": lambda usage: whole(
        ".local/share/opencode/storage/message/ses_1/msg_1.json", {"role": "assistant", "id": "msg_1", "tokens": usage}
    ),
    "copilot-cli": lambda usage: lines(
        ".copilot/session-state/s1/events.jsonl",
        {"type": "session.shutdown", "timestamp": at(1), "data": {"modelMetrics": {"gpt-5": {"usage": usage}}}},
    ),
    "cliproxyapi": lambda usage: lines("queue.jsonl", {"timestamp": at(1), "model": "gpt-5", "tokens": usage}),
}  # fmt: skip


@pytest.mark.parametrize(("usage", "reason"), NOTHING)
@pytest.mark.parametrize("client", LOGS)
def test_no_usage_is_counted_alike_everywhere(tmp_path: Path, client: str, usage: Any, reason: str) -> None:
    world = World(tmp_path)
    files = LOGS[client](usage)
    put(world, files)
    own = client == "cliproxyapi"  # its logs lie in no place of their own
    summary = world.sync(add_sources=tuple((client, str(world.home_dir / name)) for name in files if own))

    assert summary.providers[client].skipped == {reason: 1}
    assert world.events() == []


@pytest.mark.parametrize(("usage", "reason"), NOTHING)
def test_of_cursor_too(tmp_path: Path, usage: Any, reason: str) -> None:
    world = World(tmp_path)
    path = world.home_dir / ".config/Cursor/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cursorDiskKV (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        answer = json.dumps({"type": 2, "bubbleId": "b1", "tokenCount": usage})
        connection.execute("INSERT INTO cursorDiskKV VALUES ('bubbleId:c1:b1', ?)", (answer,))

    assert world.sync().providers["cursor"].skipped == {reason: 1}


@pytest.mark.parametrize("client", sorted(path.parent.name for path in FIXTURES.glob("*/expected.json")))
def test_a_second_look_counts_what_the_first_counted(tmp_path: Path, client: str) -> None:
    world = world_of(client, tmp_path)
    world.sync()
    first = world.skipped()
    for path in world.home_dir.rglob("*"):
        if path.is_file():
            set_mtime(path, us(at(900)) / 1e6)
    again = world.sync()

    assert again.sources.unchanged == 0
    assert world.skipped() == first
