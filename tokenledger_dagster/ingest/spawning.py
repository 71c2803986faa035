"""Helper processes before they have work: started early, they are ready when it comes.

Here: starting interpreters that wait for a job, handing it over, and ending them.  Not here: what the job is
(``ingest.workers``) or doing it (``ingest.helper``).  Light on purpose: a first reading starts helpers before it
imports what it needs itself.
"""

from __future__ import annotations

import fcntl
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TAKING, _GIVEN, _GOING, _OUT = 100, 101, 102, 103
"""File numbers in a helper: the pipe of tokens, the file with the job, the pipe that says it is there, results."""
_BOOT = (
    "import sys; sys.path[:] = sys.argv[1].split(chr(10)); sys.modules['typing_extensions'] = None; "
    "from tokenledger_dagster.ingest.helper import main; main(*map(int, sys.argv[2:]))"
)


def spare_cores() -> int:
    """Cores that helpers may use beside this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(cores - 1, 15))


class Crew:
    """Some helpers of one sync; ``dismiss`` ends them, whatever they are doing."""

    def __init__(self, count: int) -> None:
        """Starts up to ``count`` helpers; fewer where the system refuses."""
        self.taking, self._giving = _high(os.pipe())
        (self._given,) = _high((_nameless_file(),))
        self._going, self._go = _high(os.pipe())
        self.results: list[int] = []
        """One pipe of results for each helper."""
        self._helpers: list[int] = []
        for _ in range(count):
            try:
                self._start()
            except OSError:
                break

    def _start(self) -> None:
        reading, writing = _high(os.pipe())
        inherited = {self.taking: _TAKING, self._given: _GIVEN, self._going: _GOING, writing: _OUT}
        try:
            helper = os.posix_spawn(
                sys.executable,
                [
                    *(sys.executable, "-S", "-E", "-c", _BOOT, "\n".join(sys.path)),
                    *map(str, inherited.values()),
                ],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                    *((os.POSIX_SPAWN_DUP2, own, theirs) for own, theirs in inherited.items()),
                ],
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._helpers.append(helper)
        self.results.append(reading)

    def give(self, job: bytes, tokens: bytes) -> None:
        """Hands the job over; ``tokens`` must fit into a pipe that nobody reads."""
        with open(self._given, "wb", closefd=False) as handle:
            handle.write(job)
        os.write(self._giving, tokens)
        os.close(self._giving)
        self._giving = -1
        os.write(self._go, b"!" * len(self._helpers))

    def dismiss(self) -> None:
        """Ends all helpers and closes everything; may be called twice."""
        while self._helpers:
            helper = self._helpers.pop()
            try:
                os.kill(helper, 9)
                os.waitpid(helper, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        for pipe in (self.taking, self._giving, self._given, self._going, self._go, *self.results):
            if pipe >= 0:
                os.close(pipe)
        self.taking = self._giving = self._given = self._going = self._go = -1
        self.results = []


_early: list[Crew] = []


def start_early() -> None:
    """Starts helpers for the sync to come, which takes them with ``early``; where it never comes, they end with us."""
    if spare_cores():
        _early.append(Crew(spare_cores()))


def early() -> Crew | None:
    """The helpers that were started before, once."""
    return _early.pop() if _early else None


def _high(files: Iterable[int]) -> list[int]:
    """The same files under numbers above those of a helper, which would overwrite one another otherwise."""
    moved = []
    for number in files:
        moved.append(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _OUT + 1))
        os.close(number)
    return moved


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tokenledger-job")
    import tempfile

    with tempfile.TemporaryFile() as handle:
        return os.dup(handle.fileno())
