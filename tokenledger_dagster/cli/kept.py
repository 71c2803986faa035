"""JSON reports as they were last printed, for the same question about the same state.

Here: keeping the bytes of a report beside the ledger, and finding them again with what the manifest says of unchanged
logs, so that it need not be opened.  Not here: telling that the logs are unchanged (``ingest.unchanged``), which comes
before an answer is used.  A kept answer counts for one state of the manifest, as its files told it before it was read,
one version of the program and one set of arguments; whatever is damaged or cannot be written is left out.  Light: see
``cli.warm``.
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

_INDEX_BYTES = 48
"""Of the index of SQLite's log of writes: how far it counts, with the number of the last change."""
MOST = 16
"""Answers that are kept; the oldest go."""
_TIME = b'"generated_at": "'
_TIME_LENGTH = len("2026-01-01T00:00:00Z")


class Kept:
    """The place of one answer."""

    def __init__(self, home: str, args: SimpleNamespace, zone: str) -> None:
        self._home = home
        self._folder = os.path.join(home, home_files.ANSWERS)
        zones = os.environ.get("PYTHONTZPATH")
        self._question = repr((__version__, zone, zones, sorted(vars(args).items())))
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
        digest, _, size = data[:start].rstrip(b"\n").partition(b" ")
        whole = memoryview(data)  # answers are large: they are not copied
        if digest != _digest(size, whole[start:]):
            return None
        body = start + int(size)
        at = data.find(_TIME, body) + len(_TIME)
        if at < len(_TIME):
            return None
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
        return marshal.loads(whole[start:body]), (whole[body:at], now, whole[at + _TIME_LENGTH :])

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
                size = b"%d" % len(facts)
                handle.write(b"%s %s\n%s%s" % (_digest(size, facts + body), size, facts, body))
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


def _state(home: str) -> list[object]:
    """What an answer is made of, as files tell it; every commit changes it.

    A commit is written before it counts: it counts as soon as the index of the log of writes says so, and whoever reads
    in between sees what was before.  An empty log is as good as none.
    """
    manifest = os.path.realpath(f"{home}/{home_files.MANIFEST}")  # SQLite's other files lie beside it
    log = _stat(f"{manifest}-wal")
    if log is not None and not log[0]:
        log = None
    index = b""
    if log is not None:
        try:
            with open(f"{manifest}-shm", "rb", buffering=0) as handle:
                index = handle.read(_INDEX_BYTES)
        except OSError:
            pass  # it is made by whoever opens the manifest next
    plans = _stat(f"{home}/{home_files.PLANS}")
    # a pricing book's fees are due by the month, and nobody can tell from here whether any are in force
    due = time.strftime("%Y-%m" if plans is None else "%Y-%m-%d", time.gmtime())
    return [_stat(manifest), log, index, plans, due]


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _digest(size: bytes, told: bytes | memoryview) -> bytes:
    digest = blake2b(size, digest_size=16)
    digest.update(told)
    return digest.hexdigest().encode()
