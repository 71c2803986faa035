"""JSON reports as they were last printed, for the same question about the same state.

Here: keeping the bytes of a report beside the ledger, and finding them again with what the manifest says of unchanged
logs, so that it need not be opened.  Not here: telling that the logs are unchanged (``ingest.unchanged``), which comes
before an answer is used.  A kept answer counts for one manifest file as ``stat`` saw it before it was read, one program
and one set of arguments; whatever is damaged or cannot be written is left out.  Light: see ``cli.warm``.
"""

from __future__ import annotations

import marshal
import os
import time

from tokenledger_dagster import __version__, home_files
from tokenledger_dagster.ingest.unchanged import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import SimpleNamespace

    from tokenledger_dagster.ingest.unchanged import Facts

MOST = 16
"""Answers that are kept; the oldest go."""
_TIME = b'"generated_at": "'
_TIME_LENGTH = len("2026-01-01T00:00:00Z")


class Kept:
    """The place of one answer."""

    def __init__(self, home: str, args: SimpleNamespace, zone: str) -> None:
        self._home = home
        self._folder = os.path.join(home, home_files.ANSWERS)
        self._question = repr((__version__, zone, sorted(vars(args).items()), _plans(home)))
        self._state = _state(home)
        self.facts: Facts | None = None
        """What the manifest says, once somebody has read it; without, nothing is kept."""

    def find(self) -> tuple[Facts, Sequence[bytes | memoryview]] | None:
        """What the manifest said, and the parts of the answer with the time of now; None where there is none."""
        try:
            with open(self._path(), "rb", buffering=0) as handle:
                data = handle.read()
        except OSError:
            return None
        start = data.find(b"\n") + 1
        digest, _, size = data[:start].strip().partition(b" ")
        told = memoryview(data)[start:]  # answers are large: they are not copied
        at = data.find(_TIME, start) + len(_TIME)
        if not size.isdigit() or digest != _digest(told) or at < len(_TIME):
            return None
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
        return marshal.loads(told[: int(size)]), (told[int(size) : at - start], now, told[at - start + _TIME_LENGTH :])

    def keep(self, body: bytes) -> None:
        """Keeps an answer, unless the state has changed since this was made."""
        if self.facts is None or _state(self._home) != self._state:
            return
        path = self._path()
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._make_room()
            facts = marshal.dumps(self.facts)
            with open(temporary, "wb") as handle:
                handle.write(b"%s %d\n%s%s" % (_digest(facts + body), len(facts), facts, body))
            os.replace(temporary, path)
        except OSError:
            return  # a report needs no kept answer

    def _path(self) -> str:
        name = blake2b(repr((self._question, self._state)).encode("utf-8", "surrogateescape"), digest_size=16)
        return os.path.join(self._folder, f"{name.hexdigest()}.json")

    def _make_room(self) -> None:
        with os.scandir(self._folder) as found:
            listed = sorted((entry.stat().st_mtime_ns, entry.path) for entry in found)
        for _, path in listed[: max(0, len(listed) + 1 - MOST)]:
            os.unlink(path)


def _plans(home: str) -> tuple[int, int, str]:
    """What plans make of an answer: their file, and the time up to which fees are due.

    A pricing book's fees are due by the month, and nobody can tell from here whether any are in force.
    """
    try:
        stat = os.stat(f"{home}/{home_files.PLANS}")
    except OSError:
        return 0, 0, time.strftime("%Y-%m", time.gmtime())
    return stat.st_size, stat.st_mtime_ns, time.strftime("%Y-%m-%d", time.gmtime())


def _state(home: str) -> list[tuple[int, ...] | None]:
    """What ``stat`` tells of the manifest; every commit changes it.  An empty log of writes is as good as none."""
    found: list[tuple[int, ...] | None] = []
    for name in (home_files.MANIFEST, f"{home_files.MANIFEST}-wal"):
        try:
            stat = os.stat(f"{home}/{name}")
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_size, stat.st_mtime_ns, stat.st_ino) if stat.st_size else None)
    return found


def _digest(body: bytes | memoryview) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
