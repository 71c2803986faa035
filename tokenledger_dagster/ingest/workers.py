"""Scanning many files with several processes.

Here: sharing files out among this process and spawned helpers, largest first, and bringing back what they found.  Not
here: scanning one file (``ingest.scan``), which is all that a helper does (``ingest.helper``), or what becomes of the
results.

Files are taken from one pipe of tokens, so that nobody waits while there is work.  A helper that dies costs time only:
what it had taken and not brought back is scanned here.  No helper outlives its command.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.ingest.scan import Scanned, Start, scan
from tokenledger_dagster.ingest.spawning import Crew, spare_cores

HELP_FROM_BYTES = 24 << 20
"""Less than this is read sooner than a helper starts."""
_BYTES_A_HELPER = 16 << 20
_BYTES_A_TOKEN = 512 << 10
_LARGE, _PARTS = 8 << 20, 16
"""A file is large that is no smaller than the one, nor than one of that many parts of what each process reads."""
_MOST_TOKENS = 8_000
"""What a pipe holds without a reader, at four bytes each."""
_PIPE_BYTES = 1 << 20
TOKEN = struct.Struct("<i")
FRAME = struct.Struct("<q")


class Job(msgspec.Struct, array_like=True):
    """All the work of one sync."""

    files: list[tuple[SourceFile, Start, int]]
    """Each file, where its scan begins, and the number of its context."""
    contexts: list[dict[str, str]]
    tokens: list[tuple[int, int]]
    """Stretches of ``files`` that are taken at once."""
    now_us: int


class Found(msgspec.Struct, array_like=True):
    """What was found in the file of this number."""

    number: int
    scanned: Scanned


class Scanning(NamedTuple):
    """A scan of some files, under way."""

    found: Iterator[tuple[int, Scanned]]
    """Place of each file, and what was found in it."""
    is_shared: bool
    """Whether helpers take a share."""


@contextmanager
def scanning(
    files: Sequence[tuple[SourceFile, Start]],
    contexts: Sequence[Mapping[str, str]],
    now_us: int,
    crew: Crew | None = None,
) -> Iterator[Scanning]:
    """Has ``files`` scanned in any order.

    ``contexts`` holds each file's context.  ``crew``: helpers that were started before; without, some are started where
    the work is worth it.  Helpers begin at once, before anybody asks for what they find.
    """
    pending = [max(0, file.size - start.offset) for file, start in files]
    helpers = _helpers(sum(pending), len(files))
    if not helpers:
        order = sorted(range(len(files)), key=lambda place: -pending[place])
        yield Scanning(((place, scan(*files[place], contexts[place], now_us)) for place in order), is_shared=False)
        return
    large = max(_LARGE, sum(pending) // (_PARTS * (helpers + 1)))
    order = sorted(range(len(files)), key=lambda place: _turn(pending[place], large))
    kinds: dict[int, int] = {}
    listed: list[dict[str, str]] = []
    for context in contexts:
        if id(context) not in kinds:
            kinds[id(context)] = len(listed)
            listed.append(dict(context))
    job = Job(
        files=[(*files[place], kinds[id(contexts[place])]) for place in order],
        contexts=listed,
        tokens=_tokens([pending[place] for place in order]),
        now_us=now_us,
    )
    crew = crew or Crew(helpers)
    try:
        crew.give(msgspec.msgpack.encode(job), b"".join(map(TOKEN.pack, range(len(job.tokens)))))
        yield Scanning(((order[found.number], found.scanned) for found in _shared(job, crew)), is_shared=True)
    finally:
        crew.dismiss()


def _turn(size: int, large: int) -> tuple[bool, int]:
    """Order of files among helpers: the large ones first, so that nobody waits for one at the end, then the small ones.

    Small files are the most work for the command itself, which books what they tell: they come before those of middling
    size, so that this work is done while helpers still scan.
    """
    return (False, -size) if size >= large else (True, size)


def _helpers(pending: int, files: int) -> int:
    if pending < HELP_FROM_BYTES or files < 2:
        return 0
    return min(spare_cores(), pending // _BYTES_A_HELPER)


def _tokens(pending: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of files of about the same size, not more than a pipe holds."""
    least = max(_BYTES_A_TOKEN, sum(pending) // _MOST_TOKENS + 1)
    tokens: list[tuple[int, int]] = []
    start, size = 0, 0
    for place, more in enumerate(pending, 1):
        size += more + 4096  # opening a file costs too
        if size >= least or place == len(pending):
            tokens.append((start, place))
            start, size = place, 0
    return tokens


def _shared(job: Job, crew: Crew) -> Iterator[Found]:
    missing = set(range(len(job.files)))
    for pipe in crew.results:
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    streams = {pipe: _Stream() for pipe in crew.results}
    tokens = tokens_from(crew.taking, job)
    while True:
        before = len(missing)
        yield from _arrived(streams, missing, 0)
        if len(missing) < before:
            continue  # only this process can book, and all can scan: so what helpers found comes first
        token = next(tokens, None)
        if token is None:
            break
        for number in range(*token):
            missing.discard(number)
            yield scan_one(job, number)
    while streams:
        yield from _arrived(streams, missing, None)
    # a helper that died took some and brought nothing back
    for number in sorted(missing):
        yield scan_one(job, number)


def tokens_from(taking: int, job: Job) -> Iterator[tuple[int, int]]:
    """Stretches of files, each to one taker, until none is left."""
    while len(token := os.read(taking, TOKEN.size)) == TOKEN.size:
        yield job.tokens[TOKEN.unpack(token)[0]]


def scan_one(job: Job, number: int) -> Found:
    """Scans one file of the job."""
    file, start, context = job.files[number]
    return Found(number, scan(file, start, job.contexts[context], job.now_us))


_decode = msgspec.msgpack.Decoder(Found).decode


class _Stream:
    """What a helper has sent and nobody has looked at: the first ``filled`` bytes of a buffer that is used again."""

    def __init__(self) -> None:
        self.buffer = bytearray(2 * _PIPE_BYTES)
        self.filled = 0

    def fill(self, pipe: int) -> bool:
        """Takes what is there; False at the end of the stream."""
        if self.filled == len(self.buffer):
            self.buffer = self.buffer + bytes(len(self.buffer))
        with memoryview(self.buffer) as view:
            count = os.readv(pipe, [view[self.filled :]])
        self.filled += count
        return count > 0

    def take(self, used: int) -> None:
        """Forgets the first bytes."""
        self.filled -= used
        self.buffer[: self.filled] = self.buffer[used : used + self.filled]


def _arrived(streams: dict[int, _Stream], missing: set[int], timeout: float | None) -> Iterator[Found]:
    """What helpers have sent of what is ``missing``; streams that ended, or that make no sense, are dropped."""
    readable, _, _ = select.select(list(streams), [], [], timeout)
    for pipe in readable:
        stream = streams[pipe]
        if not stream.fill(pipe):
            del streams[pipe]
            continue
        start = 0
        while stream.filled - start >= FRAME.size:
            (size,) = FRAME.unpack_from(stream.buffer, start)
            if stream.filled - start - FRAME.size < size:
                break
            start += FRAME.size
            try:
                with memoryview(stream.buffer) as view, view[start : start + max(size, 0)] as frame:
                    found = _decode(frame)
            except (msgspec.DecodeError, UnicodeDecodeError):
                found = None
            if found is None or found.number not in missing:
                del streams[pipe]
                break
            missing.discard(found.number)
            yield found
            start += size
        if start:
            stream.take(start)
