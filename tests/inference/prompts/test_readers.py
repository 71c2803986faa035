"""Every client's logs give exactly what a person typed, session by session, under the ledger's own names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.inference.prompts.goldens import FIXTURES, READING, found_in, prompt_world, read, texts
from tests.support import World, claude, user
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.clients.registry import logs
from tokenledger_dagster.errors import HomeKindError, UsageError
from tokenledger_dagster.home import SAMPLE_HOME, ensure_home
from tokenledger_dagster.inference.prompts import session_prompts
from tokenledger_dagster.inference.prompts.registry import READERS, WITHOUT

CLIENTS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
NEVER_TYPED = (
    "never typed", "An agent asks", "rows of a file", "Set model to", "text of the command", "<command", "<system",
    "AGENTS.md", "environment_context", "Context of a hook", "a tool's words", "injected", "A background task",
    "still being writ", "half a",
)  # fmt: skip


def expected(client: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / client / "expected.json").read_text("utf-8"))
    return found


def test_every_client_has_a_reader_with_a_fixture_or_a_reason_for_none() -> None:
    assert set(READERS) == set(CLIENTS)
    assert set(READERS) | set(WITHOUT) == set(logs())
    assert not set(READERS) & set(WITHOUT)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_reading_gives_the_golden(tmp_path: Path, client: str) -> None:
    assert found_in(prompt_world(client, tmp_path)) == expected(client)


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_told_that_nobody_typed(client: str) -> None:
    said = [text for one in expected(client)["sessions"] for text in one["texts"]]

    assert said
    assert [text for text in said if any(part in text for part in NEVER_TYPED)] == []
    assert len({one["session"] for one in expected(client)["sessions"]}) == len(expected(client)["sessions"])


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_files_that_appear_one_by_one_in_any_order_give_the_same(tmp_path: Path, client: str) -> None:
    world = prompt_world(client, tmp_path)
    files = sorted(path for path in world.home_dir.rglob("*") if path.is_file())
    aside = {path: path.with_name(f"{path.name}.aside") for path in files}
    for path, other in aside.items():
        path.rename(other)
    read(world)
    for path in reversed(files):
        aside[path].rename(path)
        os.utime(path)  # a part of a message is written after it
        found = read(world)[0]

    given = [(one.session_id, one.texts, one.prompt_count) for one in sorted(found, key=lambda one: one.session_id)]
    wanted = sorted(expected(client)["sessions"], key=lambda one: one["session"])
    assert given == [(one["session"], one["texts"], one["prompt_count"]) for one in wanted]


ONLY_PROMPTS = {
    "copilot-cli": ["h-2", "old"],  # the first builds counted no tokens
    "cursor": ["c0250200-0000-4000-8000-00000000000e"],  # an agent's transcript counts none
}
ONLY_USAGE = {"goose": ["20260217_2"], "opencode": ["ses_child"]}
"""Sessions that an agent alone wrote to."""


@pytest.mark.parametrize("client", CLIENTS)
def test_sessions_bear_the_ledgers_names(tmp_path: Path, client: str) -> None:
    world = prompt_world(client, tmp_path)
    world.sync()
    query = "SELECT DISTINCT s.client, s.session_id FROM events e JOIN sessions s USING (session_no)"
    used = set(world.query(query))

    typed = {(one.client, one.session_id) for one in read(world)[0]}

    assert sorted(name for _, name in typed - used) == ONLY_PROMPTS.get(client, [])
    assert sorted(name for _, name in used - typed) == ONLY_USAGE.get(client, [])


# ------------------------------------------------------------------ the sample

SAMPLE = {
    "cc658ccb-73d4-5bcc-9191-d37aae6f3885": 1,
    "348e2a1f-f3e5-518a-a101-2ad747f03ed4": 1,  # the resumed one: without what it copied
    "f2a15464-8e87-5dc5-bc2f-4b15f2ec6bde": 1,
    "c5c6e901-c4fd-5c17-8ea1-b27cd3768c65": 2,
    "5ef21aad-4fda-53af-9361-9052cd8b38bd": 1,
    "1973ca7f-4187-5bf9-9ff0-018214cdd3c1": 1,
    "16984693-2d22-55fa-9338-b2dfd0086c14": 1,
    "e7049c59-3623-5791-b863-fa7b91766bd7": 1,
    "f0184716-dd85-5292-8474-8c9f2fd55aa0": 3,
    "126a6707-99c0-59f4-b115-59244b74167a": 1,
    "980207c3-cc6f-5243-85cb-5fd8a0807554": 1,
    "019abe56-c9ad-7f12-ac15-f98d7c9b13bf": 2,
    "019a0bf7-6c85-7228-a75a-c405db503cc9": 1,
    "019a9491-4196-758e-a4d6-115d7f892636": 1,
    "019a4850-6f69-70f9-ae63-db2fadf5aa46": 2,
    "019ab17a-d64c-7106-a782-15657c7de8c2": 1,
    "019a1f57-aa8c-7580-ac92-18a00a76f4df": 1,
    "019a02b3-09fd-758b-a730-cfa942bbc3d5": 1,
    "019a1cb8-9eb2-7c67-a2d4-adac18b10d4b": 1,
    "019a1252-5797-7d58-a38f-f94e72032d65": 1,
}

NO_PROMPTS = {
    "019a8bf1-acdc-7608-a895-dc22f9f30877",  # helpers, to which an agent wrote
    "019ab45a-0aa8-7fc8-aa87-97667d587de2",
    "019a96f1-7768-73d8-ad28-a17189f0f8e6",  # known by its forks alone, which copied its usage
    "019ad79b-6dcf-7976-afd9-a4522431fa1a",  # saved output of a run
    "019ae228-f679-724a-aad9-f31d6c716cee",  # logs of rows with usage and nothing else
    "5b735452-625f-523b-aeea-1f76a0d65d17",
}


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    shutil.rmtree(world.home_dir)
    shutil.copytree(SAMPLE_HOME, world.home_dir, copy_function=shutil.copyfile)
    return world


def test_the_sample_tells_these_prompts_and_each_joins_the_session_report(
    sample: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {one.session_id: one for one in read(sample)[0]}

    assert {name: one.prompt_count for name, one in found.items()} == SAMPLE
    assert found["348e2a1f-f3e5-518a-a101-2ad747f03ed4"].texts == ["Continue: add a test for equal times."]
    assert found["f0184716-dd85-5292-8474-8c9f2fd55aa0"].texts == ["Sort the glossary.", "one", "two"]
    assert found["019a4850-6f69-70f9-ae63-db2fadf5aa46"].texts == [
        "Draft the harbour picker.",
        "Go on with the keyboard support.",
    ]
    first = found["cc658ccb-73d4-5bcc-9191-d37aae6f3885"]
    assert (first.client, first.started_at) == ("claude-code", datetime(2026, 8, 20, 9, 0, 0, 50_000, tzinfo=UTC))
    assert [Path(path).name for path in first.paths] == ["cc658ccb-73d4-5bcc-9191-d37aae6f3885.jsonl"]

    for name, value in (("HOME", sample.home_dir), ("TOKENLEDGER_HOME", sample.ledger.root)):
        monkeypatch.setenv(name, str(value))
    assert main(["report", "session", "--format", "json"]) == 0
    keys = {row["key"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(SAMPLE) - keys == set()
    assert keys - set(SAMPLE) == NO_PROMPTS


def test_the_sample_never_meets_a_persons_own_prompts(tmp_path: Path) -> None:
    home = ensure_home(tmp_path / "mine", "user")

    with pytest.raises(HomeKindError, match="holds a user ledger"):
        list(session_prompts(home, {"HOME": str(SAMPLE_HOME)}, standing=READING))


# ------------------------------------------------------------------ what is chosen


def test_clients_are_chosen_by_name_and_those_without_prompts_say_why(tmp_path: Path) -> None:
    world = prompt_world("roo", tmp_path)

    found, report = read(world, clients=["roo-code", "otel", "cliproxyapi"])

    assert [one.session_id for one in found] == ["019c-parent", "019c-child"]
    assert report.without_prompts == {
        "cliproxyapi": "the proxy's records count requests, and what was sent is not landed",
        "opentelemetry": "a collector is set up to drop prompts, and telemetry that holds them is refused",
    }
    with pytest.raises(UsageError, match="kelp is no client; use one of claude-code, codex"):
        read(world, clients=["kelp"])


def test_sessions_since_a_time_are_those_in_which_something_was_typed_then(tmp_path: Path) -> None:
    world = prompt_world("claude-code", tmp_path)

    found = texts(world, since=datetime(2026, 2, 18, 9, 14))

    assert [name[-1] for name in found] == ["1", "2", "3"]
    assert list(texts(world, since=datetime(2026, 2, 18, 9, 41, tzinfo=UTC))) == [
        "c1a0de00-0000-4000-8000-000000000003"
    ]


def test_the_agents_own_variables_lead_to_their_logs(tmp_path: Path) -> None:
    world = prompt_world("claude-code", tmp_path)
    moved = tmp_path / "elsewhere"
    (world.home_dir / ".claude").rename(moved)

    assert texts(world) == {}
    environ = {**world.environ, "CLAUDE_CONFIG_DIR": str(moved)}
    assert len(read(world, environ=environ)[0]) == 3


def test_logs_added_to_the_ledger_are_read_too(tmp_path: Path) -> None:
    world = prompt_world("codex", tmp_path)
    moved = tmp_path / "backup"
    (world.home_dir / ".codex").rename(moved)
    world.sources = (("codex", str(moved)),)
    world.sync()

    assert len(texts(world)) == 6


def test_words_and_usage_of_a_fork_are_parted_alike(tmp_path: Path) -> None:
    """By words alone the copy seems the older one: its own words come first. What was booked says that it is not."""
    world = World(tmp_path)
    asked = user("Sort them.", 1, "s1") | {"uuid": "00000000-0000-4000-8000-0000000000aa"}
    shared = [asked, claude("m1", "r1", minutes=2)]
    world.claude(*shared, claude("m2", "r2", minutes=3), user("Go on.", 30, "s1"), name="s1.jsonl")
    copied = [{**row, "sessionId": "s0"} for row in shared]
    world.claude(*copied, user("Another way.", 9, "s0"), claude("m3", "r3", minutes=10, session="s0"), name="s0.jsonl")
    assert texts(world) == {"s0": ["Sort them.", "Another way."], "s1": ["Go on."]}

    world.sync()

    assert texts(world) == {"s1": ["Sort them.", "Go on."], "s0": ["Another way."]}
