"""The bulk readers in C, where they were built: the rows that the Python packers take, several times as fast.

Here: whether there is a build that fits.  Not here: what a row means.  Any row that the C code does not vouch for is
taken by the Python packer (``clients.claude_bulk``, ``clients.codex_bulk``), and without a build all are.  Light: every
report walks with it (``clients.walk``).
"""

from __future__ import annotations

import os
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

SWITCH = "TOKENLEDGER_COMPILED"
"""Environment variable that turns the compiled readers ``off``, to see whether one is at fault."""
_SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bulk")

_left_out: list[None] = []
"""Not empty while the compiled readers are left out."""


def bulk() -> ModuleType | None:
    """The extension module; None where it was not built, is of other sources, or is turned off at the first call."""
    return None if _left_out else found()


class left_out:  # noqa: N801 - a context, as contextlib would make one of a function
    """Has everything read in Python while the block runs, as after a fault."""

    def __enter__(self) -> None:
        _left_out.append(None)

    def __exit__(self, *_: object) -> None:
        _left_out.pop()


# kept by hand: setup.py runs this file where nothing of the package can be imported
_found: list[ModuleType | None] = []


def found() -> ModuleType | None:
    """The same, whatever is left out now."""
    if not _found:
        _found.append(_find())
    return _found[0]


def forget() -> None:
    """Has the next call look again."""
    _found.clear()


def _find() -> ModuleType | None:
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


def sources_digest(folder: str | os.PathLike[str]) -> int | None:
    """CRC-32 of all C sources in order of their names, which ``setup.py`` gives to the compiler; None without any."""
    digest = None
    for name in sorted(os.listdir(folder) if os.path.isdir(folder) else ()):
        if name.endswith((".c", ".h")):
            with open(os.path.join(folder, name), "rb") as source:
                digest = crc32(source.read(), digest or 0)
    return digest
