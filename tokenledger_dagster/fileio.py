"""Writing files so that a reader, or a crash at any moment, never sees half of one.

Belongs here: the one way to publish a file and the one way to write JSON. Does not belong here: what is written
(`contracts/`), and appending (`ingest/`). Light on purpose: `richjson` is imported when something is encoded.
"""

from __future__ import annotations

import os
from _thread import get_ident  # threading itself is not needed, and costs more than this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

__all__ = ["encode_json", "flush", "publish", "staged", "write_atomic", "write_json_atomic"]


class staged:  # noqa: N801 - used as a function; contextlib would cost a report more than writing does
    """A temporary path beside `path`; what was written there becomes `path` when the block ends well.

    Folders on the way are made. The file is flushed to the disk before the rename and the folder after it. On an
    exception the temporary file is removed and `path` stays as it was; after a kill only a hidden `.*.tmp` is left.

    Raises:
        OSError: the block wrote no file, or the disk refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(_temporary_name(path.name))

    def __enter__(self) -> Path:
        os.makedirs(self._path.parent, exist_ok=True)
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        _publish(os.fspath(self._temporary), os.fspath(self._path), failed=kind is not None)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Make `data` the content of `path`, all of it or nothing (see `staged`).

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    folder, name = os.path.split(os.fspath(path))
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, _temporary_name(name))
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
    except BaseException:
        _publish(temporary, os.fspath(path), failed=True)
        raise
    _publish(temporary, os.fspath(path), failed=False)


def publish(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Gives a flushed file its final name, which lasts from then on; the temporary file goes where that fails.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    _publish(os.fspath(temporary), os.fspath(path), failed=False)


def _temporary_name(name: str) -> str:
    return f".{name}.{os.getpid()}-{get_ident()}.tmp"


def _publish(temporary: str, path: str, *, failed: bool) -> None:
    """Flushes and renames; removes the temporary file where that, or writing it, failed."""
    done = False
    try:
        if not failed:
            flush(temporary, os.O_RDWR)
            os.replace(temporary, path)
            done = True
    finally:
        if not done and os.path.lexists(temporary):
            os.unlink(temporary)
    if done and os.name != "nt":  # Windows cannot open a folder to flush it
        flush(os.path.dirname(path) or ".")


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Write `encode_json(value)` to `path`, all of it or nothing.

    Raises:
        ValueError, TypeError: see `encode_json`.
        OSError: the disk refused; `path` is as it was.
    """
    write_atomic(path, encode_json(value))


def encode_json(value: Any, *, indent: int = 2) -> bytes:
    """Encode as JSON that is the same for the same value: keys in the order given, one line feed at the end.

    Decimals become plain numbers with at most nine places (nano-USD), rounded half-even, no exponent, no trailing
    zeros. Datetimes become RFC 3339 with `Z`; a naive one is UTC, as everywhere in storage. Structs, dataclasses and
    paths are encoded as one expects.

    Args:
        value: what msgspec can encode, and paths.
        indent: spaces per level; 0 puts all on one line.

    Raises:
        ValueError: a number is infinite or not a number, which JSON cannot say.
        TypeError: a value of an unknown type.
    """
    from tokenledger_dagster.richjson import encode_rich

    return encode_rich(value, indent)


def flush(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> None:
    """Sees a file, or the names in a folder, through to the disk.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
