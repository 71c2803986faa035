"""What a reading of prompts gives: sessions with their words, and figures about the reading.

Here: the two public shapes.  Not here: how they come about (`collect`).
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

__all__ = ["PromptReport", "SessionPrompts"]


class SessionPrompts(msgspec.Struct, frozen=True, kw_only=True):
    """The words that a person typed in one session."""

    client: str
    session_id: str
    """The session as the ledger names it: with `client` it joins `usage_sessions`."""
    started_at: datetime
    """When the first of them was typed, UTC."""
    last_at: datetime
    """When the last of them was typed, UTC."""
    texts: list[str] | None
    """The first `max_prompts` in order of time, each cut at `max_characters`, secrets masked; None where the caller
    said by `known` that it has them."""
    prompt_count: int
    """How many were typed in all."""
    digest: str
    """32 hexadecimal digits over `texts`, under a key of this home: equal texts have equal digests, and none leads
    back to a text without the key."""
    paths: list[str]
    """The files that its prompts were taken from, sorted; some of them may be gone by now."""


class PromptReport(msgspec.Struct, kw_only=True):
    """What one reading came to; filled while its sessions are taken."""

    files: int = 0
    """Files of clients whose logs hold prompts."""
    files_read: int = 0
    """Those of them that were opened; the others are as they were."""
    bytes_read: int = 0
    read_seconds: float = 0.0
    sessions: int = 0
    """Sessions given."""
    unchanged: int = 0
    """Sessions that were not given, since only others were asked for."""
    prompts: int = 0
    """Prompts of these sessions."""
    masked: int = 0
    """Secrets masked in what was read."""
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    """What was passed over, by reason; of an unchanged file as it was counted when it was read."""
    without_prompts: dict[str, str] = {}
    """Clients asked for that have none, and why."""
    problems: list[str] = []
    """What a person should be told, a line each."""
