"""Facts of the machine and the program that a figure is worth nothing without.

Here: reading them from the system.  Not here: comparing runs.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from pathlib import Path

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.clients import compiled
from tokenledger_dagster.contracts.bench import Machine, Versions

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package: a checkout, or site-packages."""
_GIB = 1 << 30


def machine() -> Machine:
    """This machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processor = _cpu_model()
    named = re.sub(r"[^a-z0-9]+", "-", processor.lower()).strip("-")
    kind = f"{platform.system().lower()}-{platform.machine()}-{cores}x-{named}"
    memory = _memory_bytes()
    return Machine(
        machine_class=kind,
        cpu_model=processor,
        cores=cores,
        memory_bytes=memory,
        system=platform.platform(terse=True),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        class_key=f"{kind}/{memory_class(memory)}/{_interpreter()}",
    )


def memory_class(size: int | None) -> str:
    """Memory in GiB, rounded up to a power of two, since systems keep some of it to themselves."""
    if size is None or size < 1:
        return "memory-unknown"
    return f"{1 << max(0, (-(-size // _GIB) - 1).bit_length())}gib"


def versions() -> Versions:
    """This program and what its speed depends on."""
    return Versions(
        tokenledger=__version__, commit=_commit(), msgspec=msgspec.__version__, sqlite=sqlite3.sqlite_version
    )


def _interpreter() -> str:
    major, minor, _ = platform.python_version_tuple()
    readers = "" if compiled.bulk() is not None else "-uncompiled"
    return f"{platform.python_implementation().lower()}-{major}.{minor}{readers}"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    found = _output("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else None
    return found or platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _commit() -> str | None:
    if not (PACKAGE_ROOT / ".git").exists():
        return None
    head = _output("git", "-C", str(PACKAGE_ROOT), "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", str(PACKAGE_ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head


def _output(*command: str) -> str | None:
    """What a program prints; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
