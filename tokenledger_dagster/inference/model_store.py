"""The folder of models as a workshop: one worker at a time, everything made aside, and moved in when it is whole.

Here: the lock, temporary folders and moves. Not here: what is made there (`fetch`, `build`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home

__all__ = ["folder_bytes", "move_in", "workshop"]

_ASIDE = ".making-"


@contextmanager
def workshop(home: Home) -> Iterator[Path]:
    """A temporary folder beside the models, on the same disk, for the only process that makes any.

    It is gone afterwards, however the block ends; what a killed process left is swept by the next one.

    Raises:
        TokenLedgerError: another process is at it, or the folder cannot be made.
    """
    try:
        home.models.mkdir(parents=True, exist_ok=True)
        handle = os.open(home.models / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        text = f"{home.models}: cannot be written ({error.strerror}); check its permissions, or set TOKENLEDGER_HOME"
        raise TokenLedgerError(text) from error
    try:
        _lock(handle, home)
        for left in home.models.glob(f"{_ASIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=home.models) as aside:
            yield Path(aside)
    finally:
        os.close(handle)


def _lock(handle: int, home: Home) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TokenLedgerError(f"{home.models}: another process fetches or builds a model; wait for it") from error


def move_in(made: Path, place: Path) -> None:
    """Flush a file or folder to the disk and give it its final name; a folder that was there goes first.

    A file replaces another at once. Of folders there is none for a moment, so a caller takes the manifest away before.

    Raises:
        OSError: the disk refused.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for one in (path for path in [made, *made.rglob("*")] if path.is_file()):
        _flush(one)
    if place.is_dir() and not place.is_symlink():
        # renamed first, so that a kill leaves all of it or nothing under its name
        old = made.with_name(f"{made.name}.old")
        place.rename(old)
        shutil.rmtree(old)
    os.replace(made, place)
    _flush(place.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
