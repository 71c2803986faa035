"""What every backend of the embedding model can do, how it fails, and what is recorded about who answered.

Here: the protocol and the words of the records. Not here: any backend, and the choice between them (`chain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from tokenledger_dagster.errors import TokenLedgerError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]
    """Token ids or mask: [batch, tokens]."""
    Vectors = npt.NDArray[np.float32]
    """Unit vectors: [batch, dims]."""

__all__ = [
    "BACKENDS",
    "BackendError",
    "BackendName",
    "BackendTimeoutError",
    "EmbeddingBackend",
    "LoadRefusedError",
    "LoadStage",
    "Precision",
    "Served",
]

BackendName = Literal["coreml", "onnx", "numpy"]
BACKENDS: tuple[BackendName, ...] = ("coreml", "onnx", "numpy")
"""In the order in which one stands in for the one before."""
Precision = Literal["fp32", "fp16", "int8"]
LoadStage = Literal["platform", "files", "sha256", "capability", "session", "signature", "providers", "golden"]
"""The steps of a load check, in order; the step that refused is part of the reason."""


class BackendError(TokenLedgerError):
    """A backend that was ready could not answer: the runtime failed, or its answer is no set of unit vectors."""


class BackendTimeoutError(BackendError):
    """A backend did not answer in time and was stopped."""


class LoadRefusedError(TokenLedgerError):
    """A backend was not loaded: `stage` is the step that refused, the message names file and remedy."""

    def __init__(self, stage: LoadStage, text: str) -> None:
        super().__init__(text)
        self.stage = stage


class EmbeddingBackend(Protocol):
    """One loaded model. Safe to call from several threads; a closed one raises BackendError."""

    @property
    def name(self) -> BackendName:
        """Which backend this is."""
        ...

    @property
    def precision(self) -> Precision:
        """Of the weights it computes with. Vectors of two precisions never share an index."""
        ...

    @property
    def compute_unit(self) -> str:
        """What it runs on, as the runtime tells, e.g. "CPUExecutionProvider"; a plan is worded "planned: ..."."""
        ...

    @property
    def dims(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The most tokens of one text, the special ones counted."""
        ...

    @property
    def size_bytes(self) -> int:
        """Memory that it is accounted with while it is loaded."""
        ...

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        """Embed one batch.

        Args:
            ids: [batch, tokens], each from 0 up to the vocabulary's size; padded with 0.
            mask: the same shape, 1 for a token and 0 for padding; every row has at least one 1.
            timeout_s: after so many seconds the call is stopped.

        Returns:
            [batch, dims] float32, mean-pooled over the mask and of length 1.

        Raises:
            BackendTimeoutError: it was stopped; the backend can be asked again unless it says otherwise.
            BackendError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; a second call does nothing."""
        ...


class Served(NamedTuple):
    """Who answered, recorded with every vector."""

    requested: BackendName
    actual: BackendName
    reason: str
    """Why actual is not requested; "" where it is."""
    precision: Precision
    compute_unit: str
    model_sha256: str
    """SHA-256 of the weights (`model.safetensors`) in hexadecimal."""
