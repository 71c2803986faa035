"""Files between the check and the use: whether those that were opened are those that were hashed.

Here: what a file is told apart by without reading it. Not here: its hash (`manifest`).

A model may be built again while it is loaded: the hash would be that of one file and the vectors those of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["SealedFiles"]


class SealedFiles:
    """Files as they were at one moment."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Look at them; one that is not there is remembered as such."""
        self._seen = {path: _identity(path) for path in paths}

    def changed(self) -> Path | None:
        """The first file that is another one now, or was written to; None where all are the same."""
        return next((path for path, seen in self._seen.items() if _identity(path) != seen), None)


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    """Where it is on the disk, its size, and when it was written; not what a backup or `chmod` changes."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
