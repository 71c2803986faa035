"""A helper process: scans what it takes from the pipe of tokens, sends what it finds, and ends.

Here: the process around ``ingest.scan``; it imports the standard library, msgspec and the readers, and writes no file.
Not here: who starts it and what becomes of its results (``ingest.workers``).
"""

from __future__ import annotations

import gc
import os
import signal
import sys

import msgspec

from tokenledger_dagster.ingest.workers import FRAME, Job, scan_one, tokens_from


def main(taking: int, given: int) -> None:
    """Does the job in the file ``given`` until no token is left, or nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself stops its helpers
    gc.disable()  # rows hold no cycles
    job = msgspec.msgpack.decode(os.pread(given, os.fstat(given).st_size, 0), type=Job)
    encoder, out = msgspec.msgpack.Encoder(), sys.stdout.fileno()
    try:
        for start, end in tokens_from(taking, job):
            for number in range(start, end):
                data = encoder.encode(scan_one(job, number))
                _send(out, FRAME.pack(len(data)) + data)
    except BrokenPipeError:
        os._exit(1)


def _send(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]
