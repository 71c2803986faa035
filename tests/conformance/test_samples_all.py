"""Every published sample of every agent gives usage or a counted reason, and stops nothing.

What exactly each gives is stated in the ``test_samples_*`` beside this one.  Agents without an adapter are read as the
agent whose logs are most like theirs.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import World

SAMPLES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients"
READ_AS = {
    "antigravity": "gemini-cli", "claude": "claude-code", "copilot": "copilot-cli", "dsh": "pi", "gemini": "gemini-cli",
    "grok": "qwen-code", "hermes": "gemini-cli", "malformed": "claude-code", "openclaw": "pi", "otel": "opentelemetry",
    "qwen": "qwen-code",
}  # fmt: skip
"""Folders that are not called as their client is."""

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no folder of samples"),
]


def agents() -> list[str]:
    return sorted(path.name for path in SAMPLES.iterdir() if path.is_dir()) if SAMPLES.is_dir() else []


@pytest.mark.parametrize("agent", agents())
def test_each_file_gives_usage_or_a_reason(tmp_path: Path, agent: str) -> None:
    client = READ_AS.get(agent, agent)
    silent = []
    for number, path in enumerate(sorted(path for path in (SAMPLES / agent).rglob("*") if path.is_file())):
        world = World(tmp_path / str(number))
        world.sources = ((client, str(path)),)
        counts = world.sync().providers.get(client)
        if counts is None or not (counts.scanned or counts.skipped):
            silent.append(str(path.relative_to(SAMPLES)))

    assert silent == []
