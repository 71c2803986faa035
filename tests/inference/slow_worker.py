"""A worker that stands for Core ML's and is as slow as a file says, over the real protocol.

Here: ``main``, which answers unit vectors, each after as many seconds as ``delay`` in the package's folder says.  Not
here: who asks it (``measure_breaker``).
"""

from __future__ import annotations

import array
import time
from pathlib import Path

from tokenledger_dagster.inference.coreml_worker import Loaded, serve


def main(channel: str, parent: str, load_s: str, package: str, dims: str) -> None:
    """Serves until nobody listens."""
    delay = Path(package) / "delay"

    def predict(ids: bytes, mask: bytes) -> bytes:
        time.sleep(float(delay.read_text()))
        return array.array("f", [1.0, *[0.0] * (int(dims) - 1)]).tobytes()

    serve(int(channel), int(parent), float(load_s), lambda: Loaded(predict, "pretends to be a Neural Engine"))
