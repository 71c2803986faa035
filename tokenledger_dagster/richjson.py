"""JSON text of whatever msgspec can encode: the work behind `fileio.encode_json`.

Here: structs, paths, times, Decimals.  Not here: plain values on the warm path (`plainjson`, the same bytes).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import msgspec

from tokenledger_dagster.plainjson import decimal_text


def encode_rich(value: Any, indent: int) -> bytes:
    """See `fileio.encode_json`."""
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
            return msgspec.Raw(decimal_text(value).encode())
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON; use None for what is unknown")
        case datetime():
            utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return utc.isoformat().replace("+00:00", "Z")
        case _:
            return value


def _path_text(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
