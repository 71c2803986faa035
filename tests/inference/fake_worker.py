"""A worker that does what a test says, over the real protocol.

Here: ``main`` answers, hangs, dies or talks nonsense depending on a text's first token; ``hostile`` breaks the protocol
itself.  Not here: any expectation.

The folder that stands for a package holds ``alive``, locked while the process lives: a lock ends with its process even
where nobody has collected it yet.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import math
import os
import socket
import tempfile
import time
from pathlib import Path

from tokenledger_dagster.inference import coreml_worker
from tokenledger_dagster.inference.coreml_worker import ANSWER, READY, VECTOR_OF, ElsewhereError, Loaded, serve

ANSWERS, SLEEPS, EXITS, NAN, SHORT, FAILS, HOLDS = range(1, 8)
"""First token of a text, and what becomes of it."""
UNIT = "planned: operations 7 on the Neural Engine"


def main(channel: str, parent: str, load_s: str, package: str, mode: str) -> None:
    """Serves; ``mode`` is how loading goes: "refuses", "sleeps", "exits", "slow again" from then on,
    "on the processor", "on the processor next time", or well."""
    coreml_worker._GRACE_S = coreml_worker._LOOK_S = 0.2
    times = _alive(package)
    serve(int(channel), int(parent), float(load_s), lambda: _load(mode, times))


def hostile(channel: str, parent: str, load_s: str, package: str, mode: str) -> None:
    """Gets ready, reads one question, and then sends what ``mode`` says until the listener is gone."""
    _alive(package)
    with socket.socket(fileno=int(channel)) as listener:
        listener.sendall(ANSWER.pack(0, READY, 1) + b"x")
        listener.recv(1 << 16)
        if mode == "half":
            listener.sendall(ANSWER.pack(1, VECTOR_OF, 16) + b"half")
            time.sleep(60)
        if mode == "huge":
            listener.sendall(ANSWER.pack(1, VECTOR_OF, 1 << 31))
        if mode == "twice":
            listener.sendall(2 * (ANSWER.pack(1, VECTOR_OF, 16) + bytes(16)))
            time.sleep(60)
        while mode == "flood" or mode == "huge":
            listener.sendall(os.urandom(1 << 16))


def _alive(package: str) -> int:
    """Locks ``alive`` for as long as this process lives, counts how often, and leaves a temporary file."""
    Path(tempfile.gettempdir(), "compiled").touch()
    descriptor = os.open(Path(package) / "alive", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.write(descriptor, b".")
    return os.fstat(descriptor).st_size


def _load(mode: str, times: int) -> Loaded:
    if mode == "refuses":
        raise ValueError("model.mlmodel: is\nno model")
    if mode == "exits":
        os._exit(9)
    if mode == "sleeps":
        time.sleep(60)
    if mode == "on the processor" or (mode == "on the processor next time" and times > 1):
        raise ElsewhereError("CPU_AND_NE was asked for and all 391 operations are planned on the CPU")
    if mode == "slow again" and times > 1:
        time.sleep(0.6)
    return Loaded(_predict, UNIT)


def _predict(ids: bytes, mask: bytes) -> bytes:
    """First token, how many tokens, length of the frame, last token."""
    tokens, kept = array.array("i", ids), array.array("i", mask)
    if tokens[0] == SLEEPS:
        time.sleep(60)
    if tokens[0] == EXITS:
        os._exit(3)
    if tokens[0] == FAILS:
        raise RuntimeError("no room on the\nNeural Engine")
    if tokens[0] == HOLDS:
        ctypes.PyDLL(None).sleep(60)  # unlike CDLL, it keeps the interpreter's lock
    values = [float(tokens[0]), float(sum(kept)), float(len(tokens)), float(tokens[sum(kept) - 1])]
    if tokens[0] == NAN:
        values[2] = math.nan
    if tokens[0] == SHORT:
        values.pop()
    return array.array("f", values).tobytes()
