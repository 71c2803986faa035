"""The compiled bulk readers (``clients/bulk``): what Python sees of them."""

from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Any

VERSION: int

def take_claude(packer: Any, data: bytes | bytearray, filled: int, base: int, /) -> int: ...
def take_codex(packer: Any, data: bytes | bytearray, filled: int, base: int, /) -> int: ...
def claude_keys(identities: list[Any], seeds: list[int], /) -> tuple[bytes, bytes]: ...
def codex_keys(totals: list[Any], /) -> bytes: ...
def microseconds_of(times: list[datetime], /) -> bytes | None: ...
def sums(
    form: Any,
    kind: int,
    states: bytearray,
    times: bytes,
    winners: list[int],
    context_of: list[int],
    kind_of: list[int],
    identities: list[Any],
    values: list[tuple[Any, ...]],
    slot_us: int,
    steps: tuple[int, ...],
    /,
) -> tuple[list[tuple[Any, ...]], dict[int, tuple[Any, ...]]]: ...
def extended(before: bytes, offsets: list[int], hashes: bytes, /) -> bytes: ...
def met(
    new: Sequence[array[int]], stored: Sequence[array[int]], settled: Sequence[array[int]], loose: list[int], /
) -> tuple[list[tuple[int, int, int]], set[int]]: ...
def digest_of(line: bytes, /) -> bytes: ...
