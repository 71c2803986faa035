"""Backends that do what a test says, and a clock that moves when it is told to.

Here: ``Clock``, ``FakeBackend``, ``Loader``, and a policy with round figures.  Not here: any expectation, and real
weights (``toy``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tokenledger_dagster.inference.backend import (
    BackendError,
    BackendName,
    BackendTimeoutError,
    EmbeddingBackend,
    LoadRefusedError,
    Precision,
)
from tokenledger_dagster.inference.model_cache import Key
from tokenledger_dagster.inference.model_folder import Manifest, ModelSpec
from tokenledger_dagster.inference.policy import BackendSeconds, Policy, policy

if TYPE_CHECKING:
    from tokenledger_dagster.inference.backend import Ids, Vectors

SHA256 = "5a" * 32
DIMS = 4
SPEC = ModelSpec(
    layers=1,
    heads=1,
    dims=DIMS,
    intermediate=4,
    vocab_size=100,
    max_positions=64,
    layer_norm_eps=1e-12,
    max_tokens=16,
)

MANIFEST = Manifest(
    schema_version=1,
    model="toy/model",
    license="MIT",
    attribution="",
    source="",
    spec=SPEC,
    opset=20,
    ir_version=10,
    coreml_tokens=None,
    files={"model.safetensors": SHA256},
    golden=[],
    built_with={},
    created_at="2026-01-01T00:00:00Z",
)


def small_policy(**breaker: Any) -> Policy:
    """The shipped policy with a breaker over 10 calls, of which 4 are enough, and SLAs of 1, 2 and 3 s."""
    shipped = policy()
    figures = {"window_calls": 10, "window_s": 100, "min_samples": 4, "cooldown_s": 30, **breaker}
    return msgspec.structs.replace(
        shipped,
        breaker=msgspec.structs.replace(shipped.breaker, **figures),
        sla=BackendSeconds(coreml=1.0, onnx=2.0, numpy=3.0),
        timeouts=BackendSeconds(coreml=5.0, onnx=5.0, numpy=5.0),
    )


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeBackend:
    """Answers unit vectors whose first number tells the row's first token; takes as long, or fails, as it is told."""

    def __init__(
        self,
        name: BackendName = "onnx",
        *,
        precision: Precision = "fp32",
        clock: Clock | None = None,
        seconds: float = 0.0,
        max_tokens: int = SPEC.max_tokens,
        size_bytes: int = 100,
    ) -> None:
        self.name: BackendName = name
        self.precision: Precision = precision
        self.compute_unit = f"{name} unit"
        self.dims = DIMS
        self.max_tokens = max_tokens
        self.size_bytes = size_bytes
        self.clock = clock or Clock()
        self.seconds = seconds
        self.fault: Exception | None = None
        self.answer: Callable[[Ids], Any] = unit_vectors
        self.batches: list[Ids] = []
        self.closed = 0

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        if self.closed:
            raise AssertionError("a closed backend was called")
        assert ids.shape == mask.shape
        self.batches.append(ids)
        self.clock.sleep(min(self.seconds, timeout_s))
        if self.seconds > timeout_s:
            raise BackendTimeoutError(f"no answer within {timeout_s:g} s; the worker was stopped")
        if self.fault is not None:
            raise self.fault
        vectors: Vectors = self.answer(ids)
        return vectors

    def close(self) -> None:
        self.closed += 1


def unit_vectors(ids: Ids) -> Vectors:
    vectors = np.zeros((len(ids), DIMS), dtype=np.float32)
    vectors[:, 0] = ids[:, 0] / SPEC.vocab_size
    vectors[:, 1] = np.sqrt(1 - vectors[:, 0] ** 2)
    return vectors


class Loader:
    """Loads what a test put there, and counts."""

    def __init__(self, *backends: FakeBackend) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.refusals: dict[BackendName, LoadRefusedError | Exception] = {}
        self.loaded: list[BackendName] = []
        self._lock = threading.Lock()

    def __call__(self, key: Key) -> EmbeddingBackend:
        with self._lock:
            self.loaded.append(key.backend)
            refusal = self.refusals.get(key.backend)
            if refusal is not None:
                raise refusal
            backend = self.backends[key.backend]
            backend.closed = 0
            return backend


def broken() -> BackendError:
    return BackendError("the runtime failed: out of memory; use smaller batches")
