"""Brings the vectors of a home up to date with its logs.

Here: prompts, tokenizer and embedder put together, for the command and the asset alike. Not here: any step's rules
(`prompts`, `parts`, `session_vectors`), and whether prompts may be read (`switch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.prompts import PromptReport, SessionPrompts, session_prompts
from tokenledger_dagster.inference.session_vectors import TextEmbedder, Updated, prompt_digests, update
from tokenledger_dagster.inference.switch import Standing
from tokenledger_dagster.inference.vector_files import folder_of
from tokenledger_dagster.inference.vector_index import VectorIndex, open_index

__all__ = ["IndexedHome", "index_home", "index_sessions", "kept_prompts"]

_TELL_EVERY_SECONDS = 2.0
"""Each line is a write to Dagster's own storage."""

SessionKey = tuple[str, str]
"""Client and session id."""


def index_sessions(
    home: Home,
    environ: Mapping[str, str],
    standing: Standing,
    embedder: TextEmbedder,
    *,
    report: PromptReport,
    progress: Callable[[int, int], None] | None = None,
) -> Updated:
    """Read what was typed since and embed it, newest sessions first (`session_vectors.update`).

    Args:
        home: the ledger's home, synced: the ledger says whose each prompt is.
        environ: the environment by which logs are found.
        standing: inference is on, and prompts may be read.
        embedder: computes vectors.
        report: filled with what the reading of the logs came to.
        progress: called before the first commit and after each with how many sessions are done, and how many there
            are to embed.

    Raises:
        InferenceOffError: prompts may not be read.
        TokenLedgerError, OSError: as `session_vectors.update`.
    """
    assert standing.model is not None  # inference is on

    def prompts(known: Mapping[SessionKey, str]) -> Iterable[SessionPrompts]:
        return session_prompts(home, environ, standing=standing, known=known, changed_only=True, report=report)

    done = update(home, prompts, embedder, _counter(standing.model), progress=progress)
    same = report.unchanged
    return done._replace(sessions=done.sessions + same, unchanged=done.unchanged + same)


class IndexedHome(NamedTuple):
    """The vectors of a home after an update, for whoever shows figures."""

    vectors: int
    digest: str
    """Stands for what is embedded, in whatever order and files it was written."""
    counts: dict[str, int]
    problems: list[str]
    path: str


def index_home(
    home: Home, environ: Mapping[str, str], standing: Standing, embedder: TextEmbedder, tell: Callable[[str], None]
) -> IndexedHome:
    """Bring a home's vectors up to date (`index_sessions`), and say what there is now.

    Args:
        home: the ledger's home, synced.
        environ: the environment by which logs are found.
        standing: inference is on, and prompts may be read.
        embedder: computes vectors.
        tell: given a line of progress every few seconds.

    Raises:
        TokenLedgerError, OSError: as `session_vectors.update`.
    """
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _TELL_EVERY_SECONDS:
            last = time.monotonic()
            tell(f"embedded {done:,} of {total:,} sessions")

    report = PromptReport()
    done = index_sessions(home, environ, standing, embedder, report=report, progress=progress)
    index = open_index(home, done.served.model_sha256, done.served.precision)
    counts = {"sessions": len(index.keys.starts), "left_out": len(index.keys.left_out)}
    counts |= {name: getattr(done, name) for name in ("embedded", "unchanged", "forgotten", "unusable")}
    held = [] if done.held else ["another process is embedding sessions of this home; nothing was done"]
    return IndexedHome(index.keys.rows, index.digest, counts, report.problems + held, str(folder_of(home)))


def kept_prompts(
    home: Home, environ: Mapping[str, str], standing: Standing, index: VectorIndex, sessions: Iterable[SessionKey]
) -> dict[SessionKey, list[str]]:
    """What was typed in some sessions, as far as it is kept or can be read again.

    Raises:
        InferenceOffError: prompts may not be read.
    """
    wanted = set(sessions)
    known = {key: digest for key, digest in prompt_digests(index).items() if key not in wanted}
    clients = sorted({client for client, _ in wanted})
    if not wanted:
        return {}
    given = session_prompts(home, environ, standing=standing, known=known, changed_only=True, clients=clients)
    return {
        (one.client, one.session_id): one.texts
        for one in given
        if one.texts is not None and (one.client, one.session_id) in wanted
    }


def _counter(model: ModelFolder) -> Callable[[str], int]:
    """Counts tokens of a text without the special ones; the tokenizer is loaded by the first text."""

    @cache
    def tokenizer() -> Callable[[str], list[int]]:
        from tokenledger_dagster.inference.tokenization import load_hugging_face

        return load_hugging_face(model.tokenizer).encode

    return lambda text: len(tokenizer()(text))
