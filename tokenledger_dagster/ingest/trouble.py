"""What a person is told of a source that could not be read, and whether trying again makes sense.

Here: the one border at which nothing an adapter or a file does can stop a sync.  Not here: what was read before the
trouble, which is kept (``ingest.scan``).
"""

from __future__ import annotations

import os
import sqlite3

_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PROTOCOL,
)
_LONGEST = 200


def told(problem: Exception) -> str:
    """The problem in one line.  Of an error in a reader itself only its kind and place: its text may quote the log."""
    if isinstance(problem, sqlite3.Error):
        after = "the next sync tries again" if not is_lasting(problem) else "it is read again when it changes"
        return f"the database cannot be read ({problem}); {after}"[:_LONGEST]
    if isinstance(problem, OSError | EOFError | ValueError):
        return f"{type(problem).__name__}: {problem}"[:_LONGEST]
    import traceback  # for faults alone

    frame = traceback.extract_tb(problem.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"the adapter failed on it ({type(problem).__name__} at {place}); please report that"


def is_lasting(problem: Exception) -> bool:
    """Whether the same bytes would fail again, so that only a change of the file is worth another try."""
    if isinstance(problem, sqlite3.Error):
        return getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _PASSING
    if isinstance(problem, OSError):
        return problem.errno is None  # damaged gzip or zstd data; anything else is the system's word
    return True
