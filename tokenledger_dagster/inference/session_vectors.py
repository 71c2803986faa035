"""Brings the vectors of sessions up to date with what was typed: what is new or changed is embedded, newest first.

Here: what has to be embedded, in which order, and committing it batch by batch. Not here: where prompts come from
(`prompts`), how they are cut (`parts`), who embeds (`embedder`), and how vectors are kept (`vector_store`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.parts import Parts, split
from tokenledger_dagster.inference.policy import Policy, policy
from tokenledger_dagster.inference.switch import Standing
from tokenledger_dagster.inference.vector_files import folder_of, writing
from tokenledger_dagster.inference.vector_index import VectorIndex, open_index

if TYPE_CHECKING:
    from tokenledger_dagster.inference.backend import BackendName, Served
    from tokenledger_dagster.inference.embedder import Embeddings
    from tokenledger_dagster.inference.vector_store import SessionKey, SessionVectors

__all__ = ["Prompts", "TextEmbedder", "Updated", "most_tokens", "prompt_digests", "update", "vectors_standing"]

PROMPTS_ON = "set `inference.prompts: true` under `features` or TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true"
_REVISION = "1"
"""Raised when the same prompts are cut into other parts."""


class TextEmbedder(Protocol):
    """What is asked of an `embedder.Embedder`."""

    @property
    def dims(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The most tokens of one text, the special ones counted."""
        ...

    @property
    def coreml_tokens(self) -> int:
        """The same where `coreml` answers."""
        ...

    def embed(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Embeddings:
        """Vectors of these texts."""
        ...


class Prompts(Protocol):
    """What is asked of a `prompts.SessionPrompts`."""

    @property
    def client(self) -> str:
        """The program that wrote the log."""
        ...

    @property
    def session_id(self) -> str:
        """As the ledger names the session."""
        ...

    @property
    def started_at(self) -> datetime | None:
        """Time of the first prompt; None where the log has none."""
        ...

    @property
    def texts(self) -> Sequence[str] | None:
        """What a person typed, in order; None where the digest is the one that is known."""
        ...

    @property
    def prompt_count(self) -> int:
        """How many were typed in all; `texts` may be the first of them."""
        ...

    @property
    def digest(self) -> str:
        """Stands for the texts."""
        ...


def prompt_digests(index: VectorIndex) -> dict[SessionKey, str]:
    """Digests of the prompts that an index was made of, by client and session."""
    keys = index.keys
    stored = zip(keys.clients, keys.session_ids, keys.digests, strict=True)
    return {(client, session): digest.rpartition("-")[0] for client, session, digest in stored}


def most_tokens(embedder: TextEmbedder, backend: BackendName) -> int:
    """The most tokens of a text, the special ones counted, that a backend answers itself.

    A longer one would come back in the precision of another backend, and vectors of two are never compared.
    """
    return embedder.coreml_tokens if backend == "coreml" else embedder.max_tokens


def vectors_standing(standing: Standing) -> Standing:
    """Whether sessions are embedded: where inference is on and prompts may be read."""
    if standing.prompts or not standing.on:
        return standing
    return standing._replace(on=False, why="prompts are not read", remedy=PROMPTS_ON)


class Updated(NamedTuple):
    """What one update did."""

    held: bool
    """False where another process was embedding, and nothing was done."""
    sessions: int
    """With prompts, all together."""
    embedded: int
    unchanged: int
    forgotten: int
    """Whose prompts went from their log."""
    unusable: int
    """Whose id no file can hold."""
    served: Served
    """Who embeds now: what decides which vectors may be compared."""


class _Pending(NamedTuple):
    """A session that has to be embedded."""

    client: str
    session_id: str
    started_at: datetime | None
    digest: str
    texts: list[str]
    """Prompts, none blank."""
    is_cut: bool
    """Whether there are more."""


def update(
    home: Home,
    prompts: Callable[[Mapping[SessionKey, str]], Iterable[Prompts]],
    embedder: TextEmbedder,
    count: Callable[[str], int],
    *,
    progress: Callable[[int, int], None] | None = None,
    rules: Policy | None = None,
) -> Updated:
    """Embed what is new or changed, committed batch by batch: what `progress` was told of is kept, whatever happens.

    Args:
        home: the ledger's home.
        prompts: called once with the digests that are embedded already, by client and session; gives sessions in any
            order, each once. One without a text has its vectors forgotten; one that it does not give keeps them, since
            nothing changed or the agent deleted its log.
        embedder: computes vectors. Sessions whose vectors are of another model or precision than it serves now are
            embedded again.
        count: tokens of a text, the special ones not counted.
        progress: called before the first batch and after each with how many sessions are done, and how many there are
            to embed; not where there are none.
        rules: None is the committed policy.

    Raises:
        BackendError: no backend answered.
        OSError: the disk refused.
        TokenLedgerError: a file of vectors is damaged.
    """
    rules = rules or policy()
    probe = embedder.embed([""])
    served = probe.served[0]
    with writing(folder_of(home)) as held:
        if not held:
            return Updated(False, 0, 0, 0, 0, 0, served)
        index = open_index(home, served.model_sha256, served.precision)
        budget = max(most_tokens(embedder, served.actual) - probe.token_counts[0], 1)
        plan = _Plan(index, rules, count, budget)
        plan.read(prompts(plan.known))
        _embed(home, plan, embedder, rules, progress)
    counts = plan.sessions, len(plan.pending), plan.unchanged, len(plan.forgotten), plan.unusable
    return Updated(True, *counts, served)


class _Plan:
    """What an update has to do."""

    def __init__(self, index: VectorIndex, rules: Policy, count: Callable[[str], int], budget: int) -> None:
        self._most, self._budget, self._count = rules.search.max_parts, budget, count
        keys = index.keys
        told = (_REVISION, self._most, budget)
        # behind the digest of the prompts, so that both can be told apart again
        self._cut = "-" + hashlib.blake2b(repr(told).encode(), digest_size=4).hexdigest()
        digests = prompt_digests(index)
        stored = zip(digests.items(), keys.digests, strict=True)
        self.known = {key: digest for (key, digest), whole in stored if whole.endswith(self._cut)}
        """Digests of prompts whose vectors are as they would be made now."""
        self._stored = digests.keys() | keys.left_out
        self.pending: list[_Pending] = []
        """Newest first."""
        self.forgotten: list[tuple[str, str]] = []
        self.sessions = self.unchanged = self.unusable = 0

    def read(self, prompts: Iterable[Prompts]) -> None:
        """Looks at all sessions."""
        pending: dict[SessionKey, _Pending] = {}
        for one in prompts:
            key = one.client, one.session_id
            self.sessions += 1
            if one.texts is None or self.known.get(key) == one.digest:
                self.unchanged += 1
                continue
            if not _is_storable(one.session_id):
                self.unusable += 1
                continue
            texts = [text for text in one.texts if text.strip()]
            if texts:
                is_cut = one.prompt_count > len(one.texts)
                pending[key] = _Pending(*key, _naive(one.started_at), one.digest + self._cut, texts, is_cut)
            else:
                self.sessions -= 1
                self.forgotten += [key] if key in self._stored else []
        self.pending = sorted(pending.values(), key=lambda one: (one.client, one.session_id))
        self.pending.sort(key=lambda one: one.started_at or datetime.min, reverse=True)

    def parts(self, one: _Pending) -> Parts:
        """The texts that are embedded of a session."""
        found = split(one.texts, self._count, max_parts=self._most, max_tokens=self._budget)
        return Parts(found.texts, found.is_cut or one.is_cut)


def _embed(
    home: Home,
    plan: _Plan,
    embedder: TextEmbedder,
    rules: Policy,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Embeds and commits batch by batch; what is forgotten goes first."""
    if not plan.pending and not plan.forgotten:
        return
    from tokenledger_dagster.inference.vector_store import append, merge

    folder = folder_of(home)
    if plan.forgotten:
        append(folder, [], plan.forgotten, embedder.dims, _now())
    done = 0
    if progress is not None and plan.pending:
        progress(done, len(plan.pending))
    for batch in _batches(plan.pending, rules.search.batch_sessions):
        append(folder, _vectors(batch, plan, embedder), [], embedder.dims, _now())
        merge(folder, rules.search.merge_files)
        done += len(batch)
        if progress is not None:
            progress(done, len(plan.pending))


def _vectors(batch: Sequence[_Pending], plan: _Plan, embedder: TextEmbedder) -> list[SessionVectors]:
    from tokenledger_dagster.inference.vector_store import SessionVectors

    parts = [plan.parts(one) for one in batch]
    found = embedder.embed([text for one in parts for text in one.texts])
    made, start = [], 0
    for one, (texts, is_cut) in zip(batch, parts, strict=True):
        rows = slice(start, start + len(texts))
        truncated = found.truncated[rows]
        truncated[-1] = truncated[-1] or is_cut
        counts, served = found.token_counts[rows], found.served[rows]
        about = one.client, one.session_id, one.started_at, one.digest
        made.append(SessionVectors(*about, found.vectors[rows], counts, truncated, served))
        start = rows.stop
    return made


def _batches(pending: Sequence[_Pending], size: int) -> Iterator[Sequence[_Pending]]:
    for start in range(0, len(pending), size):
        yield pending[start : start + size]


def _is_storable(text: str) -> bool:
    """Whether UTF-8 can write it, as a file of vectors must."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _naive(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(UTC).replace(tzinfo=None)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
