"""The default: ONNX Runtime over `model.onnx`, on the processor and in this process.

Here: opening a session whose inputs, output and providers are those that were asked for, and running it with a hard
time limit. Not here: hashes, capability and golden vectors (`loading`).

A call that takes too long is ended by the runtime itself, between two operators, when a watchdog thread tells it to;
the session stays usable. Nothing is printed: the runtime's own log goes to stderr, and what it has to say is in the
exception as well. And nothing is sent: the published runtime reports its use to its maker unless it is told not to.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.inference.backend import BackendError, BackendName, LoadRefusedError, Precision
from tokenledger_dagster.inference.batch_run import run_batch
from tokenledger_dagster.inference.onnx_graph import INPUT_IDS, INPUT_MASK, OUTPUT
from tokenledger_dagster.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids, Vectors
    from tokenledger_dagster.inference.batch_run import Deadline
    from tokenledger_dagster.inference.model_folder import ModelSpec

__all__ = ["CPU", "FATAL", "OnnxBackend", "load_onnx", "quiet_runtime"]

CPU = "CPUExecutionProvider"
FATAL = 4
"""The one severity of the runtime's log that is left on; errors come as exceptions."""
_ACCOUNTED = 1.5
"""Memory of a loaded session by the size of its file, as measured."""
_REBUILD = "build it again with `tokenledger models build`"


def quiet_runtime() -> Any:
    """The module `onnxruntime`, told to keep its log to itself and to send nothing.  Raises ImportError.

    The first import of it has to be this one.
    """
    # before the first import: afterwards there is a database of events, and an identifier of this machine, in the home
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.set_default_logger_severity(FATAL)
    return onnxruntime


def load_onnx(path: Path, spec: ModelSpec, *, threads: int = 1, providers: Sequence[str] = (CPU,)) -> OnnxBackend:
    """The backend over a graph.

    Args:
        path: `model.onnx`.
        spec: the shape that the graph must have.
        threads: that one call may take, at least 1.
        providers: execution providers in order, exactly those that the session must have.

    Raises:
        LoadRefusedError: stage "session", the runtime does not load the graph; "signature", inputs or output have
            another name, type or shape; "providers", the runtime does not have them or would run on others.
    """
    session = _open(path, threads, providers)
    _check_signature(session, spec, path)
    actual = list(session.get_providers())
    if actual != list(providers):
        raise LoadRefusedError(
            "providers",
            f"{path}: asked for {', '.join(providers)} and would run on {', '.join(actual)}; ask for {actual[-1]}",
        )
    return OnnxBackend(session, spec, size_bytes=int(_ACCOUNTED * path.stat().st_size))


class OnnxBackend:
    """One session, shared by all threads that ask."""

    def __init__(self, session: Any, spec: ModelSpec, *, size_bytes: int) -> None:
        """Hold the session, an `onnxruntime.InferenceSession` of the right signature."""
        self.name: BackendName = "onnx"
        self.precision: Precision = "fp32"
        self.compute_unit = str(session.get_providers()[0])
        self.dims = spec.dims
        self.max_tokens = spec.max_tokens
        self.size_bytes = size_bytes
        self._spec = spec
        self._session: Any = session

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        """As in the protocol; a call that was stopped leaves the session usable."""
        return run_batch(self.name, self._spec, ids, mask, timeout_s, self._compute)

    def close(self) -> None:
        """Let go of the session; calls that are under way end well, a second close does nothing."""
        self._session = None

    def _compute(self, ids: Ids, mask: Ids, deadline: Deadline) -> npt.NDArray[np.floating]:
        session = self._session
        if session is None:
            raise BackendError("onnx: is closed; load it again")
        # one per call: after a termination it ends every later run at once
        options: Any = quiet_runtime().RunOptions()
        options.log_severity_level = FATAL
        # activations of a large batch are given back after it; measured, it costs nothing
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            options.terminate = True

        watchdog = threading.Timer(max(0.0, min(deadline.left_s, threading.TIMEOUT_MAX)), stop)
        watchdog.daemon = True
        try:
            watchdog.start()
        except RuntimeError as error:
            raise BackendError("onnx: no thread can be started to watch the time; close other programs") from error
        try:
            answer: npt.NDArray[np.floating] = session.run([OUTPUT], {INPUT_IDS: ids, INPUT_MASK: mask}, options)[0]
            return answer
        except Exception as error:  # the runtime's classes have no common base of their own
            if stopped.is_set():
                raise deadline.passed() from error
            raise BackendError(
                f"onnx: {_one_line(error)}; verify the model with `tokenledger models verify`"
            ) from error
        finally:
            watchdog.cancel()
            watchdog.join()


def _open(path: Path, threads: int, providers: Sequence[str]) -> Any:
    runtime = quiet_runtime()
    # asked first: for a provider that it does not have the runtime warns and takes the processor
    available = runtime.get_available_providers()
    missing = [name for name in providers if name not in available]
    if missing or not providers:
        raise LoadRefusedError(
            "providers",
            f"{path}: this ONNX Runtime has no {printable(', '.join(missing)) or 'provider of no name'}; "
            f"ask for {' or '.join(available)}",
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    # made for one shape after another of the same length, which texts do not have
    options.enable_mem_pattern = False
    # a ledger works in the background: waiting threads must not take a core
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # the runtime's classes have no common base of their own
        raise LoadRefusedError(
            "session", f"{path}: ONNX Runtime does not load it ({_one_line(error)}); {_REBUILD}"
        ) from error


def _check_signature(session: Any, spec: ModelSpec, path: Path) -> None:
    """Refuses names, types and shapes that the caller and the graph do not agree on."""
    try:
        inputs = {one.name: (one.type, one.shape) for one in session.get_inputs()}
        outputs = {one.name: (one.type, one.shape) for one in session.get_outputs()}
    except UnicodeDecodeError as error:
        raise LoadRefusedError("signature", f"{path}: has names that are no text; {_REBUILD}") from error
    wrong = ""
    if set(inputs) != {INPUT_IDS, INPUT_MASK} or set(outputs) != {OUTPUT}:
        found = f"{', '.join(sorted(inputs))} to {', '.join(sorted(outputs))}"
        wrong = f"computes {found}, where {INPUT_IDS}, {INPUT_MASK} to {OUTPUT} is needed"
    for name in (INPUT_IDS, INPUT_MASK):
        wrong = wrong or _wrong_tensor(name, *inputs[name], "tensor(int64)", (None, None))
    wrong = wrong or _wrong_tensor(OUTPUT, *outputs[OUTPUT], "tensor(float)", (None, spec.dims))
    if wrong:
        raise LoadRefusedError("signature", f"{path}: {printable(wrong)}; {_REBUILD}")


def _wrong_tensor(
    name: str, dtype: str, shape: Sequence[int | str | None], needed: str, axes: Sequence[int | None]
) -> str:
    if dtype != needed:
        return f"{name} is {dtype}, where {needed} is needed"
    # a length that is not fixed has a name or none
    fixed = [length if isinstance(length, int) else None for length in shape]
    if fixed != list(axes):
        wanted = "x".join("any" if one is None else str(one) for one in axes)
        return f"{name} is {'x'.join('any' if one is None else str(one) for one in fixed)}, where {wanted} is needed"
    return ""


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__
