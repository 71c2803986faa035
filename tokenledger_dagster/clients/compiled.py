"""The bulk readers in C, where they were built: the rows that the Python packers take, several times as fast.

Here: whether there is a build that fits.  Not here: what a row means.  Any row that the C code does not vouch for is
taken by the Python packer (``clients.claude_bulk``, ``clients.codex_bulk``), and without a build all are.
"""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

VERSION = 1
"""Of what the packers and the C code tell each other: an older build is not used."""
SWITCH = "TOKENLEDGER_COMPILED"
"""Environment variable that turns the compiled readers ``off``, to see whether one is at fault."""


@cache
def bulk() -> ModuleType | None:
    """The extension module; None where it was not built, is of another version, or is turned off at the first call."""
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        from tokenledger_dagster.clients import _bulk
    except ImportError:
        return None
    return _bulk if _bulk.VERSION == VERSION else None
