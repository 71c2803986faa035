"""Which of this machine's Pythons runs this program fastest.

Here: timing a little of the work that a first reading does in Python, in each interpreter of the version that uv would
take, before the environment is made (``make setup``).  Not here: which versions fit (uv decides by pyproject.toml), or
anything that runs later.  Builds of one version differ by half: a distribution's is optimised by a profile, what a
version manager compiles often is not.  Needs nothing installed, and says nothing where it cannot tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import NamedTuple

_GAIN = 1.15
"""How many times as fast another interpreter must be to be taken instead of uv's choice."""
_TIMEOUT_SECONDS = 20
_WORK = """
import json, os, sys, sysconfig, time

class Row:
    def __init__(self, key, counts):
        self.key, self.counts = key, counts

def work(count):
    sums = {}
    for number in range(count):
        row = Row((number & 1023, number & 7, "model"), [number, number & 255, 1])
        known = sums.get(row.key)
        sums[row.key] = row.counts if known is None else [one + other for one, other in zip(known, row.counts)]
    return sorted(sums)

best = 1e9
for _ in range(3):
    began = time.perf_counter()
    work(20_000)
    best = min(best, time.perf_counter() - began)
headers = os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h"))
print(json.dumps([best, headers, os.path.realpath(sys.executable), sys.version_info[:2]]))
"""


class _Measured(NamedTuple):
    """What an interpreter told of itself."""

    seconds: float
    """Time of the work, best of some."""
    can_compile: bool
    """Whether it has the headers that the compiled readers need."""
    path: str
    """Where it really is."""
    version: tuple[int, ...]


def fastest(uv: str) -> str | None:
    """Path of the interpreter to make the environment with; None where uv's own choice is as good as any.

    Raises OSError, ValueError or subprocess.SubprocessError where uv, or its choice, cannot be asked.
    """
    standard = _output([uv, "python", "find", "--system", ">=3.11"]).strip()
    own = _measured(standard)
    listed = json.loads(_output([uv, "python", "list", "--only-installed", "--output-format", "json"]))
    others: dict[str, str] = {}
    for one in listed:
        parts = one["version_parts"]
        kind = one["implementation"], one["variant"]
        if (parts["major"], parts["minor"]) == own.version and kind == ("cpython", "default"):
            others.setdefault(os.path.realpath(one["path"]), one["path"])
    best: tuple[_Measured, str] | None = None
    for path in others.values():
        try:
            found = _measured(path)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue  # whatever is wrong with it, it is not needed
        fits = found.version == own.version and found.can_compile >= own.can_compile and found.path != own.path
        if fits and (best is None or found.seconds < best[0].seconds):
            best = found, path
    # uv's choice once more: what else the machine did meanwhile must not decide against it
    if best is None or min(own.seconds, _measured(standard).seconds) < _GAIN * best[0].seconds:
        return None
    return best[1]


def _measured(interpreter: str) -> _Measured:
    seconds, can_compile, path, version = json.loads(_output([interpreter, "-S", "-E", "-c", _WORK]))
    return _Measured(float(seconds), bool(can_compile), str(path), tuple(version))


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
    return done.stdout


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError):
        chosen = fastest(sys.argv[1])
        if chosen is not None:
            print(f"Python: {chosen} is the fastest of its version here (UV_PYTHON names another)", file=sys.stderr)
            print(chosen)
