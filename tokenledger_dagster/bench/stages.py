"""The stages of a cold run as functions of their own: each does what the one before does, and one thing more.

Here: the seam between the profile and the scanner.  Every function of ``ingest`` and ``clients`` that the profile
relies on is named in this module and nowhere else, so that a changed scanner changes this module alone.  Not here:
timing (``bench.profile``).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.clients.base import Client, Reader, Sink, SourceFile
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.ingest import reading
from tokenledger_dagster.ingest.scan import Start, scan
from tokenledger_dagster.ingest.sync import SyncOptions, sync

NOW_US = 1_800_000_000_000_000
"""The clock of readers, later than any made-up row."""

TIMED_IN_SYNC = {
    "book": ("tokenledger_dagster.ingest.booking", "book"),
    "price": ("tokenledger_dagster.ingest.ledger", "price_event"),
}
"""Functions of a sync whose own time is a stage, by module and name; neither calls the other."""


class Input(msgspec.Struct, frozen=True):
    """One file with what its client knows of its root."""

    client: Client
    file: SourceFile
    context: Mapping[str, str]


def discover(environ: Mapping[str, str]) -> list[Input]:
    """Every log file, as a sync finds them."""
    return [
        Input(client, file, context)
        for client in clients().values()
        for root in client.roots(environ)
        for context in [client.context(root)]
        for file in client.files(root)
    ]


def read(inputs: Sequence[Input]) -> None:
    """Reads every byte in blocks."""
    for one in inputs:
        with reading.opened(one.file.path, "plain") as handle:
            while handle.read(reading.BLOCK_BYTES):
                pass


def walk(inputs: Sequence[Input]) -> None:
    """And finds every newline."""
    for one in inputs:
        with reading.opened(one.file.path, "plain") as handle:
            reading.walk_lines(handle, _Deaf(), 0)


def classify(inputs: Sequence[Input]) -> None:
    """And asks of every line whether it can carry usage."""
    for one in inputs:
        with reading.opened(one.file.path, "plain") as handle:
            reading.walk_lines(handle, _Judge(_reader(one)), 0)


def decode(inputs: Sequence[Input]) -> None:
    """And makes records of the lines that can."""
    for one in inputs:
        with reading.opened(one.file.path, "plain") as handle:
            reading.walk_lines(handle, _reader(one), 0)


def scan_files(inputs: Sequence[Input]) -> None:
    """And the hashes by which a file and its records are known again."""
    for one in inputs:
        scan(one.file, Start(), one.context, NOW_US)


def sync_all(environ: Mapping[str, str], home: Path) -> dict[str, float]:
    """And books, prices and keeps everything; returns seconds by name of ``TIMED_IN_SYNC``."""
    with _timed() as seconds:
        sync(ensure_home(home, "bench"), environ, SyncOptions())
    return seconds


READING: dict[str, Callable[[Sequence[Input]], None]] = {
    "read": read,
    "newline walk": walk,
    "classify": classify,
    "decode": decode,
    "evidence": scan_files,
}
"""Stages before booking, by what each adds to the one before."""


class _Deaf:
    """A reader to which every line is irrelevant, at no cost."""

    def irrelevant(self, buffer: bytes, start: int, end: int) -> bool:
        return True

    def feed(self, line: bytes, offset: int, end: int) -> None:
        return

    def carry(self) -> bytes:
        return b""

    def lineage(self) -> None:
        return


class _Judge(_Deaf):
    """A reader that judges lines and reads none."""

    def __init__(self, reader: Reader) -> None:
        self._judge = reader.irrelevant

    def irrelevant(self, buffer: bytes, start: int, end: int) -> bool:
        self._judge(buffer, start, end)
        return True


def _reader(one: Input) -> Reader:
    return one.client.reader(one.file, None, Sink(NOW_US), one.context)


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Times the functions of ``TIMED_IN_SYNC`` while the block runs."""
    seconds = dict.fromkeys(TIMED_IN_SYNC, 0.0)
    places = [(name, importlib.import_module(module), function) for name, (module, function) in TIMED_IN_SYNC.items()]
    originals = [(module, function, getattr(module, function)) for _, module, function in places]
    try:
        for (name, module, function), (_, _, original) in zip(places, originals, strict=True):
            setattr(module, function, _stopwatch(original, name, seconds))
        yield seconds
    finally:
        for module, function, original in originals:
            setattr(module, function, original)


def _stopwatch(original: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    clock = time.perf_counter

    def watched(*given: Any, **named: Any) -> Any:
        started = clock()
        try:
            return original(*given, **named)
        finally:
            seconds[name] += clock() - started

    return watched
