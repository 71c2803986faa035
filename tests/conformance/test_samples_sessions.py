"""Published logs of Factory Droid and GitHub Copilot CLI, and names of models as Droid shows them.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support import World
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.rules import squash

ROOT = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent"))
CLIENTS, NAMES = ROOT / "clients", ROOT / "cases" / "droid-005-model-names" / "input" / "names.json"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not CLIENTS.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no samples of clients"),
]

Found = tuple[str, str | None, tuple[int, int, int, int], str]
"""Session, model as logged; input, cache write, cache read, output; time."""

DROID: dict[str, tuple[list[Found], dict[str, int]]] = {
    # file: events, what was passed over
    "jazzyalex+agent-sessions/session_store_large.jsonl": ([], {"no_usage": 1}),
    "jazzyalex+agent-sessions/session_store_schema_drift.jsonl": ([], {"no_usage": 1}),
    "jazzyalex+agent-sessions/session_store_small.jsonl": ([], {"no_usage": 1}),
    "jazzyalex+agent-sessions/stream_json_large.jsonl": ([], {"usage_null": 1}),
    "jazzyalex+agent-sessions/stream_json_schema_drift.jsonl": (
        [("sid_stage0_drift", "droid-model", (10, 0, 0, 5), "2026-01-07T19:04:04.000Z")],
        {},
    ),
    "jazzyalex+agent-sessions/stream_json_small.jsonl": ([], {"usage_null": 1}),
}

_SUBDIR = "jazzyalex+agent-sessions/subdir_v1/aaaabbbb-1111-2222-3333-ccccddddeeee/events.jsonl"
COPILOT: dict[str, tuple[list[Found], dict[str, int]]] = {
    "Dicklesworthstone+coding_agent_session_search/copilot/cli_prompt_output_unicode.events.jsonl": (
        [],
        {"usage_null": 1},
    ),
    "Dicklesworthstone+coding_agent_session_search/copilot/cli_truncated_resume.events.jsonl": (
        [],
        {"truncated_json": 1},
    ),
    "Dicklesworthstone+coding_agent_session_search/copilot/legacy_history_human.json": ([], {"usage_null": 1}),
    "jazzyalex+agent-sessions/large.jsonl": ([], {"usage_null": 4}),
    "jazzyalex+agent-sessions/schema_drift.jsonl": (
        [("copilot_stage0_drift", "gpt-4.1", (200, 0, 800, 50), "2025-12-18T22:00:07.000Z")],
        {"usage_null": 2},
    ),
    "jazzyalex+agent-sessions/small.jsonl": (
        [("copilot_stage0_small", "gpt-5-mini", (100, 0, 5, 15), "2025-12-18T21:32:20.000Z")],
        {"zero_usage": 3},
    ),
    _SUBDIR: (
        [
            ("aaaabbbb-1111-2222-3333-ccccddddeeee", None, (0, 0, 0, 12), "2026-03-26T17:50:36.000Z"),
            ("aaaabbbb-1111-2222-3333-ccccddddeeee", None, (0, 0, 0, 14), "2026-03-26T17:50:37.100Z"),
        ],
        {},
    ),
}


def read(tmp_path: Path, client: str, sample: Path) -> tuple[list[Found], dict[str, int]]:
    world = World(tmp_path)
    target = tmp_path / "samples" / sample.name
    target.parent.mkdir()
    shutil.copyfile(sample, target)
    summary = world.sync(add_sources=((client, str(target)),))
    assert summary.problems == []
    events = [(event.session, event.model_raw, event.buckets, event.time) for event in world.events()]
    skipped = Counter[str]()
    for counts in summary.providers.values():
        skipped.update(counts.skipped)
    return events, dict(skipped)


@pytest.mark.parametrize("name", DROID)
def test_a_droid_sample(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, "droid", CLIENTS / "droid" / name) == DROID[name]


@pytest.mark.parametrize("name", COPILOT)
def test_a_copilot_sample(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, "copilot-cli", CLIENTS / "copilot" / name) == COPILOT[name]


@pytest.mark.parametrize(("client", "expected"), [("droid", DROID), ("copilot", COPILOT)])
def test_every_sample_is_expected(client: str, expected: dict[str, object]) -> None:
    folder = CLIENTS / client
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(expected)


CANONICAL = {
    "custom:Claude-Opus-4.5-Thinking-[Anthropic]-0": ("claude-opus-4-5", {"thinking": "on"}),
    "Claude-Sonnet-4-[Anthropic]": ("claude-sonnet-4", {}),
    "gemini-2.5-pro": ("gemini-2.5-pro", {}),
}
"""Another project keeps mode and slot number in the name; here they are modifiers, and no part of the model."""


@pytest.mark.skipif(not NAMES.exists(), reason="no case of Droid's model names")
def test_a_shown_name_is_the_model_behind_it() -> None:
    names: dict[str, str] = json.loads(NAMES.read_text("utf-8"))
    assert set(names) == set(CANONICAL)
    for shown, flat in names.items():
        found = resolve_model(shown, "droid", "2026-05-01")
        assert (found.model, found.modifiers) == CANONICAL[shown]
        assert flat.startswith(squash(found.model))
