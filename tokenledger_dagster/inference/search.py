"""Sessions by meaning: which ones are most like a question, and what they cost.

Here: scores over all sessions of one index, exactly, and the document that answers. Not here: vectors and their files
(`vector_index`, `session_vectors`), figures (`usage.session_figures`), and printing (`cli.search`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenledger_dagster.contracts.search import SearchDocument, SearchedIndex, SearchHit, SearchModel
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.session_vectors import TextEmbedder, most_tokens
from tokenledger_dagster.inference.vector_index import VectorIndex, open_index
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.selection import Selection
from tokenledger_dagster.usage.session_figures import SessionFigures, ledger_zone, session_figures, sessions_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.embedder import Embeddings

__all__ = ["Hit", "SearchIndex", "best_sessions"]

_DIGITS = 6
"""Of a score: what the order of additions does to a cosine is below, and must not decide who comes first."""


class Hit(NamedTuple):
    """One session of an index."""

    place: int
    """Of the session in the index."""
    score: float
    margin: float | None
    part: int
    """From 1."""


def best_sessions(
    index: VectorIndex,
    query: npt.NDArray[np.float32],
    *,
    limit: int,
    min_score: float,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> list[Hit]:
    """The sessions most like a vector: every one is looked at.

    A session's score is the cosine of its best part. Equal scores are in the order of client and session id.

    Args:
        index: what is searched.
        query: [dims], of length 1.
        limit: the most sessions.
        min_score: less likely ones are left out.
        allowed: [sessions], which of them may be found; None is all of them.
    """
    import numpy as np

    keys = index.keys
    if not keys.starts:
        return []
    # one thread, a row at a time: memory is what takes the time, and a row's score does not depend on its neighbours
    by_row = np.einsum("ij,j->i", index.matrix, query)
    scores = np.maximum.reduceat(by_row, keys.starts).astype(np.float64).round(_DIGITS)
    places = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    if len(places) > limit + 1:  # one more than is shown, for the margin of the last one
        least = np.partition(scores[places], -(limit + 1))[-(limit + 1)]
        places = places[scores[places] >= least]
    ranked = sorted(places.tolist(), key=lambda one: (-scores[one], keys.clients[one], keys.session_ids[one]))
    found = []
    for rank, place in enumerate(ranked[:limit]):
        score = float(scores[place])
        if score < min_score:
            break
        margin = round(score - float(scores[ranked[rank + 1]]), _DIGITS) if rank + 1 < len(ranked) else None
        start = keys.starts[place]
        end = keys.starts[place + 1] if place + 1 < len(keys.starts) else keys.rows
        found.append(Hit(place, score, margin, int(by_row[start:end].argmax()) + 1))
    return found


class SearchIndex:
    """Answers questions over one home; a second one in the same process finds everything loaded."""

    def __init__(self, home: Home, embedder: TextEmbedder, model: str, zone: str) -> None:
        """Load nothing yet.

        Args:
            home: the ledger's home, synced at least once.
            embedder: of the model whose vectors are searched.
            model: its public name.
            zone: IANA name; counts only where the ledger has no zone of its own yet.
        """
        self._home, self._embedder, self._model, self._zone = home, embedder, model, zone
        self._index: VectorIndex | None = None
        self._allowed: tuple[object, npt.NDArray[np.bool_]] | None = None

    @property
    def opened(self) -> VectorIndex:
        """What was searched last; search first."""
        assert self._index is not None
        return self._index

    def search(
        self,
        text: str,
        *,
        limit: int,
        min_score: float,
        selection: Selection | None = None,
        pending: int | None = None,
        prompts: Callable[[list[tuple[str, str]]], Mapping[tuple[str, str], list[str]]] | None = None,
        now: datetime | None = None,
    ) -> SearchDocument:
        """The sessions most like a text, with what they cost in the selection's period.

        Args:
            text: the question.
            limit: the most sessions.
            min_score: less likely ones are left out.
            selection: which sessions may be found, by usage in its period, by client and project; its zone is replaced
                by the ledger's own.
            pending: how many sessions are known to be missing in the index.
            prompts: gives the words of some sessions, where they shall be shown.
            now: the document's time; None is the clock's.

        Raises:
            BackendError: no backend answered.
            ManifestError: the home holds no ledger.
            TokenLedgerError: a file of vectors is damaged.
        """
        import numpy as np

        embedded = self._question(text)
        served = embedded.served[0]
        index = self._index = open_index(self._home, served.model_sha256, served.precision, self._index)
        with closing(connect(self._home, read_only=True)) as connection:
            chosen = _in_zone(selection or Selection(), ledger_zone(connection, self._zone))
            allowed = self._allowed_by(chosen, index, lambda: sessions_of(connection, chosen))
            vector = embedded.vectors[0] / np.linalg.norm(embedded.vectors[0])
            hits = best_sessions(index, vector, limit=limit, min_score=min_score, allowed=allowed)
            keys = [(index.keys.clients[hit.place], index.keys.session_ids[hit.place]) for hit in hits]
            figures = session_figures(connection, str(self._home.root), keys, chosen)
        words = prompts(keys) if prompts is not None else {}
        return SearchDocument(
            generated_at=_time(now or datetime.now(UTC)),
            query=text.encode("utf-8", "replace").decode(),
            timezone=chosen.zone,
            filters=chosen.filters(),
            limit=limit,
            min_score=min_score,
            model=SearchModel(
                name=self._model,
                sha256=served.model_sha256,
                requested=served.requested,
                actual=served.actual,
                reason=served.reason,
                precision=served.precision,
                compute_unit=served.compute_unit,
            ),
            index=SearchedIndex(
                sessions=len(index.keys.starts),
                vectors=index.keys.rows,
                matching=len(index.keys.starts) if allowed is None else int(allowed.sum()),
                left_out=len(index.keys.left_out),
                pending=pending,
            ),
            results=[
                _result(rank, hit, index, figures.get(key), None if prompts is None else words.get(key, []))
                for rank, (hit, key) in enumerate(zip(hits, keys, strict=True), 1)
            ],
        )

    def _question(self, text: str) -> Embeddings:
        """The text embedded, or as much of its beginning as can be compared.

        What was too long for the backend that was asked for comes back in the precision of another.
        """
        found = self._embedder.embed([text])
        if found.token_counts[0] <= self._embedder.coreml_tokens:
            return found
        limit = most_tokens(self._embedder, self._embedder.embed([""]).served[0].actual)
        while found.token_counts[0] > limit and len(text) > 1:
            text = text[: len(text) * limit // found.token_counts[0]]
            found = self._embedder.embed([text])
        return found

    def _allowed_by(
        self, selection: Selection, index: VectorIndex, sessions: Callable[[], set[tuple[str, str]]]
    ) -> npt.NDArray[np.bool_] | None:
        """Which sessions of the index a selection names, None = all; asked once for the same question."""
        import numpy as np

        filters = selection.filters()
        if not filters:
            return None
        about = (index.version, repr(filters), self._stamp())
        if self._allowed is None or self._allowed[0] != about:
            named = sessions()
            keys = zip(index.keys.clients, index.keys.session_ids, strict=True)
            allowed = np.fromiter((key in named for key in keys), bool, len(index.keys.starts))
            self._allowed = about, allowed
        return self._allowed[1]

    def _stamp(self) -> str:
        from tokenledger_dagster.usage.key_memory import manifest_stamp

        return manifest_stamp(self._home)


def _in_zone(selection: Selection, zone: str) -> Selection:
    return Selection(
        zone=zone,
        since=selection.since,
        until=selection.until,
        clients=selection.clients,
        models=selection.models,
        projects=selection.projects,
        sessions=selection.sessions,
        estimates=selection.estimates,
    )


def _result(
    rank: int, hit: Hit, index: VectorIndex, figures: SessionFigures | None, words: list[str] | None
) -> SearchHit:
    keys = index.keys
    started = keys.started_us[hit.place]
    return SearchHit(
        rank=rank,
        client=keys.clients[hit.place],
        session_id=keys.session_ids[hit.place],
        score=hit.score,
        margin=hit.margin,
        part=hit.part,
        started_at=None if started is None else _time(_moment(started)),
        project=figures.project if figures else None,
        models=figures.models if figures else [],
        event_count=figures.event_count if figures else 0,
        total_tokens=figures.total_tokens if figures else 0,
        unpriced_tokens=figures.unpriced_tokens if figures else 0,
        list_price_usd=_usd(figures.list_price_nano) if figures else None,
        effective_cost_usd=_usd(figures.effective_cost_nano) if figures else None,
        first_activity=_time(_moment(figures.first_us)) if figures else None,
        last_activity=_time(_moment(figures.last_us)) if figures else None,
        prompts=msgspec.UNSET if words is None else words,
    )


def _usd(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano).scaleb(-9)


def _moment(microseconds: int) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:  # a log with a broken clock
        return datetime.max.replace(tzinfo=UTC) if microseconds > 0 else datetime.min.replace(tzinfo=UTC)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
