"""Names under which several sources know the same request, or the same stretch of a session (``ingest.witnesses``).

Here: one builder for each kind of name that more than one module gives, so that both sides spell it alike.  Not here:
who bears which name, or names that one module alone gives and finds.  Counters are in the order of ``Counters``.
"""

from __future__ import annotations

from collections.abc import Sequence


def prompt(client: str, session: str, counters: Sequence[int]) -> str:
    """A request by its session and by what was sent: all prompt tokens, and those read from the cache.

    What came back is left out: transcripts written while an answer streams often hold only a part of it.
    """
    fresh, _, write, read, tool = counters[:5]
    return f"{client}-prompt:{session}:{fresh + write + read + tool}:{read}"


def request(client: str, session: str, model: str | None, counters: Sequence[int]) -> str:
    """A request by its session, model and counters, where that is all that its log and its telemetry both tell.

    A session's requests of equal counters share a name: where the log shows one of them it shows them all.
    """
    fresh, output, _, read, tool, _, _, thoughts, _ = counters
    return f"{client}:request:{session}:{model or ''}:{fresh}:{read}:{tool}:{output}:{thoughts}"


def session_log(client: str, session: str) -> str:
    """All that a session's own log shows."""
    return f"{client}:session:{session}"


def codex_counters(session: str, counters: Sequence[int]) -> str:
    """A request of Codex by its session and counters."""
    fresh, output, write, read = counters[:4]
    return f"codex-counters:{session}:{fresh}:{output}:{write}:{read}"


def claude_request(request_id: str) -> str:
    """A request of Claude Code by its id."""
    return f"claude-request:{request_id}"


def claude_prompt(session: str, counters: Sequence[int], *, without_id: bool = False) -> str:
    """A request of Claude Code by what was sent, or one of them of which a side tells no id."""
    return prompt("claude", session, counters) + (":no-id" if without_id else "")


def copilot_session(session: str) -> str:
    """A session of Copilot among all sources that count its input too; telemetry bears it as well."""
    return f"copilot-session:{session}"


def copilot_telemetry(session: str) -> str:
    """A session of Copilot by which telemetry displaces what messages tell of it."""
    return f"copilot-telemetry:{session}"


def copilot_exact(session: str) -> str:
    """A session of Copilot by which the store displaces what messages tell of it."""
    return f"copilot-exact:{session}"
