"""Published samples of Gemini CLI, Qwen Code, Kimi and pi: what every file gives, pinned by hand.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import World

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not (FILES / "gemini").is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no samples beside it"),
]

READ_AS = {
    "gemini": "gemini-cli",
    "qwen": "qwen-code",
    "kimi": "kimi",
    "pi": "pi",
    "openclaw": "pi",
    # without adapters of their own: whatever client they are taken for, they give nothing and stop nothing
    "antigravity": "gemini-cli",
    "grok": "gemini-cli",
    "hermes": "gemini-cli",
    "dsh": "pi",
}
GEMINI, QWEN, PI = "gemini/jazzyalex+agent-sessions/", "qwen/jazzyalex+agent-sessions/019f0000", "pi/steipete+CodexBar/"
VIEW, KIMI = "gemini/wesm+agentsview/", "kimi/jazzyalex+agent-sessions/"
CLAW = "openclaw/jazzyalex+agent-sessions/"
Sums = tuple[int, int, int, int, int]

EXPECTED: dict[str, tuple[int, Sums, set[str | None], dict[str, int]]] = {
    # file: events; input, cache write, cache read, output, reasoning; models; passed over
    f"{GEMINI}jsonl_v040.jsonl": (2, (12422, 0, 11502, 228, 0), {"gemini-3-flash-preview"}, {}),
    f"{GEMINI}large.json": (1, (100, 0, 0, 10, 0), {"gemini-3-flash-preview"}, {"usage_null": 3}),
    f"{GEMINI}small.json": (1, (10, 0, 0, 5, 0), {"gemini-3-flash-preview"}, {}),
    f"{GEMINI}schema_drift.json": (0, (0, 0, 0, 0, 0), set(), {"unknown_layout": 1}),
    "gemini/lanegrid+agtrace/gemini_session.json": (7, (23896, 0, 43377, 677, 377), {"gemini-2.5-flash"}, {}),
    f"{VIEW}standard_session.json": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 2}),
    f"{VIEW}system_messages.json": (0, (0, 0, 0, 0, 0), set(), {"no_usage": 1}),
    f"{VIEW}thinking_only.json": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
    f"{VIEW}tool_calls.json": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
    "gemini/Dicklesworthstone+coding_agent_session_search/gemini/hash123/chats/session-test.json": (
        0, (0, 0, 0, 0, 0), set(), {"usage_null": 1},
    ),
    "qwen/Piebald-AI+splitrail/qwen_code.jsonl": (2, (1050, 0, 50, 25, 0), {"coder-model"}, {}),
    f"{QWEN}-0000-7000-8000-000000000001.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 2}),
    f"{QWEN}-0000-7000-8000-000000000002.jsonl": (0, (0, 0, 0, 0, 0), set(), {"no_usage": 1}),
    f"{QWEN}000070008000000000000003.jsonl": (0, (0, 0, 0, 0, 0), set(), {"no_usage": 1}),
    f"{QWEN}-0000-7000-8000-000000000004.jsonl": (1, (12, 0, 0, 4, 0), {"synthetic-active-model"}, {"usage_null": 2}),
    f"{QWEN}-0000-7000-8000-000000000005.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
    "qwen/jazzyalex+agent-sessions/system_telemetry.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
    f"{KIMI}assistant_tools.jsonl": (23, (30174, 0, 661504, 5515, 0), {"kimi-k2.7-code"}, {}),
    f"{KIMI}subagent_agent-0.jsonl": (3, (12905, 0, 28416, 330, 0), {"kimi-k2.7-code"}, {}),
    f"{KIMI}small.jsonl": (0, (0, 0, 0, 0, 0), set(), {"no_usage": 1}),
    "pi/Dicklesworthstone+coding_agent_session_search/pi_agent/sessions/--test-project--/"
    "2024-01-15T10-30-00-000Z_abc12345-1234-5678-9abc-def012345678.jsonl": (
        2, (110, 0, 0, 180, 0), {"claude-sonnet-4-20250514"}, {},
    ),
    "pi/jazzyalex+agent-sessions/small.jsonl": (2, (24, 0, 0, 14, 0), {"pi-fixture-model"}, {}),
    f"{PI}pi/--tmp-pi-family-project--/2026-08-03T12-00-00-000Z_pi-fixture.jsonl": (
        0, (0, 0, 0, 0, 0), set(), {"usage_null": 1},
    ),
    f"{CLAW}small.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
    f"{CLAW}large.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 3}),
    f"{CLAW}schema_drift.jsonl": (0, (0, 0, 0, 0, 0), set(), {"usage_null": 1}),
}  # fmt: skip
NOTHING = [
    f"{KIMI}state.json", f"{KIMI}assistant_tools.state.json",
    f"{PI}omp-legacy/--tmp-pi-family-project--/2026-08-03T11-00-00-000Z_omp-legacy.jsonl",
    f"{PI}omp/abs-pi-family-project-0bff77ccc1794123b5c69216e8a176e470093f8ebe392db0e42a2df5b9f5d17a/"
    "2026-08-03T12-00-00-000Z_omp-fixture.jsonl",
]  # fmt: skip
"""Headers without messages, and a client's own notes: nothing is booked, nothing stops."""


def samples() -> list[str]:
    """Every file of these clients, below the samples' folder."""
    if not FILES.is_dir():
        return []
    found = [path for name in READ_AS for path in (FILES / name).rglob("*") if path.is_file()]
    return sorted(path.relative_to(FILES).as_posix() for path in found)


def read(world: World, name: str) -> None:
    """Adds a sample by hand and reads it."""
    summary = world.sync(add_sources=((READ_AS[name.split("/", 1)[0]], str(FILES / name)),))
    assert summary.problems == []


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    read(world, name)
    events, sums, models, skipped = EXPECTED[name]

    found = world.events()
    told = [(event.input, event.cache_write, event.cache_read, event.output, event.reasoning) for event in found]
    assert len(found) == events
    assert tuple(map(sum, zip(*told, strict=True))) == (sums if events else ())
    assert {event.model_raw for event in found} == models
    assert world.skipped() == skipped


def test_every_sample_is_expected() -> None:
    own = [name for name in samples() if name.split("/", 1)[0] in ("gemini", "qwen", "kimi", "pi", "openclaw")]
    assert set(own) == {*EXPECTED, *NOTHING}


@pytest.mark.parametrize("name", [name for name in samples() if name not in EXPECTED])
def test_other_files_give_nothing_and_stop_nothing(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    read(world, name)

    assert world.events() == []


def test_all_of_them_at_once_and_again_give_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in samples():
        read(world, name)
    before = world.booked()
    world.sync(no_cache=True)

    assert len(before.events) == 44
    assert world.booked() == before
