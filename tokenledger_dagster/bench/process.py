"""One command as a process of its own, measured from outside: wall and processor time, and the memory of its tree.

Here: spawning, ``wait4`` and sampling ``/proc``.  Not here: which command, or what its output means.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tokenledger_dagster.bench.machine import PACKAGE_ROOT
from tokenledger_dagster.clients.logs import LOGS_HOME
from tokenledger_dagster.contracts.bench import Memory, Round
from tokenledger_dagster.errors import TokenLedgerError

_PROC = Path("/proc")
_SAMPLE_SECONDS = 0.005
_DROPPED = ("TOKENLEDGER_", "CLAUDE_", "CODEX_", "XDG_", "DAGSTER_", "PYTHON")


class BenchError(TokenLedgerError):
    """A measured command failed: there is nothing to report of it."""


class Ran(msgspec.Struct):
    """A finished process."""

    output: bytes
    round: Round
    max_rss_bytes: int
    """Of the largest single process, as the system says; an upper bound."""


def environment(logs: Path, state: Path) -> dict[str, str]:
    """Variables under which a command sees only ``logs`` and keeps its ledger in ``state``; nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    return {
        **kept,
        "HOME": str(logs),
        LOGS_HOME: str(logs),
        "TOKENLEDGER_HOME": str(state),
        "TOKENLEDGER_TIMEZONE": "UTC",
        "TZ": "UTC",
        # the package that is running is the one that is measured, wherever it was started
        "PYTHONPATH": str(PACKAGE_ROOT),
    }


def command_line(arguments: Sequence[str]) -> list[str]:
    """The program with these arguments."""
    return [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments]


def run(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> Ran:
    """Runs the program to its end.  Raises BenchError where it fails."""
    return _run(command_line(arguments), f"tokenledger {' '.join(arguments)}", environ, folder)


def run_reference(logs: Path, size: int, environ: Mapping[str, str], folder: Path) -> Round:
    """Runs the reference over the first ``size`` bytes below ``logs``.  Raises BenchError where it fails."""
    line = [sys.executable, "-m", "tokenledger_dagster.bench.reference", str(logs), str(size)]
    return _run(line, "the reference", environ, folder).round


def _run(line: Sequence[str], name: str, environ: Mapping[str, str], folder: Path) -> Ran:
    if not hasattr(os, "wait4"):
        raise BenchError("this system has no wait4, which measures a process; run the bench on Linux or macOS")
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            line,
            cwd=folder,
            env=dict(environ),
            stdout=output,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()
            told = said[-1] if said else "it said nothing"
            raise BenchError(f"`{name}` ended with {process.returncode}: {told}")
        output.seek(0)
        # Linux counts in KiB, macOS in bytes
        scale = 1 if sys.platform == "darwin" else 1024
        measured = Round(wall_s=wall, user_s=usage.ru_utime, system_s=usage.ru_stime)
        return Ran(output.read(), measured, usage.ru_maxrss * scale)


def run_for_memory(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> tuple[Ran, Memory]:
    """Runs the program while its tree is sampled; the time of this run means nothing."""
    if not (_PROC / "self" / "smaps_rollup").exists():
        ran = run(arguments, environ, folder)
        return ran, Memory(peak_bytes=ran.max_rss_bytes, method="ru_maxrss")
    sampler = _Sampler()
    sampler.start()
    try:
        ran = run(arguments, environ, folder)
    finally:
        sampler.finish()
    return ran, Memory(peak_bytes=sampler.peak, method="pss_of_tree")


class _Sampler(threading.Thread):
    """Sums the proportional set size of all descendants of this process, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_pss_bytes, _descendants(os.getpid()))))

    def finish(self) -> None:
        """Stops sampling."""
        self._done.set()
        self.join()


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            try:
                # the name in brackets may hold anything: what follows the last bracket is state and parent
                fields = (_PROC / entry.name / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue  # gone already
            children[int(fields[1])].append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children[todo.pop()]
        found += below
        todo += below
    return found


def _pss_bytes(pid: int) -> int:
    """A page that several processes share counts to each by its part, so that the sum is what the tree takes."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
