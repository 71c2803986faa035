"""Whether a sync would find nothing to do, told from ``stat`` alone and without the writer lock.

Here: a fingerprint of all that a sync's outcome depends on, remembered by a sync that left nothing open and compared by
the next report.  Not here: what to do when something changed (``ingest.sync``).  A wrong "changed" costs a sync, a
wrong "unchanged" would cost a figure: whatever is not plainly the same is changed.  Light: see ``clients.logs``.
"""

from __future__ import annotations

import marshal
import os

try:
    from _blake2 import blake2b  # hashlib would load OpenSSL for it
except ImportError:  # an interpreter built without it
    from hashlib import blake2b

from tokenledger_dagster import __version__, home_files
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.registry import logs
from tokenledger_dagster.ingest.meta import BOOKING_VERSION, get_meta, set_meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from tokenledger_dagster.clients.base import SourceFile
    from tokenledger_dagster.clients.walk import Entry

    Seen = tuple[str, int, int, int, int, int]
    """Path, size, modification and change time (ns), inode and device of a log file."""


class Walked:
    """What a look at the logs found, for a sync that follows at once."""

    __slots__ = ("_state", "entries")

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, str], list[Entry]] = {}
        """Log files by client, root and the root's origin."""
        self._state: list[tuple[object, ...]] = []

    def began(self, connection: sqlite3.Connection) -> None:
        """Notes what was booked before the look."""
        self._state = _state(connection)

    def holds(self, connection: sqlite3.Connection) -> bool:
        """Whether nobody has booked anything since, so that no file can be known better than the look found it."""
        return self._state == _state(connection)


KEY = "unchanged"
"""Key of the manifest's meta table under which the fingerprint lies."""
CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "config")
_SETTINGS = "TOKENLEDGER_"


def remember(
    home: str, connection: sqlite3.Connection, environ: Mapping[str, str], found: Iterable[SourceFile]
) -> None:
    """Keeps the fingerprint of a sync that read every client, left nothing open and has nothing to tell.

    ``found`` is what the sync saw before it read: a file written meanwhile is then told as changed.
    """
    seen = [(one.path, one.size, one.mtime_ns, one.ctime_ns, one.inode, one.device) for one in found]
    roots = list(_roots(connection, environ))
    current = _fingerprint(home, environ, roots, seen)
    if get_meta(connection, KEY) != current:
        set_meta(connection, KEY, current)


def is_unchanged(
    home: str, connection: sqlite3.Connection, environ: Mapping[str, str], walked: Walked | None = None
) -> bool:
    """Whether a sync now would change nothing and say nothing; ``walked`` keeps what was seen of the logs."""
    walked = walked or Walked()
    walked.began(connection)
    remembered = get_meta(connection, KEY)
    if remembered is None or not os.path.exists(f"{home}/{home_files.INGEST_SUMMARY}"):
        return False
    if connection.execute("SELECT 1 FROM retired LIMIT 1").fetchone():
        return False  # replaced segments wait for a sync to delete them
    roots = list(_roots(connection, environ))
    return remembered == _fingerprint(home, environ, roots, _seen(roots, walked))


def _roots(connection: sqlite3.Connection, environ: Mapping[str, str]) -> Iterator[tuple[str, Root]]:
    extra = connection.execute("SELECT client, path FROM extra_sources ORDER BY client, path").fetchall()
    for name, one in logs().items():
        for root in one.roots(environ):
            yield name, root
        for client, path in extra:
            if client == name and os.path.exists(path):
                yield name, Root(path, "--source")


def _seen(roots: Iterable[tuple[str, Root]], walked: Walked) -> list[Seen]:
    known = logs()
    seen: list[Seen] = []
    for name, root in roots:
        found = walked.entries[name, root.where, root.origin] = list(known[name].entries(root))
        seen += [
            (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
            for path, _, stat in found
        ]
    return seen


def _state(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Changes with every commit that books something or makes a source, and with every fingerprint."""
    query = (
        "SELECT (SELECT value FROM meta WHERE key = ?), (SELECT max(last_rid) FROM stream_runs), "
        "(SELECT max(source_no) FROM sources), (SELECT max(stream_no) FROM streams)"
    )
    return connection.execute(query, (KEY,)).fetchall()


def _fingerprint(home: str, environ: Mapping[str, str], roots: list[tuple[str, Root]], seen: list[Seen]) -> str:
    parts = (
        (__version__, BOOKING_VERSION, [(name, one.parser_version) for name, one in logs().items()]),
        # the home itself may be reached in several ways; every other setting may change what a sync does
        sorted(
            (key, value) for key, value in environ.items() if key.startswith(_SETTINGS) and key != f"{_SETTINGS}HOME"
        ),
        [environ.get(one.override) for one in logs().values() if one.override],
        [(name, root.where, root.origin, os.access(root.where, os.R_OK)) for name, root in roots],
        seen,
        _content(f"{home}/{home_files.HOME_JSON}"),
        sorted(_files(CONFIG, times=True)),
        sorted(_files(f"{home}/{home_files.JOURNAL}")),
        sorted(_files(f"{home}/{home_files.RECORDS}")),
    )
    # the second version of the format is the last whose bytes depend on values alone
    return blake2b(marshal.dumps(parts, 2), digest_size=16).hexdigest()


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError:
        return None


def _files(folder: str, *, times: bool = False) -> Iterator[tuple[str, int, int]]:
    """Path, size and, if asked for, modification time of every file below a folder."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, times=times)
            continue
        try:
            stat = entry.stat()
        except OSError:
            yield entry.path, -1, 0
        else:
            yield entry.path, stat.st_size, stat.st_mtime_ns if times else 0
