"""What made-up logs are made of: names, shares and sizes from ``workload.json``, and texts in bulk.

Here: the figures that shape a corpus, and JSON-safe text of any length.  Not here: any client's rows.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import random
from pathlib import Path

import msgspec

_FILE = Path(__file__).with_name("workload.json")
_POOL_BYTES = 1 << 20


class ClaudeWork(msgspec.Struct, frozen=True):
    """Shares and names of Claude Code's part."""

    share: float
    """Of all bytes."""
    models: dict[str, int]
    subagent_model: str
    versions: list[str]
    tools: list[str]
    subagent_chance: float
    progress_chance: float
    resume_every: int
    """Of so many sessions one begins as a copy of another's end."""
    mean_result_bytes: int


class CodexWork(msgspec.Struct, frozen=True):
    """Shares and names of Codex's part."""

    models: dict[str, int]
    versions: list[str]
    repeat_chance: float
    heartbeat_chance: float
    compacted_chance: float
    fork_every: int
    """Of so many threads one begins as a copy of another's beginning."""
    mean_result_bytes: int
    instructions_bytes: int
    """Of the instructions that open a rollout."""


class Workload(msgspec.Struct, frozen=True):
    """What a corpus is like; every chance is per request."""

    first_day: str
    days: int
    mean_file_bytes: int
    smallest_file_bytes: int
    largest_file_bytes: int
    file_size_sigma: float
    """Spread of the log-normal sizes: most files are small, most bytes lie in large ones."""
    tiny_file_bytes: int
    """Size of a file of the shape ``many-files``."""
    words: list[str]
    decoys: list[str]
    """Quoted usage, as it stands in logs of work on logs: text, never to be counted."""
    projects: list[str]
    branches: list[str]
    claude: ClaudeWork
    codex: CodexWork


def load_workload() -> Workload:
    """The committed workload."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Workload)


def definition() -> str:
    """Digest of the committed workload: another one means other logs."""
    return hashlib.blake2b(_FILE.read_bytes(), digest_size=4).hexdigest()


class Prose:
    """Text that may stand inside a JSON string as it is, cut from one pool at ends of lines."""

    def __init__(self, work: Workload, rng: random.Random) -> None:
        decoys = [json.dumps(text, ensure_ascii=False)[1:-1] for text in work.decoys]
        lines: list[bytes] = []
        self._starts = [0]
        while self._starts[-1] < _POOL_BYTES:
            words = " ".join(rng.choice(work.words) for _ in range(rng.randrange(3, 16)))
            text = rng.choice(decoys) if rng.random() < 0.01 else words
            lines.append(f"{' ' * 2 * rng.randrange(4)}{text}\\n".encode())
            self._starts.append(self._starts[-1] + len(lines[-1]))
        self._pool = b"".join(lines)

    def take(self, rng: random.Random, size: float) -> bytes:
        """About ``size`` bytes, whole lines, at least one."""
        wanted = int(size)
        parts: list[bytes] = []
        while wanted > 0 or not parts:
            first = rng.randrange(len(self._starts) - 1)
            start = self._starts[first]
            last = max(first + 1, bisect.bisect_right(self._starts, start + wanted) - 1)
            parts.append(self._pool[start : self._starts[last]])
            wanted -= max(len(parts[-1]), 64)
        return b"".join(parts)


def pick(rng: random.Random, weights: dict[str, int]) -> str:
    """One of the names, as often as its weight says."""
    at = rng.randrange(sum(weights.values()))
    for name, weight in weights.items():
        at -= weight
        if at < 0:
            return name
    raise ValueError("no weights")


def uuid(rng: random.Random) -> str:
    """An id in the form of a UUID."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
