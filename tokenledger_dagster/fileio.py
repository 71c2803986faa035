"""Writing files so that a reader, or a crash at any moment, never sees half of one.

Belongs here: the one way to publish a file and the one way to write JSON. Does not belong here: what is written
(`contracts/`), and appending (`ingest/`).
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path, PurePath
from typing import Any

import msgspec

__all__ = ["encode_json", "staged", "write_atomic", "write_json_atomic"]

_NANO = Decimal("0.000000001")


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    Folders on the way are made. The file is flushed to the disk before the rename and the folder after it. On an
    exception the temporary file is removed and `path` stays as it was; after a kill only a hidden `.*.tmp` is left.

    Raises:
        OSError: the block wrote no file, or the disk refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # Windows cannot open a folder to flush it
        _flush(path.parent, os.O_RDONLY)


def write_atomic(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, all of it or nothing (see `staged`).

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    with staged(path) as temporary:
        temporary.write_bytes(data)


def write_json_atomic(path: Path, value: Any) -> None:
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
    plain = msgspec.to_builtins(value, builtin_types=(Decimal, datetime), enc_hook=_path_text, str_keys=True)
    encoded = msgspec.json.encode(_numbers_and_times(plain))
    # a negative indent is msgspec's word for one line without spaces
    return msgspec.json.format(encoded, indent=indent if indent else -1) + b"\n"


def _numbers_and_times(value: Any) -> Any:
    """The same tree with what JSON has no exact word for already encoded."""
    match value:
        case dict():
            return {key: _numbers_and_times(item) for key, item in value.items()}
        case list() | tuple():
            return [_numbers_and_times(item) for item in value]
        case Decimal():
            return msgspec.Raw(_decimal_text(value).encode())
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON; use None for what is unknown")
        case datetime():
            utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return utc.isoformat().replace("+00:00", "Z")
        case _:
            return value


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} cannot be written as JSON; use None for what is unknown")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -9:
        # the default context refuses results of more than 28 digits
        value = value.quantize(_NANO, context=Context(prec=100, rounding=ROUND_HALF_EVEN))
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _path_text(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
