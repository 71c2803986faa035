"""Samples of exported telemetry: events and skipped elements of every file, pinned by hand.

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
    pytest.mark.skipif(not (FILES / "otel").is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no telemetry beside it"),
]

Row = tuple[str, str | None, tuple[int, int, int, int, int, int]]
"""Session, model, and input, tool input, cache write, cache read, output, reasoning."""

EXPECTED: dict[str, tuple[list[Row], dict[str, int]]] = {
    "otel/realistic/otlp-logs.json": (
        [
            ("019c8a4c-ed82-79a1-aa28-7738fc5ab61a", "gpt-5.3-codex", (15281, 0, 0, 4992, 406, 172)),
            ("g-1", "gemini-3-pro", (3801, 7, 0, 11526, 942, 919)),
            ("s-claude-1", "claude-opus-4-6", (3, 0, 8037, 17842, 441, 0)),
            ("s-claude-1", "claude-opus-4-6", (3, 0, 8037, 17842, 441, 0)),
        ],
        {},
    ),
    "otel/realistic/otlp-metrics-delta-and-cumulative.json": ([], {"otel_metric": 3}),
    "otel/realistic/otlp-traces-genai.json": (
        [
            ("conv-1", "claude-opus-4-6", (3, 0, 8037, 17842, 441, 0)),
            ("trace:5b8efff798038103d269b633813fc60c", "gpt-5.4", (4118, 0, 0, 0, 259, 128)),
            ("trace:5b8efff798038103d269b633813fc60c", "text-embedding-3-small", (900, 0, 0, 0, 0, 0)),
        ],
        {},
    ),
    # a chat log whose telemetry rows are the chat's own, and emptied: nothing in it is an export
    "qwen/jazzyalex+agent-sessions/system_telemetry.jsonl": ([], {"not_telemetry": 1}),
}

_EVENTS = """
SELECT s.session_id, m.model_raw, e.input_tokens, e.tool_input_tokens, e.cache_write_tokens, e.cache_read_tokens,
  e.output_tokens, e.reasoning_tokens
FROM events e JOIN sessions s USING (session_no) JOIN models m USING (model_no) ORDER BY 1, 2
"""


@pytest.mark.parametrize("name", EXPECTED)
def test_sample(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    target = world.home_dir / ".local/state/agent-telemetry" / Path(name).name
    target.parent.mkdir(parents=True)
    shutil.copyfile(FILES / name, target)

    summary = world.sync()

    events, skipped = EXPECTED[name]
    assert [(row[0], row[1], tuple(row[2:])) for row in world.query(_EVENTS)] == events
    assert world.skipped() == skipped
    assert summary.problems == []


def test_every_sample_is_named_here() -> None:
    assert {path.relative_to(FILES).as_posix() for path in (FILES / "otel").rglob("*") if path.is_file()} <= set(
        EXPECTED
    )
