"""The files that hold the vectors of sessions: their names, which of them count, and who may write.

Here: listing and naming. A file's name says which batches it holds, so that a rename is all there is to a commit: a
file whose batches another file holds as well has been merged, and no longer counts. Not here: what is in a file
(`vector_store`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tokenledger_dagster.filelock import file_lock
from tokenledger_dagster.home import Home

__all__ = ["VectorFile", "clean", "file_name", "folder_of", "live_files", "lock_path", "writing"]

_LOCK = ".lock"
_NAME = re.compile(r"(\d{10})-(\d{10})-(\d{1,10})x(\d{1,5})\.parquet")


class VectorFile(NamedTuple):
    """One file as its name tells of it."""

    first: int
    """The first batch that it holds, from 1."""
    last: int
    rows: int
    dims: int
    path: Path
    bytes: int
    mtime_ns: int


def folder_of(home: Home) -> Path:
    """Where the vectors of a home's sessions lie."""
    return home.lake / "inference" / "session_vectors"


def lock_path(home: Home) -> Path:
    """The file that is locked by who writes; it stays, since a lock is held on the file and not on its name."""
    return folder_of(home) / _LOCK


def file_name(first: int, last: int, rows: int, dims: int) -> str:
    """The name of a file with these batches."""
    return f"{first:010d}-{last:010d}-{rows}x{dims}.parquet"


def live_files(folder: Path) -> list[VectorFile]:
    """The files that count, in the order of their batches; none where the folder does not exist."""
    live: list[VectorFile] = []
    # the widest of those with the same beginning comes first
    for found in sorted(_files(folder), key=lambda one: (one.first, -one.last)):
        if not live or found.last > live[-1].last:
            live.append(found)
    return live


def clean(folder: Path) -> None:
    """Removes what a kill left behind: half-written files, and files that were merged.  Call while `writing`."""
    live = {one.path for one in live_files(folder)}
    for path in list(folder.iterdir()):
        is_half_written = path.name.startswith(".") and path.suffix == ".tmp"
        if is_half_written or (_NAME.fullmatch(path.name) and path not in live):
            path.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[bool]:
    """Holds the one lock of the folder, made if it is new; yields False where another process holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file_lock(folder / _LOCK) as held:
        if held:
            clean(folder)
        yield held


def _files(folder: Path) -> Iterator[VectorFile]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = _NAME.fullmatch(entry.name)
        if name is None:
            continue
        try:
            stat = entry.stat()
        except FileNotFoundError:  # merged since the folder was listed
            continue
        first, last, rows, dims = map(int, name.groups())
        yield VectorFile(first, last, rows, dims, Path(entry.path), stat.st_size, stat.st_mtime_ns)
