"""Reading a vocabulary's file, and refusing what is none in one line.

Here: what is alike for all libraries. Not here: what stands in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.printable import printable

__all__ = ["MAX_BYTES", "missing_package", "read_vocabulary", "refused", "told", "trusted"]

MAX_BYTES = 256 * 1024 * 1024
"""More than ten times the largest vocabulary in use; a file above it is something else."""
_SHOWN = 120


def refused(path: Path, what: str, remedy: str) -> TokenLedgerError:
    """The one line about a file that cannot be used."""
    return TokenLedgerError(f"{path}: {what}; {remedy}")


def told(fault: BaseException) -> str:
    """What a library says is wrong, on one short line."""
    text = printable(" ".join(str(fault).split()))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


@contextmanager
def trusted(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turns whatever a library says about the file's content into the one line.

    A library written in Rust panics where its author saw no way to fail; that is no `Exception`.
    """
    try:
        yield
    except TokenLedgerError:
        raise
    except Exception as fault:
        raise refused(path, f"{what} ({told(fault)})", remedy) from fault
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":
            raise
        raise refused(path, f"{what} ({told(fault)})", remedy) from fault


def missing_package(package: str) -> TokenLedgerError:
    """The one line where a library of the extra is not installed."""
    return TokenLedgerError(f"the package {package} is not installed; `make setup-inference` installs it")


def read_vocabulary(path: Path, remedy: str) -> bytes:
    """The file's bytes.

    Raises:
        TokenLedgerError: it is missing, no regular file, unreadable, empty, or larger than a vocabulary is.
    """
    try:
        if not path.is_file():
            what = "is no regular file" if os.path.lexists(path) else "does not exist"
            raise refused(path, what, remedy)
        too_large = path.stat().st_size > MAX_BYTES
        content = b"" if too_large else path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        why = fault.strerror if isinstance(fault, OSError) and fault.strerror else "its path cannot be used"
        raise refused(path, f"cannot be read ({why})", remedy) from fault
    if too_large:
        raise refused(path, f"is larger than any vocabulary ({MAX_BYTES // 1024 // 1024} MiB)", remedy)
    if not content:
        raise refused(path, "is empty", remedy)
    return content
