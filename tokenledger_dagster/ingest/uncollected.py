"""Working on many rows without the garbage collector.

Here: the one pause that reading logs and reading the lake share.  Not here: the rows.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Rows and columns hold no cycles: looking for some among millions of values takes up to half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
