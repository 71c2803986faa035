"""Whether a sync would find nothing to do, told from ``stat`` alone and without the writer lock.

Here: a fingerprint of all that a sync's outcome depends on, remembered by a sync that left nothing open and compared by
the next report.  Not here: what to do when something changed (``ingest.sync``).  A wrong "changed" costs a sync, a
wrong "unchanged" would cost a figure: whatever is not plainly the same is changed.  Light: see ``clients.logs``.
"""

from __future__ import annotations

import marshal
import os
from stat import S_ISREG

try:
    from _blake2 import blake2b as blake2b  # hashlib would load OpenSSL for it
except ImportError:  # an interpreter built without it
    from hashlib import blake2b as blake2b

from tokenledger_dagster import __version__, home_files
from tokenledger_dagster.clients import walk
from tokenledger_dagster.clients.logs import Root, agents_environ
from tokenledger_dagster.clients.registry import logs, package_folders
from tokenledger_dagster.ingest.meta import BOOKING_VERSION, get_meta, set_meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from tokenledger_dagster.clients.base import SourceFile
    from tokenledger_dagster.clients.walk import Seen

    Place = tuple[str, str, str]
    """Client, root and the root's origin."""
    Facts = tuple[str, list[tuple[str, str]], list[tuple[object, ...]]]
    """What the manifest says: the fingerprint of unchanged logs, sources added by hand (client, path), its state."""

KEY = "unchanged"
"""Key of the manifest's meta table under which the fingerprint lies."""
CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "config")
_SETTINGS = "TOKENLEDGER_"


class Walked:
    """What a look at the logs found, for a sync that follows at once."""

    __slots__ = ("_state", "seen")

    def __init__(self) -> None:
        self.seen: dict[Place, list[Seen]] = {}
        """Log files by client, root and the root's origin."""
        self._state: list[tuple[object, ...]] = []

    def entries(self, place: Place) -> list[walk.Entry] | None:
        """The log files below a root as a walk would find them; None where nobody looked."""
        seen = self.seen.get(place)
        if seen is None:
            return None
        root = place[1]
        return [(path, walk.below(path, root), walk.Stat(*rest)) for path, *rest in seen]

    def began(self, state: list[tuple[object, ...]]) -> None:
        """Notes what was booked before the look."""
        self._state = state

    def holds(self, connection: sqlite3.Connection) -> bool:
        """Whether nobody has booked anything since, so that no file can be known better than the look found it."""
        return self._state == _state(connection)


def remember(
    home: str, connection: sqlite3.Connection, environ: Mapping[str, str], found: Mapping[Place, Iterable[SourceFile]]
) -> None:
    """Keeps the fingerprint of a sync that read every client, left nothing open and has nothing to tell.

    ``found`` is what the sync saw before it read, by root: a file written meanwhile is then told as changed.
    """
    seen = {
        place: _digest([(one.path, one.size, one.mtime_ns, one.ctime_ns, one.inode, one.device) for one in files])
        for place, files in found.items()
    }
    roots = _places(_extra(connection), environ)
    current = _fingerprint(home, environ, [(*place, seen.get(place, "")) for place in roots])
    if get_meta(connection, KEY) != current:
        set_meta(connection, KEY, current)


def is_unchanged(
    home: str, connection: sqlite3.Connection, environ: Mapping[str, str], walked: Walked | None = None
) -> bool:
    """Whether a sync now would change nothing and say nothing; ``walked`` keeps what was seen of the logs."""
    facts = facts_of(connection)
    return facts is not None and is_same(home, facts, environ, walked or Walked())


def facts_of(connection: sqlite3.Connection) -> Facts | None:
    """What the manifest says; None where it says that a sync is due."""
    remembered = get_meta(connection, KEY)
    if remembered is None or connection.execute("SELECT 1 FROM retired LIMIT 1").fetchone():
        return None  # replaced segments wait for a sync to delete them
    return remembered, _extra(connection), _state(connection)


def is_same(home: str, facts: Facts, environ: Mapping[str, str], walked: Walked) -> bool:
    """Whether the logs are those that the manifest speaks of."""
    remembered, extra, state = facts
    walked.began(state)
    if not os.path.exists(f"{home}/{home_files.INGEST_SUMMARY}"):
        return False
    seen = []
    for place in _places(extra, environ):
        found = walked.seen[place] = _seen(place)
        seen.append((*place, _digest(found)))
    return remembered == _fingerprint(home, environ, seen)


def _seen(place: Place) -> list[Seen]:
    name, where, origin = place
    return logs()[name].seen(Root(where, origin))


def _extra(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT client, path FROM extra_sources ORDER BY client, path").fetchall()


def _places(extra: list[tuple[str, str]], environ: Mapping[str, str]) -> list[Place]:
    places: list[Place] = []
    finding = agents_environ(environ)
    for name, one in logs().items():
        places += [(name, root.where, root.origin) for root in one.roots(finding)]
        places += [(name, path, "--source") for client, path in extra if client == name and os.path.exists(path)]
    return places


def _digest(seen: list[Seen]) -> str:
    # the second version of the format is the last whose bytes depend on values alone
    return blake2b(marshal.dumps(seen, 2), digest_size=16).hexdigest()


def _state(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Changes with every commit that books something or makes a source, and with every fingerprint."""
    query = (
        "SELECT (SELECT value FROM meta WHERE key = ?), (SELECT max(last_rid) FROM stream_runs), "
        "(SELECT max(source_no) FROM sources), (SELECT max(stream_no) FROM streams)"
    )
    return connection.execute(query, (KEY,)).fetchall()


def _fingerprint(home: str, environ: Mapping[str, str], seen: list[tuple[str, str, str, str]]) -> str:
    parts = (
        (__version__, BOOKING_VERSION, [(name, one.parser_version) for name, one in logs().items()]),
        # the home itself may be reached in several ways; every other setting may change what a sync does
        sorted(
            (key, value) for key, value in environ.items() if key.startswith(_SETTINGS) and key != f"{_SETTINGS}HOME"
        ),
        [environ.get(one.override) for one in logs().values() if one.override],
        package_folders(),  # another package may bring an adapter
        [(*one, os.access(one[1], os.R_OK)) for one in seen],
        _content(f"{home}/{home_files.HOME_JSON}"),
        _content(f"{home}/{home_files.PRICING_BOOK}"),
        _content(f"{home}/{home_files.PRICE_LISTS}"),
        _content(f"{home}/{home_files.OVERRIDES}"),
        sorted(_files(CONFIG, times=True)),
        sorted(_files(f"{home}/{home_files.JOURNAL}")),
        sorted(_files(f"{home}/{home_files.RECORDS}")),
    )
    # the second version of the format is the last whose bytes depend on values alone
    return blake2b(marshal.dumps(parts, 2), digest_size=16).hexdigest()


def _content(path: str) -> bytes | None:
    try:
        # a pipe would never end, a device neither; the sync says what is wrong with it
        if not S_ISREG(os.stat(path).st_mode):
            return b"no regular file"
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
