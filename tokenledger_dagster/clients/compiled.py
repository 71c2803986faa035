"""The bulk readers in C, where they were built: the rows that the Python packers take, several times as fast.

Here: whether there is a build that fits.  Not here: what a row means.  Any row that the C code does not vouch for is
taken by the Python packer (``clients.claude_bulk``, ``clients.codex_bulk``), and without a build all are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from zlib import crc32

SWITCH = "TOKENLEDGER_COMPILED"
"""Environment variable that turns the compiled readers ``off``, to see whether one is at fault."""
_SOURCES = Path(__file__).parent / "bulk"

_left_out: list[None] = []
"""Not empty while the compiled readers are left out."""


def bulk() -> ModuleType | None:
    """The extension module; None where it was not built, is of other sources, or is turned off at the first call."""
    return None if _left_out else found()


@contextmanager
def left_out() -> Iterator[None]:
    """Has everything read in Python while the block runs, as after a fault."""
    _left_out.append(None)
    try:
        yield
    finally:
        _left_out.pop()


@cache
def found() -> ModuleType | None:
    """The same, whatever is left out now."""
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        from tokenledger_dagster.clients import _bulk
    except ImportError:
        return None
    return _bulk if _fits(_bulk) else None


def _fits(module: ModuleType) -> bool:
    """Whether a build is one of the sources beside it; an installed wheel has none, and was made of its own."""
    wanted = sources_digest(_SOURCES)
    return wanted is None or getattr(module, "SOURCES", None) == wanted


def sources_digest(folder: Path) -> int | None:
    """CRC-32 of all C sources in order of their names, which ``setup.py`` gives to the compiler; None without any."""
    digest = None
    for name in sorted(os.listdir(folder) if folder.is_dir() else ()):
        if name.endswith((".c", ".h")):
            digest = crc32((folder / name).read_bytes(), digest or 0)
    return digest
