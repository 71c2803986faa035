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

from tokenledger_dagster.clients import compiled, packed
from tokenledger_dagster.clients.base import Client, Sink, SourceFile
from tokenledger_dagster.clients.logs import agents_environ
from tokenledger_dagster.clients.pack import Packer
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.ingest import reading, workers
from tokenledger_dagster.ingest.scan import Start, scan
from tokenledger_dagster.ingest.sync import SyncOptions, sync

NOW_US = 1_800_000_000_000_000
"""The clock of readers, later than any made-up row."""

TIMED_IN_SYNC = {
    "book": ("tokenledger_dagster.ingest.booking", "book"),
    "price": ("tokenledger_dagster.ingest.ledger", "token_prices"),
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
        for root in client.roots(agents_environ(environ))
        for context in [client.context(root)]
        for file in client.files(root)
    ]


def read(inputs: Sequence[Input]) -> None:
    """Reads every byte in blocks."""
    _walk(inputs, lambda _: lambda data, filled, base: filled)


def walk(inputs: Sequence[Input]) -> None:
    """And finds every newline."""
    _walk(inputs, lambda _: _newlines)


def classify(inputs: Sequence[Input]) -> None:
    """And asks of every line whether it can carry usage."""
    with _bulk_until(0):
        _walk(inputs, lambda one: _without(_packer(one), "_lines"))


def decode(inputs: Sequence[Input]) -> None:
    """And decodes the lines that can."""
    with _bulk_until(1):
        _walk(inputs, lambda one: _without(_packer(one), "_take_lines"))


def collect(inputs: Sequence[Input]) -> None:
    """And keeps their hashes, times and counters as columns."""
    _walk(inputs, lambda one: _packer(one).take)


def scan_files(inputs: Sequence[Input]) -> None:
    """And books what each file tells alone, and writes its columns down."""
    for one in inputs:
        scan(one.file, Start(), one.context, NOW_US)


def sync_all(environ: Mapping[str, str], home: Path) -> dict[str, float]:
    """And books, prices and keeps everything; returns seconds by name of ``TIMED_IN_SYNC``."""
    # all in this process, so that what it does can be told apart
    with _timed() as seconds, _alone():
        sync(ensure_home(home, "bench"), environ, SyncOptions())
    return seconds


READING: dict[str, Callable[[Sequence[Input]], None]] = {
    "read": read,
    "newline walk": walk,
    "classify": classify,
    "decode": decode,
    "columns": collect,
    "book in file": scan_files,
}
"""Stages before booking, by what each adds to the one before."""


def _walk(inputs: Sequence[Input], take: Callable[[Input], reading.Take]) -> None:
    for one in inputs:
        with packed.opened(one.file.path, "plain") as handle:
            reading.walk_blocks(handle, take(one), 0)


def _newlines(data: bytes | bytearray, filled: int, base: int) -> int:
    start = 0
    while (end := data.find(b"\n", start, filled)) != -1:
        start = end + 1
    return start


def _packer(one: Input) -> Packer:
    """The fast reader of a file."""
    sink = Sink(NOW_US)
    form = one.client.pack_format()
    if form is None:
        raise TypeError(f"{one.client.name} has no fast reader to profile")
    return form.packer(one.file, sink, one.client.reader(one.file, None, sink, one.context))


def _without(packer: Packer, step: str) -> reading.Take:
    """A fast reader that stops short of a step."""
    setattr(packer, step, lambda *_: None)
    return packer.take


@contextmanager
def _bulk_until(stage: int) -> Iterator[None]:
    """Keeps the compiled readers, where they were built, from going further than a stage."""
    bulk = compiled.bulk()
    if bulk is None:
        yield
        return
    before = bulk.measure(stage)
    try:
        yield
    finally:
        bulk.measure(before)


@contextmanager
def _alone() -> Iterator[None]:
    """Keeps a sync from starting helpers."""
    limit, workers.HELP_FROM_BYTES = workers.HELP_FROM_BYTES, 1 << 62
    try:
        yield
    finally:
        workers.HELP_FROM_BYTES = limit


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
