"""Texts to vectors, however many and however long: tokens, batches, order.

Here: windows of texts sorted by length, batches that need little padding, and everything put back in the order given.
Not here: who computes a batch (`chain`), how text becomes tokens (`tokenization`), and what vectors are for (`search`).

Memory does not grow with the number of texts but by their vectors: one window of texts is held as tokens at a time, and
one batch is computed at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference import switch
from tokenledger_dagster.inference.backend import BackendName, EmbeddingBackend, Served
from tokenledger_dagster.inference.breaker import BreakerChange
from tokenledger_dagster.inference.chain import Chain
from tokenledger_dagster.inference.model_cache import Key, ModelCache
from tokenledger_dagster.inference.model_folder import Manifest
from tokenledger_dagster.inference.policy import BatchPolicy, policy
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Vectors

__all__ = ["Embedder", "Embeddings", "Encoder", "open_embedder"]

PAD = 0


class Encoder(Protocol):
    """A tokenizer as the embedder needs it (`tokenization.EmbeddingTokenizer`)."""

    def encode_cut(self, text: str) -> tuple[list[int], bool]:
        """Ids with the special ones, cut at the model's longest text, and whether any of the text was left out."""
        ...


class Embeddings(NamedTuple):
    """What became of texts, each list and the rows of `vectors` in their order."""

    vectors: Vectors
    """[texts, dims] float32, of length 1."""
    token_counts: list[int]
    """What was computed, the special tokens counted."""
    truncated: list[bool]
    """Whether a text was longer than the model reads."""
    served: list[Served]
    """Who computed each; several precisions are possible, and no index takes more than one."""


class _Window(NamedTuple):
    """Some texts as tokens."""

    first: int
    """Position of the first text among all."""
    tokens: list[npt.NDArray[np.int32]]


class Embedder:
    """A model ready for texts. Safe to use from several threads; `close` it, or use it in a `with` block."""

    def __init__(
        self,
        encoder: Encoder,
        chain: Chain,
        manifest: Manifest,
        batches: BatchPolicy,
        *,
        requested: BackendName,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            encoder: makes tokens of a text.
            chain: computes a batch.
            manifest: of the model that both belong to.
            batches: how many texts at a time.
            requested: the backend that the chain asks first.
            close: gives back what was loaded.
        """
        self._encoder = encoder
        self._chain = chain
        self._batches = batches
        self._close = close
        self.dims = manifest.spec.dims
        """Length of a vector."""
        self.max_tokens = manifest.spec.max_tokens
        """The most tokens of one text, the special ones counted."""
        self.coreml_tokens = min(manifest.coreml_tokens or self.max_tokens, self.max_tokens)
        """The same where `coreml` answers; longer ones are another backend's, of another precision."""
        self.model = manifest.model
        """Public name of the model."""
        self.model_sha256 = manifest.weights_sha256
        """SHA-256 of its weights: what vectors of one index have in common."""
        self.requested: BackendName = requested
        """The backend asked first; who answered is told with each vector."""

    def embed(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Embeddings:
        """Embed texts.

        Args:
            texts: any text; halves of surrogate pairs are mended and what is beyond the model's length is left out. An
                empty one has a vector as well.
            progress: called after each batch with how many texts are done, and how many there are.

        Raises:
            BackendError: no backend answered, with the reason of each.
        """
        import numpy as np

        count = len(texts)
        vectors = np.empty((count, self.dims), dtype=np.float32)
        token_counts = [0] * count
        truncated = [False] * count
        served: dict[int, Served] = {}
        for window in self._windows(texts, truncated):
            for batch in self._cut(window.tokens):
                ids, mask = _padded([window.tokens[place] for place in batch])
                answer = self._chain.embed(ids, mask)
                rows = [window.first + place for place in batch]
                vectors[rows] = answer.vectors
                for row, place in zip(rows, batch, strict=True):
                    token_counts[row] = len(window.tokens[place])
                    served[row] = answer.served
                if progress is not None:
                    progress(len(served), count)
        return Embeddings(vectors, token_counts, truncated, [served[row] for row in range(count)])

    def close(self) -> None:
        """Give back what was loaded; what another thread still uses goes when it is done."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _windows(self, texts: Sequence[str], truncated: list[bool]) -> Iterator[_Window]:
        """Texts as tokens, some at a time; fills in which were cut."""
        import numpy as np

        longest = self._batches.max_characters
        for first in range(0, len(texts), self._batches.window_texts):
            tokens = []
            for row, text in enumerate(texts[first : first + self._batches.window_texts], first):
                ids, cut = self._encoder.encode_cut(text[:longest])
                truncated[row] = cut or len(text) > longest
                tokens.append(np.array(ids, dtype=np.int32))
            yield _Window(first, tokens)

    def _cut(self, tokens: Sequence[npt.NDArray[np.int32]]) -> Iterator[list[int]]:
        """Places of a window, batch by batch: the longest first, so that the runtime's memory grows once."""
        batch: list[int] = []
        for place in sorted(range(len(tokens)), key=lambda place: -len(tokens[place])):
            longest = len(tokens[batch[0]]) if batch else 0
            full = len(batch) == self._batches.max_rows or (len(batch) + 1) * longest > self._batches.max_tokens
            if batch and full:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch


def open_embedder(
    home: Home,
    settings: Settings,
    *,
    metrics: MetricsBackend | None = None,
    clock: Callable[[], float] = time.monotonic,
    tell: Callable[[BackendName, BreakerChange], None] | None = None,
) -> Embedder:
    """The home's model, ready for texts; backends are loaded when the first batch needs one.

    Args:
        home: where the model is.
        settings: whether inference is on, and which backend is asked first.
        metrics: where calls, loads and demotions are told.
        clock: seconds, never falling.
        tell: called with each change of a backend's breaker.

    Raises:
        InferenceOffError: it is off; the message says why and what turns it on.
        TokenLedgerError: the model's manifest or tokenizer cannot be used.
    """
    from tokenledger_dagster.inference.loading import load_backend
    from tokenledger_dagster.inference.manifest import read_manifest
    from tokenledger_dagster.inference.tokenization import load_embedding_tokenizer

    folder = switch.require(home, settings)
    metrics = NoopMetrics() if metrics is None else metrics
    manifest = read_manifest(folder)
    rules = policy()

    def load(key: Key) -> EmbeddingBackend:
        units = key.compute_units or rules.coreml.compute_units
        return load_backend(key.backend, folder, manifest, threads=key.threads, compute_units=units)

    requested = switch.requested_backend(settings)
    cache = ModelCache(
        load,
        max_items=rules.cache.max_items,
        max_bytes=rules.cache.max_bytes,
        idle_ttl_s=rules.cache.idle_ttl_s,
        clock=clock,
        metrics=metrics,
    )
    chain = Chain(
        cache,
        manifest.weights_sha256,
        manifest.spec,
        rules,
        requested=requested,
        clock=clock,
        metrics=metrics,
        tell=tell,
    )
    encoder = load_embedding_tokenizer(folder.tokenizer, manifest.spec.max_tokens, metrics=metrics)
    return Embedder(encoder, chain, manifest, rules.batches, requested=requested, close=cache.close)


def _padded(rows: Sequence[npt.NDArray[np.int32]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token lists as one batch: ids padded with 0, and the mask."""
    import numpy as np

    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), PAD, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
