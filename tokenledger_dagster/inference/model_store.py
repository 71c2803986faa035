"""The folder of models as a workshop: one worker at a time, everything made aside, and moved in when it is whole.

Here: the lock, temporary folders and moves. Not here: what is made there (`fetch`, `build`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import flush
from tokenledger_dagster.filelock import file_lock
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
    with ExitStack() as stack:
        try:
            home.models.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(file_lock(home.models / ".lock"))
        except OSError as error:
            text = (
                f"{home.models}: cannot be written ({error.strerror}); check its permissions, or set TOKENLEDGER_HOME"
            )
            raise TokenLedgerError(text) from error
        if not held:
            raise TokenLedgerError(f"{home.models}: another process fetches or builds a model; wait for it")
        for left in home.models.glob(f"{_ASIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_ASIDE, dir=home.models)))


def move_in(made: Path, place: Path) -> None:
    """Flush a file or folder to the disk and give it its final name; a folder that was there goes first.

    A file replaces another at once. Of folders there is none for a moment, so a caller takes the manifest away before.

    Raises:
        OSError: the disk refused.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for one in (path for path in [made, *made.rglob("*")] if path.is_file()):
        flush(one)
    if place.is_dir() and not place.is_symlink():
        # renamed first, so that a kill leaves all of it or nothing under its name
        old = made.with_name(f"{made.name}.old")
        place.rename(old)
        shutil.rmtree(old)
    os.replace(made, place)
    flush(place.parent)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
