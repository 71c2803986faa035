"""The fallback: the encoder in numpy, straight from the checkpoint, where no runtime is installed or none answers.

Here: loading the weights, and the protocol. Not here: the computation (`encoder`), and how numpy is kept from taking
every core (`processor_threads`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import BackendError, BackendName, LoadRefusedError, Precision
from tokenledger_dagster.inference.batch_run import run_batch
from tokenledger_dagster.inference.encoder import forward
from tokenledger_dagster.inference.processor_threads import limited_threads
from tokenledger_dagster.inference.weights import ModelFileError, TensorError, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids, Vectors
    from tokenledger_dagster.inference.batch_run import Deadline
    from tokenledger_dagster.inference.model_folder import ModelSpec
    from tokenledger_dagster.inference.weights import Weights

__all__ = ["NumpyBackend", "load_numpy"]


def load_numpy(path: Path, spec: ModelSpec, *, threads: int = 1) -> NumpyBackend:
    """The backend over the weights of `model.safetensors`.

    Args:
        path: the weights.
        spec: their shape.
        threads: that one call may take, at least 1.

    Raises:
        LoadRefusedError: stage "session", the file cannot be read as safetensors; "signature", tensors are missing, of
            another shape or of another dtype.
    """
    try:
        return NumpyBackend(read_weights(path, spec), spec, threads=threads)
    except TensorError as error:
        raise LoadRefusedError("signature", str(error)) from error
    except ModelFileError as error:
        raise LoadRefusedError("session", str(error)) from error
    except MemoryError as error:
        raise LoadRefusedError("session", f"{path}: does not fit into memory; close other programs") from error


class NumpyBackend:
    """The weights, float32, shared by all threads that ask."""

    def __init__(self, weights: Weights, spec: ModelSpec, *, threads: int = 1) -> None:
        """Hold the weights; nothing is computed yet."""
        self.name: BackendName = "numpy"
        self.precision: Precision = "fp32"
        self.compute_unit = "CPU"
        self.dims = spec.dims
        self.max_tokens = spec.max_tokens
        self.size_bytes = sum(one.nbytes for one in weights.values())
        self._spec = spec
        self._threads = max(1, threads)
        self._weights: Weights | None = weights

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        """As in the protocol; the time is looked at before each layer of each piece of the batch."""
        return run_batch(self.name, self._spec, ids, mask, timeout_s, self._compute)

    def close(self) -> None:
        """Let go of the weights; calls that are under way end well, a second close does nothing."""
        self._weights = None

    def _compute(self, ids: Ids, mask: Ids, deadline: Deadline) -> npt.NDArray[np.floating]:
        import numpy as np

        weights = self._weights
        if weights is None:
            raise BackendError("numpy: is closed; load it again")
        # weights that are not finite are told by the answer, not by warnings
        with limited_threads(self._threads), np.errstate(all="ignore"):
            return forward(weights, self._spec, ids, mask, between_layers=deadline.check)
