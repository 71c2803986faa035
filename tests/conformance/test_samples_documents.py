"""Published samples of opencode, Cline and Amp: what each file gives, pinned by hand.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import World

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FILES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no samples beside it"),
]

OPENCODE = ".local/share/opencode/storage"
NOTHING: list[tuple[str, str | None, tuple[int, int, int, int], str]] = []

# sample, where it belongs, and: events (session, model, input / cache write / cache read / output, time), skipped
EXPECTED = {
    "opencode/junhoyeo+tokscale/msg_test001.json": (
        f"{OPENCODE}/message/ses_test001/msg_test001.json",
        [("ses_test001", "claude-3-5-sonnet-20241022", (1_000, 100, 200, 500), "2024-12-01T00:00:00.000Z")],
        {},
    ),
    # an answer without tokens and a prompt
    "opencode/jazzyalex+agent-sessions/storage_legacy": (OPENCODE, NOTHING, {"usage_null": 1, "no_usage": 1}),
    # an aborted answer with tokens, its cost an object; two answers without, three prompts
    "opencode/jazzyalex+agent-sessions/storage_v2": (
        OPENCODE,
        [("s_stage0_large", "gpt-4o-mini", (120, 0, 0, 16), "2024-10-27T03:35:02.000Z")],
        {"usage_null": 2, "no_usage": 3},
    ),
    "opencode/Dicklesworthstone+coding_agent_session_search/opencode_json": (
        OPENCODE,
        NOTHING,
        {"usage_null": 1, "no_usage": 1},
    ),
    # rows of no known layout, no usage in any file
    "cline/Dicklesworthstone+coding_agent_session_search/cline": (
        ".cline/data/tasks",
        NOTHING,
        {"unknown_layout": 2},
    ),
    # an answer without usage
    "amp/Dicklesworthstone+coding_agent_session_search/amp/thread-001.json": (
        ".local/share/amp/threads/T-thread-001.json",
        NOTHING,
        {"usage_null": 1},
    ),
}


@pytest.mark.parametrize("sample", EXPECTED)
def test_a_sample(tmp_path: Path, sample: str) -> None:
    world = World(tmp_path)
    place, events, skipped = EXPECTED[sample]
    source, target = FILES / sample, world.home_dir / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    summary = world.sync()

    assert summary.problems == []
    assert [(event.session, event.model_raw, event.buckets, event.time) for event in world.events()] == events
    assert summary.providers[sample.split("/", 1)[0]].skipped == skipped


def test_every_sample_of_these_clients_is_expected() -> None:
    files = [path for client in ("opencode", "cline", "amp") for path in (FILES / client).rglob("*") if path.is_file()]

    assert files
    assert [path for path in files if not any(path.is_relative_to(FILES / sample) for sample in EXPECTED)] == []
