"""Core ML: the package in a worker process, one text at a time, ended at the deadline and started anew.

Here: whether this machine can, the backend's protocol, and when another worker is started. Not here: one worker
(`coreml_process`), what it runs (`coreml_worker`), and what is done while it is not there (`chain`, `breaker`).

A new worker starts the moment the old one was ended, without being waited for: it loads while the breaker is open.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import (
    BackendError,
    BackendName,
    BackendTimeoutError,
    LoadRefusedError,
)
from tokenledger_dagster.inference.coreml_graph import PACKAGE_PRECISION, PACKAGE_SPEC, PACKAGE_WEIGHTS
from tokenledger_dagster.inference.coreml_process import WorkerProcess
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.sealed_files import SealedFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_dagster.inference.backend import Ids, Vectors
    from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder

__all__ = ["CoreMlBackend", "load_coreml", "start_coreml"]

_WORKER = "tokenledger_dagster.inference.coreml_worker:main"
_LOOK_S = 0.02
"""How long a call in progress may go on when this is closed, before its worker is killed."""
_LONGEST_S = 86_400.0
"""No call waits longer; locks and sockets refuse what is far above."""
_ACCOUNTED = 1.5
"""Memory of a loaded package by the size of its weights, as with the other runtimes."""


def load_coreml(folder: ModelFolder, manifest: Manifest, compute_units: str = "CPU_AND_NE") -> CoreMlBackend:
    """The package of a folder, loaded by Core ML in a worker process.

    Args:
        folder: the model's; its files have been checked.
        manifest: the folder's.
        compute_units: a name of `coremltools.ComputeUnit`.

    Raises:
        LoadRefusedError: this is no Mac, coremltools is not installed, there is no package, or Core ML refuses it.
    """
    machine: str = sys.platform  # a name, since a type checker takes the other branch for unreachable
    if machine != "darwin":
        raise LoadRefusedError("platform", f"coreml: runs on macOS, this is {machine}; use `onnx`")
    if importlib.util.find_spec("coremltools") is None:
        raise LoadRefusedError("platform", "coreml: coremltools is not installed; run `make setup-inference`")
    return start_coreml(folder, manifest, compute_units)


def start_coreml(
    folder: ModelFolder,
    manifest: Manifest,
    compute_units: str,
    *,
    target: str = _WORKER,
    load_s: float | None = None,
) -> CoreMlBackend:
    """The same without asking what machine this is.

    Args:
        folder: the model's.
        manifest: the folder's.
        compute_units: handed to the worker.
        target: what runs in the worker, see `WorkerProcess`.
        load_s: seconds that loading may take; as the policy says where none are given.

    Raises:
        LoadRefusedError: there is no package, the worker does not get ready, or it would run on the processor alone
            where more was asked for.
    """
    weights = folder.mlpackage / PACKAGE_WEIGHTS
    size = weights.stat().st_size if weights.is_file() else 0
    if manifest.coreml_tokens is None or not size:
        raise LoadRefusedError("files", f"{folder.mlpackage}: was not built; run `tokenledger models build`")
    seconds = policy().coreml.load_timeout_s if load_s is None else load_s

    def start() -> WorkerProcess:
        return WorkerProcess(target, [str(folder.mlpackage), compute_units], load_s=seconds)

    try:
        backend = CoreMlBackend(
            start,
            manifest,
            tokens=manifest.coreml_tokens,
            size_bytes=int(_ACCOUNTED * size),
            files=SealedFiles([weights, folder.mlpackage / PACKAGE_SPEC]),
        )
        backend.wait_ready(seconds)
    except BackendError as error:
        raise LoadRefusedError("session", f"{folder.mlpackage}: {error}") from error
    return backend


class CoreMlBackend:
    """A package of a fixed number of tokens, in a process of its own.

    Shorter texts are padded. A longer one is refused and never cut here: the chain knows `max_tokens` and lets another
    backend embed all of it.
    """

    def __init__(
        self,
        start: Callable[[], WorkerProcess],
        manifest: Manifest,
        *,
        tokens: int,
        size_bytes: int,
        files: SealedFiles | None = None,
    ) -> None:
        """Start the first worker and return at once.

        Args:
            start: starts a worker; raises BackendError.
            manifest: the model's.
            tokens: how many the package takes.
            size_bytes: what it is accounted with.
            files: what every worker loads, none of which has been checked again since this was made.
        """
        self.name: BackendName = "coreml"
        self.precision = PACKAGE_PRECISION
        self.dims = manifest.spec.dims
        self.max_tokens = min(manifest.spec.max_tokens, tokens)
        self.size_bytes = size_bytes
        self.compute_unit = "not loaded"
        self._tokens = tokens
        self._start = start
        self._files = files
        self._owner = os.getpid()
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._worker: WorkerProcess | None = start()

    @property
    def worker_pid(self) -> int | None:
        """Number of the process that answers or is loading; None where there is none."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it can answer.

        Raises:
            BackendTimeoutError: not within that time.
            BackendError: the worker cannot load the package, or this is closed.
            LoadRefusedError: it would run on the processor alone, or the package is another one than was checked.
        """
        timeout_s = min(timeout_s, _LONGEST_S)
        deadline = time.monotonic() + timeout_s
        self._take(timeout_s)
        try:
            self._ready(deadline)
        finally:
            self._one_at_a_time.release()

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        """As in the protocol; the deadline is that of the whole batch, whose texts are computed one after the other.

        Raises:
            LoadRefusedError: a worker was started anew, and would run on the processor alone or loaded another package.
        """
        import numpy as np

        timeout_s = min(timeout_s, _LONGEST_S)
        deadline = time.monotonic() + timeout_s
        rows = [self._framed(row, kept) for row, kept in zip(ids, mask, strict=True)]
        vectors = np.empty((len(rows), self.dims), dtype=np.float32)
        self._take(timeout_s)
        try:
            worker = self._ready(deadline)
            for place, (tokens, kept) in enumerate(rows):
                vectors[place] = np.frombuffer(worker.ask(tokens, kept, self.dims, deadline), np.float32)
        except BackendError as error:
            if self._closed:
                raise BackendError("coreml: was closed meanwhile; load it again") from error
            raise
        finally:
            self._renew()
            self._one_at_a_time.release()
        return vectors

    def close(self) -> None:
        """End the worker whatever it is doing; a second call does nothing."""
        self._closed = True
        if os.getpid() != self._owner:  # a fork: the lock may be held for ever, by a thread that is not here
            worker, self._worker = self._worker, None
            if worker is not None and worker.alive:  # started here
                worker.kill()
                worker.end()
            return
        while not self._one_at_a_time.acquire(timeout=_LOOK_S):
            worker = self._worker
            if worker is not None:
                worker.kill()
        try:
            if self._worker is not None:
                self._worker.end()
                self._worker = None
        finally:
            self._one_at_a_time.release()

    def _take(self, timeout_s: float) -> None:
        if not timeout_s > 0:  # a lock would wait for ever, and NaN is no time either
            raise BackendTimeoutError(f"coreml: stopped, no answer within {timeout_s:g} s")
        if not self._one_at_a_time.acquire(timeout=timeout_s):
            raise BackendTimeoutError("coreml: others were being served all the time")
        if self._closed:
            self._one_at_a_time.release()
            raise BackendError("coreml: is closed; load it again")

    def _ready(self, deadline: float) -> WorkerProcess:
        if self._worker is None or not self._worker.alive:
            self._worker = self._start()
        fresh = self._worker.compute_unit is None
        self._worker.ready(deadline)
        changed = self._files.changed() if self._files is not None and fresh else None
        if changed is not None:
            self._worker.kill()
            self._worker.end()
            self._worker = None
            raise LoadRefusedError("sha256", f"{changed}: was replaced since it was checked; ask again")
        self.compute_unit = str(self._worker.compute_unit)
        return self._worker

    def _renew(self) -> None:
        """Starts another worker where the last one was ended, unless it never got ready: then the next call does."""
        worker = self._worker
        if self._closed or worker is None or worker.alive or worker.compute_unit is None:
            return
        try:
            self._worker = self._start()
        except BackendError:
            self._worker = None

    def _framed(self, ids: Ids, mask: Ids) -> tuple[bytes, bytes]:
        """A text as the package takes it, and its mask: padded to the fixed length instead of to that of its batch."""
        import numpy as np

        length = int(np.flatnonzero(mask)[-1]) + 1
        if length > self.max_tokens:
            raise BackendError(f"coreml: {length} tokens; the package takes {self.max_tokens}, use another backend")
        framed = np.zeros((2, self._tokens), dtype=np.int32)
        framed[0, :length] = ids[:length]
        framed[1, :length] = mask[:length]
        return framed[0].tobytes(), framed[1].tobytes()
