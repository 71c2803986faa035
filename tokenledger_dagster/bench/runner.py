"""A whole bench: a folder of its own, a corpus in it, scenarios over it, and nothing left behind unless asked for.

Here: room on the disk, the temporary folder, progress of writing.  Not here: what a scenario does.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenledger_dagster.bench.corpus import MB, Corpus, Progress, Spec
from tokenledger_dagster.bench.scenarios import Bench, Options, Say
from tokenledger_dagster.contracts.bench import Scenario
from tokenledger_dagster.errors import TokenLedgerError

_ROOM = 1.3
"""Bytes needed for each byte of logs: what is appended, and the ledger read from them."""
_LEAST_ROOM = 20 * MB
_SAY_EVERY_SECONDS = 5.0


def run_scenarios(spec: Spec, names: Sequence[str], options: Options, say: Say, *, kept: bool) -> list[Scenario]:
    """Writes a corpus and runs these scenarios over it, in this order; ``kept`` leaves logs and truth where they are.

    Raises:
        TokenLedgerError: the disk has no room, or a measured command failed.
        OSError: the disk refused.
    """
    with written_corpus(spec, say, kept=kept) as (corpus, folder):
        bench = Bench(corpus, folder, options, say)
        found = []
        for name in names:
            say(f"{name}:")
            found.append(bench.run(name))
        return found


@contextmanager
def written_corpus(spec: Spec, say: Say, *, kept: bool = False) -> Iterator[tuple[Corpus, Path]]:
    """A corpus on the disk, and the folder for whatever else is needed; both go away afterwards unless ``kept``."""
    _require_room(Path(tempfile.gettempdir()), spec)
    folder = Path(tempfile.mkdtemp(prefix="tokenledger-bench-"))
    try:
        corpus = Corpus(folder / "logs", spec)
        say(f"writing {spec.size / MB:,.1f} MB of logs, shape {spec.shape}, seed {spec.seed}")
        corpus.write(_progress(say))
        say(f"  {corpus.files:,} files, {corpus.truth.events:,} events, {corpus.truth.usage_rows:,} rows with usage")
        yield corpus, folder
        if kept:
            corpus.write_truth(folder / "truth.json")
    finally:
        if kept:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _require_room(folder: Path, spec: Spec) -> None:
    free = shutil.disk_usage(folder).free
    needed = int(spec.size * _ROOM) + _LEAST_ROOM
    if free < needed:
        raise TokenLedgerError(
            f"{folder}: has {free // MB:,} MB free and this bench needs {needed // MB:,} MB; ask for less with "
            "--size-mb, or set TMPDIR to a folder with more room"
        )


def _progress(say: Say) -> Progress:
    last = time.monotonic()

    def told(done: int, wanted: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SAY_EVERY_SECONDS:
            last = time.monotonic()
            say(f"  {done // MB:,} of {wanted // MB:,} MB")

    return told
