"""The words a person typed, out of samples that other projects collected from real clients.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import read
from tokenledger_dagster.inference.prompts.registry import reader_of

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients"
FOLDERS = {
    "amp": "amp",
    "claude": "claude-code",
    "cline": "cline",
    "codex": "codex",
    "copilot": "copilot-cli",
    "cursor": "cursor",
    "droid": "droid",
    "gemini": "gemini-cli",
    "kimi": "kimi",
    "opencode": "opencode",
    "pi": "pi",
    "qwen": "qwen-code",
}

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FILES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no samples beside it"),
]

TYPED = {
    "amp/Dicklesworthstone+coding_agent_session_search/amp/thread-001.json": 1,
    "claude/daaain+claude-code-log/edge_cases.jsonl": 4,  # a command with arguments; no caveat, output or result
    "claude/daaain+claude-code-log/representative_messages.jsonl": 4,
    "claude/jazzyalex+agent-sessions/subagent/0a1b2c3d-4e5f-4061-8071-2a3b4c5d6e7f.jsonl": 1,
    "claude/lanegrid+agtrace/claude_agent.jsonl": 0,  # an agent wrote to it
    "claude/lanegrid+agtrace/claude_session.jsonl": 2,
    "claude/simonw+claude-code-transcripts/sample_session.jsonl": 2,
    "codex/jazzyalex+agent-sessions/small.jsonl": 2,
    "codex/lanegrid+agtrace/codex_subagent_matched.jsonl": 0,
    "codex/lanegrid+agtrace/rollout-parent-019b88e0.jsonl": 1,
    "codex/lanegrid+agtrace/rollout-subagent-019b88e5.jsonl": 0,
    "codex/wesm+agentsview/standard_session.jsonl": 1,
    "copilot/jazzyalex+agent-sessions/large.jsonl": 3,
    "cursor/realistic/User/globalStorage/state.vscdb": 3,
    "droid/jazzyalex+agent-sessions/session_store_large.jsonl": 2,
    "droid/jazzyalex+agent-sessions/stream_json_large.jsonl": 1,
    "gemini/lanegrid+agtrace/gemini_session.json": 2,
    "gemini/wesm+agentsview/system_messages.json": 0,
    "kimi/jazzyalex+agent-sessions/small.jsonl": 3,
    "kimi/jazzyalex+agent-sessions/subagent_agent-0.jsonl": 0,
    "opencode/Dicklesworthstone+coding_agent_session_search/opencode_json/message/ses_test1/msg_test1.json": 1,
    "opencode/Dicklesworthstone+coding_agent_session_search/opencode_json/message/ses_test1/msg_test2.json": 0,
    "pi/jazzyalex+agent-sessions/small.jsonl": 2,
    "qwen/jazzyalex+agent-sessions/019f0000-0000-7000-8000-000000000004.jsonl": 2,
}
"""How many prompts a person typed in a file, counted by hand."""


def prompts(path: Path) -> list[tuple[str, str]]:
    """Session and words of each prompt; those of a stand-in only where no better source tells the session."""
    folder = path.relative_to(FILES).parts[0]
    name = FOLDERS[folder]
    shape = getattr(clients()[name], "shape", lambda _: "lines")(str(path))
    relative = str(path.relative_to(FILES / folder))
    file = SourceFile.of(name, (str(path), relative, os.stat(path)), shape=shape)
    found: list[tuple[str, str, int]] = []
    limits = policy().prompts
    notes = Notes(file, b"k" * 32, limits, lambda entry, text: found.append((entry.session, text, entry.source)))
    reader = reader_of(file, notes)
    if reader is not None:
        read(file, reader, limits, notes.skipped)
    best = {session: min(source for name, _, source in found if name == session) for session, _, _ in found}
    return [(session, text) for session, text, source in found if source == best[session]]


def samples() -> list[Path]:
    return [path for name in FOLDERS for path in sorted((FILES / name).rglob("*")) if path.is_file()]


@pytest.mark.parametrize("name", sorted(TYPED))
def test_a_sample_holds_so_many_prompts(name: str) -> None:
    assert len(prompts(FILES / name)) == TYPED[name]


def test_every_sample_is_read_and_none_tells_what_a_program_wrote() -> None:
    told = {path: [text for _, text in prompts(path)] for path in samples()}

    assert sum(map(len, told.values())) > 80
    injected = ("<system-reminder>", "<environment_context>", "<command-name>", "<local-command", "tool_result")
    injected += ("Caveat: The messages below", "<user_instructions>", "<turn_aborted>", "[Request interrupted")
    assert [text for texts in told.values() for text in texts if any(one in text for one in injected)] == []


def test_no_answer_of_an_agent_is_told_as_a_prompt() -> None:
    mistaken = []
    for path in samples():
        if path.suffix == ".jsonl":
            answers = {text.strip() for row in rows(path) for text in answered(row)}
            # a trimmed sample says the same in every place
            mistaken += [text for _, text in prompts(path) if text in answers and "trimmed" not in text]

    assert mistaken == []


def rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def answered(row: dict[str, Any]) -> Iterator[str]:
    """Texts of a row that a model or a tool wrote, in the layouts of all clients."""
    message = row.get("message") if isinstance(row.get("message"), dict) else row.get("payload", row)
    if not isinstance(message, dict) or "assistant" not in (message.get("role"), row.get("type")):
        return
    content = message.get("content")
    for block in content if isinstance(content, list) else [content]:
        text = block.get("text") if isinstance(block, dict) else block
        if isinstance(text, str) and text:
            yield text
