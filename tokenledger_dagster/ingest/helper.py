"""A helper process: scans what it takes from the pipe of tokens, sends what it finds, and ends.

Here: the process around ``ingest.scan``; it imports the standard library, msgspec and the readers, and writes no file.
Not here: who starts it and what becomes of its results (``ingest.workers``).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

import msgspec

from tokenledger_dagster.clients import compiled
from tokenledger_dagster.ingest.workers import FRAME, Job, scan_one, tokens_from

_MOST_WAITING = 32 << 20
"""Bytes of results that are kept before the reader is waited for."""


def main(taking: int, given: int, going: int, out: int) -> None:
    """Does the job in the file ``given``, once ``going`` says it is there, until no token is left in ``taking``.

    Ends at once where nobody listens to ``out`` any more, or no job ever comes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself stops its helpers
    gc.disable()  # rows hold no cycles
    bulk = compiled.bulk()
    if bulk is not None:
        bulk.end_with_parent()
    if not os.read(going, 1):
        return
    job = msgspec.msgpack.decode(os.pread(given, os.fstat(given).st_size, 0), type=Job)
    encoder, results = msgspec.msgpack.Encoder(), _Out(out)
    try:
        for start, end in tokens_from(taking, job):
            for number in range(start, end):
                data = encoder.encode(scan_one(job, number))
                results.send(FRAME.pack(len(data)), data)
        results.flush()
    except BrokenPipeError:
        os._exit(1)


class _Out:
    """A pipe whose reader may be busy: what it does not take at once waits here while scanning goes on."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._waiting = bytearray()
        os.set_blocking(pipe, False)

    def send(self, *parts: bytes) -> None:
        """Sends what can be sent now; waits only where too much would be kept."""
        sent = 0
        if not self._waiting:
            with contextlib.suppress(BlockingIOError):
                sent = os.writev(self._pipe, parts)
        for part in parts:
            self._waiting += memoryview(part)[sent:]
            sent = max(0, sent - len(part))
        if len(self._waiting) > _MOST_WAITING:
            self.flush()
        elif self._waiting:
            self._push()

    def flush(self) -> None:
        """Sends everything."""
        os.set_blocking(self._pipe, True)
        while self._waiting:
            self._push()
        os.set_blocking(self._pipe, False)

    def _push(self) -> None:
        sent = 0
        with contextlib.suppress(BlockingIOError), memoryview(self._waiting) as view:
            sent = os.write(self._pipe, view)
        del self._waiting[:sent]
