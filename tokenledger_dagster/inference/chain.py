"""Who answers: the backend that was asked for, or the next one that can, with the reason told.

Here: the order coreml, onnx, numpy; what a failure of each kind leads to; the record of who answered. Not here: when a
backend is passed over (`breaker`), how one is loaded (`loading`) and kept (`model_cache`), and what texts become
(`embedder`).

A backend is passed over because it was not loaded (the step that refused is the reason), because its breaker is open,
because the batch is longer than it takes, or because it failed on this very batch. No such step is silent: every answer
carries the reasons of all backends before the one that gave it. Two backends may compute with different precision, so
neighbouring batches may too; each record says which, and whoever keeps vectors decides by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.inference.backend import (
    BACKENDS,
    BackendError,
    BackendName,
    BackendTimeoutError,
    EmbeddingBackend,
    LoadRefusedError,
    LoadStage,
    Served,
)
from tokenledger_dagster.inference.breaker import Breaker, BreakerChange, Outcome, Ticket
from tokenledger_dagster.inference.model_cache import Key, ModelCache
from tokenledger_dagster.inference.policy import Policy
from tokenledger_dagster.inference.validation import checked_batch, checked_vectors
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

if TYPE_CHECKING:
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids, Vectors
    from tokenledger_dagster.inference.model_folder import ModelSpec

__all__ = ["Answer", "Chain"]


_LASTING: frozenset[LoadStage] = frozenset({"platform", "providers"})
"""What refuses there is the machine, which is the same for as long as this process lives; asking Core ML where it would
run means loading it, which takes seconds."""


class Answer(NamedTuple):
    """The vectors of one batch, and who computed them."""

    vectors: Vectors
    """[batch, dims], of length 1."""
    served: Served


class _PassedOn(NamedTuple):
    """Why a backend did not answer this batch."""

    label: str
    """For metrics: the step of loading that refused, `error`, `timeout`, `open` or `tokens`."""
    text: str


class _Refusal(NamedTuple):
    """A load that was refused, kept for a while: looking again means reading all of the weights."""

    at_s: float
    passed_on: _PassedOn


class Chain:
    """Backends of one model in their order, from the requested one on. Safe to use from several threads."""

    def __init__(
        self,
        cache: ModelCache,
        model_sha256: str,
        spec: ModelSpec,
        policy: Policy,
        *,
        requested: BackendName,
        clock: Callable[[], float] = time.monotonic,
        metrics: MetricsBackend | None = None,
        tell: Callable[[BackendName, BreakerChange], None] | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            cache: loads backends and keeps them; it stays the caller's.
            model_sha256: names the weights in every record.
            spec: the model's shape, against which batches and answers are held.
            policy: timeouts, SLAs, breakers.
            requested: the backend to begin with; those before it in `BACKENDS` are not tried.
            clock: seconds, never falling.
            metrics: where calls, demotions and changes of breakers are told.
            tell: called with each change of a breaker; it must not call the chain.
        """
        self._cache = cache
        self._model_sha256 = model_sha256
        self._spec = spec
        self._policy = policy
        self._requested = requested
        self._clock = clock
        self._metrics = NoopMetrics() if metrics is None else metrics
        self._tell = tell
        self._lock = threading.Lock()
        self._refusals: dict[BackendName, _Refusal] = {}
        self._max_tokens: dict[BackendName, int] = {}
        """Of those that were loaded once, so that no probe is spent, nor anything loaded, for a batch too long."""
        self._breakers = {
            name: Breaker(policy.breaker, policy.sla[name], clock=clock, tell=partial(self._changed, name))
            for name in BACKENDS[BACKENDS.index(requested) :]
        }

    def embed(self, ids: npt.ArrayLike, mask: npt.ArrayLike) -> Answer:
        """Embed one batch with the first backend that can.

        Args:
            ids: [batch, tokens], see `checked_batch`.
            mask: the same shape.

        Raises:
            BackendError: the batch is none, which no backend is asked about; or no backend answered, with the reason of
                each.
        """
        ids, mask = checked_batch(ids, mask, self._spec)
        reasons: list[str] = []
        for name, breaker in self._breakers.items():
            found = self._ask(name, breaker, ids, mask, reasons)
            if isinstance(found, Answer):
                return found
            self._metrics.counter(names.INFERENCE_DEMOTIONS, backend=name, reason=found.label)
            reasons.append(f"{name}: {found.text}")
        raise BackendError(f"no backend answered: {'; '.join(reasons)}; run `tokenledger models verify`")

    def _ask(self, name: BackendName, breaker: Breaker, ids: Ids, mask: Ids, reasons: list[str]) -> Answer | _PassedOn:
        refusal = self._refused(name)
        if refusal is not None:
            return refusal
        tokens = ids.shape[1]
        if tokens > self._max_tokens.get(name, tokens):
            return self._too_long(name, tokens)
        ticket = breaker.admit()
        if ticket is None:
            return _PassedOn("open", f"circuit breaker {breaker.state.replace('_', ' ')}: {breaker.reason}")
        key = self._key(name)
        try:
            with self._cache.lease(key) as backend:
                self._max_tokens[name] = backend.max_tokens
                if tokens > backend.max_tokens:
                    breaker.forget(ticket)
                    return self._too_long(name, tokens)
                found = self._call(key, backend, breaker, ticket, ids, mask)
                if isinstance(found, _PassedOn):
                    return found
                served = Served(
                    requested=self._requested,
                    actual=name,
                    reason="; ".join(reasons),
                    precision=backend.precision,
                    compute_unit=backend.compute_unit,
                    model_sha256=self._model_sha256,
                )
            return Answer(found, served)
        except LoadRefusedError as error:
            self._cache.discard(key)  # one that was loaded and refuses now is looked at from the beginning
            return self._refuse(name, breaker, ticket, error)
        except BaseException:  # says nothing of the backend, and a lost probe would keep its breaker half open for ever
            breaker.forget(ticket)
            raise

    def _call(
        self, key: Key, backend: EmbeddingBackend, breaker: Breaker, ticket: Ticket, ids: Ids, mask: Ids
    ) -> Vectors | _PassedOn:
        """One call, timed, counted and held against what an answer must be."""
        started = self._clock()
        found: Vectors | _PassedOn
        outcome: Outcome
        try:
            vectors = backend.embed(ids, mask, timeout_s=self._policy.timeouts[key.backend])
            found = checked_vectors(vectors, len(ids), self._spec.dims, self._policy.answers.norm_tolerance)
            outcome, detail = "ok", ""
        except BackendError as error:
            outcome, detail = (
                "timeout" if isinstance(error, BackendTimeoutError) else "error",
                _told(key.backend, error),
            )
            found = _PassedOn(outcome, detail)
        seconds = self._clock() - started
        self._metrics.histogram(names.INFERENCE_CALL_DURATION, seconds, backend=key.backend)
        self._metrics.counter(names.INFERENCE_CALLS, requested=self._requested, backend=key.backend, outcome=outcome)
        if breaker.record(ticket, outcome, seconds, detail) and outcome == "error":
            # the call that is let through later meets a fresh one. One that was stopped or slow is kept: its worker is
            # starting again meanwhile, and no loading makes it faster
            self._cache.discard(key)
        return found

    def _too_long(self, name: BackendName, tokens: int) -> _PassedOn:
        return _PassedOn("tokens", f"takes {self._max_tokens[name]} tokens of a text, this batch has {tokens}")

    def _refused(self, name: BackendName) -> _PassedOn | None:
        """The refusal of a load a short while ago."""
        with self._lock:
            refusal = self._refusals.get(name)
            if refusal is None or refusal.passed_on.label in _LASTING:
                return refusal and refusal.passed_on
            if self._clock() - refusal.at_s < self._policy.breaker.cooldown_s:
                return refusal.passed_on
            del self._refusals[name]
            return None

    def _refuse(self, name: BackendName, breaker: Breaker, ticket: Ticket, error: LoadRefusedError) -> _PassedOn:
        """Remembers a refusal; a probe that cannot even load has failed."""
        passed_on = _PassedOn(error.stage, f"{error.stage}: {_told(name, error)}")
        if ticket.is_probe:
            breaker.record(ticket, "error", 0.0, passed_on.text)
        with self._lock:
            self._refusals[name] = _Refusal(self._clock(), passed_on)
        return passed_on

    def _key(self, name: BackendName) -> Key:
        units = self._policy.coreml.compute_units if name == "coreml" else ""
        return Key(self._model_sha256, name, self._policy.threads, units)

    def _changed(self, name: BackendName, change: BreakerChange) -> None:
        self._metrics.counter(names.INFERENCE_BREAKER, backend=name, state=change.after)
        if self._tell is not None:
            self._tell(name, change)


def _told(name: BackendName, error: BackendError | LoadRefusedError) -> str:
    """The message without the backend's name, which stands before every reason."""
    return str(error).removeprefix(f"{name}: ")
