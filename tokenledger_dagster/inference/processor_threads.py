"""How many threads numpy's own library takes for a product of matrices.

Here: a limit that holds while it is wanted. Not here: the figure (`config/inference.yaml`), and ONNX Runtime's threads,
which its session is told (`onnx_backend`).

Left alone, the library takes every core. Where these have something else to do, that was two to ten times slower than
one thread, since each waits for the slowest. Apple's Accelerate knows no such limit, and nothing is limited there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

__all__ = ["limited_threads"]


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let the library take so many threads until the block ends.

    The limit is that of the process: of blocks at the same time the first one's holds, and what was before comes back
    with the end of the last one.  Raises ImportError where threadpoolctl is not installed.
    """
    limit = _limit()
    limit.begin(threads)
    try:
        yield
    finally:
        limit.end()


class _Limit:
    """The process' one limit. Left to each block, two at a time would put back what the other one had set."""

    def __init__(self) -> None:
        import numpy as np  # noqa: F401 - its library has to be there to be found
        from threadpoolctl import ThreadpoolController

        self._controller: Any = ThreadpoolController().select(user_api="blas")
        self._lock = threading.Lock()
        self._blocks = 0
        self._held = ExitStack()

    def begin(self, threads: int) -> None:
        with self._lock:
            if not self._blocks:
                self._held.enter_context(self._controller.limit(limits=threads))
            self._blocks += 1

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._held.close()


@cache
def _limit() -> _Limit:
    return _Limit()
