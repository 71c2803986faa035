"""One call of a backend in this process: checked, cut into pieces that memory has room for, ended at the deadline.

Here: what the numpy and the ONNX backend do alike around the computation. Not here: the computation, and the limits
themselves (`config/inference.yaml`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import BackendError, BackendTimeoutError
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.validation import checked_batch, checked_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import BackendName, Ids, Vectors
    from tokenledger_dagster.inference.model_folder import ModelSpec

__all__ = ["Deadline", "run_batch"]


class Deadline:
    """A moment by which one call of a backend must have answered."""

    def __init__(self, backend: BackendName, timeout_s: float) -> None:
        """Begin to count now; a time that is not above 0 is over at once."""
        self._backend = backend
        self._timeout_s = timeout_s
        self._started = time.monotonic()

    @property
    def left_s(self) -> float:
        """Seconds until then; 0 or less when it has passed."""
        return self._timeout_s - (time.monotonic() - self._started)

    def check(self) -> None:
        """Go on while there is time.

        Raises:
            BackendTimeoutError: there is none left.
        """
        if not self.left_s > 0:
            raise self.passed()

    def passed(self) -> BackendTimeoutError:
        """What to raise when it has passed."""
        return BackendTimeoutError(f"{self._backend}: stopped, no answer within {self._timeout_s:g} s")


def run_batch(
    backend: BackendName,
    spec: ModelSpec,
    ids: Ids,
    mask: Ids,
    timeout_s: float,
    compute: Callable[[Ids, Ids, Deadline], npt.NDArray[np.floating]],
) -> Vectors:
    """The vectors of a batch of any size.

    Args:
        backend: who answers, for the messages.
        spec: the model's shape, which batch and answer are held against.
        ids: [batch, tokens].
        mask: the same shape.
        timeout_s: for the batch as a whole.
        compute: embeds some of the rows; gets ids, mask and the deadline.

    Raises:
        BackendTimeoutError: it was stopped.
        BackendError: the batch is none, the answer is no set of unit vectors, or what `compute` raised.
    """
    import numpy as np

    limits = policy()
    deadline = Deadline(backend, timeout_s)
    try:
        ids, mask = checked_batch(ids, mask, spec)
        rows = max(1, limits.batches.max_tokens // ids.shape[1])
        pieces = []
        for start in range(0, len(ids), rows):
            deadline.check()
            pieces.append(compute(ids[start : start + rows], mask[start : start + rows], deadline))
        vectors = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return checked_vectors(vectors, len(ids), spec.dims, limits.answers.norm_tolerance)
    except MemoryError as error:
        raise BackendError(
            f"{backend}: there is not enough memory for the batch; ask for fewer texts at a time"
        ) from error
