"""An embedder whose likeness a person can work out: texts are alike by the words that they share.

Here: a stand-in for `embedder.Embedder`, sessions as `prompts` gives them, and a home with both. Not here: any
expectation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.backend import Precision, Served
from tokenledger_dagster.inference.embedder import Embeddings
from tokenledger_dagster.inference.policy import Policy, policy
from tokenledger_dagster.inference.session_vectors import Updated, update

START = datetime(2026, 2, 18, 9, 0, tzinfo=UTC)
SHA = "a" * 64


class Words:
    """Each of a few known words is a dimension, and a text the unit vector of how often it says each."""

    VOCABULARY = ("parser", "flaky", "test", "invoice", "css", "deploy", "docs")
    dims = len(VOCABULARY) + 1
    """The last one stands for whatever else a text says, so that no vector is zero."""

    def __init__(
        self, sha: str = SHA, precision: Precision = "fp32", max_tokens: int = 12, coreml_tokens: int | None = None
    ) -> None:
        self.sha, self.precision, self.max_tokens = sha, precision, max_tokens
        self.coreml_tokens = coreml_tokens or max_tokens
        self.has_coreml = coreml_tokens is not None
        """Whether texts of at most so many tokens are answered in half precision, as Core ML does."""
        self.asked: list[str] = []
        """Texts that were embedded, without the probe's empty one."""

    def embed(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Embeddings:
        self.asked += [text for text in texts if text]
        counts = [min(tokens(text), self.max_tokens - 2) + 2 for text in texts]
        served = Served("onnx", "numpy", "onnx: not installed", self.precision, "a test's processor", self.sha)
        cut = [tokens(text) > self.max_tokens - 2 for text in texts]
        half = Served("coreml", "coreml", "", "fp16", "a test's engine", self.sha)
        by = [half if self.has_coreml and count <= self.coreml_tokens else served for count in counts]
        return Embeddings(np.stack([self.vector(text) for text in texts]), counts, cut, by)

    def vector(self, text: str) -> np.ndarray:
        said = text.lower().split()
        found = np.array([*(said.count(word) for word in self.VOCABULARY), 0], np.float32)
        found[-1] = len(said) - found.sum() or (0 if said else 1)
        return found / np.linalg.norm(found)


def tokens(text: str) -> int:
    """A word is a token."""
    return len(text.split())


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a `prompts.SessionPrompts`."""

    client: str
    session_id: str
    started_at: datetime | None
    texts: list[str] | None
    prompt_count: int
    digest: str


def session(name: str, *texts: str, minutes: float = 0, client: str = "claude-code") -> Session:
    """A session in which these texts were typed."""
    digest = hashlib.blake2b(repr(texts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    at = START + timedelta(minutes=minutes)
    return Session(
        client=client, session_id=name, started_at=at, texts=list(texts), prompt_count=len(texts), digest=digest
    )


def rules(**search: object) -> Policy:
    """The committed policy with other figures for search."""
    return msgspec.structs.replace(policy(), search=msgspec.structs.replace(policy().search, **search))


def index_sessions(home: Home, sessions: Iterable[Session], words: Words | None = None, **options: object) -> Updated:
    """Brings a home's vectors up to date with these sessions, as `prompts.session_prompts` would give them."""

    def prompts(known: Mapping[tuple[str, str], str]) -> Iterable[Session]:
        for one in sessions:
            same = known.get((one.client, one.session_id)) == one.digest
            yield msgspec.structs.replace(one, texts=None) if same else one

    return update(home, prompts, words or Words(), tokens, **options)  # type: ignore[arg-type]
