"""The landing folder: lines that are on the disk when ``append`` returns, and the lock of the one who lands.

Here: files by UTC day, modes, flushing, and mending a line that a kill cut.  Not here: what a line holds.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import flush
from tokenledger_dagster.filelock import file_lock

MIN_FREE_BYTES = 64 << 20
"""Room that must be there before records are taken from a proxy that then forgets them."""


class LandingFolder:
    """``TOKENLEDGER_HOME/landing/<feeder>``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make_ready(self) -> None:
        """Makes the folder and sees that something could be written.  Raises TokenLedgerError where it could not."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            flush(self.path.parent)
            flush(self.path.parent.parent)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise TokenLedgerError(f"{self.path}: cannot be written; give this user permission to write there")
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize < MIN_FREE_BYTES:
            raise TokenLedgerError(f"{self.path}: less than {MIN_FREE_BYTES >> 20} MiB are free; free some space")

    def lock(self) -> AbstractContextManager[bool]:
        """Holds the folder's lock; False where another process has it."""
        return file_lock(self.path / ".lock")

    def append(self, lines: bytes, now: datetime | None = None) -> Path:
        """Adds whole lines to the day's file; they last when this returns.  Raises OSError where the disk refuses."""
        path = self.path / f"{(now or datetime.now(UTC)):%Y-%m-%d}.jsonl"
        is_new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.fchmod(handle, 0o600)
            size = os.fstat(handle).st_size
            # a kill may have cut the line before: it becomes a line of its own, which readers count as bad
            cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            data = memoryview(b"\n" + lines if cut else lines)
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            flush(self.path)
        return path

    def files(self) -> list[Path]:
        """The landed files in order."""
        return sorted(self.path.glob("*.jsonl"))
