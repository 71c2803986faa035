"""The compiled bulk readers (``clients/bulk``): what Python sees of them."""

from array import array
from datetime import datetime
from typing import Any

SOURCES: int

class Column:
    """Numbers (``q``), times (``t``), digests (``h``) or counters (``v``) of a pack's rows, in plain memory."""

    def __init__(self, kind: str, /) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> Any: ...
    def __setitem__(self, row: int, item: Any, /) -> None: ...
    def append(self, item: int | datetime | bytes | tuple[int | None, ...], /) -> None: ...

def take_claude(packer: Any, data: bytes | bytearray, filled: int, base: int, /) -> int: ...
def take_codex(packer: Any, data: bytes | bytearray, filled: int, base: int, /) -> int: ...
def body(
    layout: bytes,
    ordinals: list[int],
    offsets: Column,
    lengths: Column,
    hashes: bytes,
    times: Column,
    contexts: bytes,
    context_of: Column,
    identities: bytes,
    event_of: Column,
    winners: Column,
    values: Column,
    extras: bytes,
    /,
) -> bytes: ...
def claude_keys(
    identities: list[Any], sessions: list[int], context_of: Column, winners: Column, /
) -> tuple[bytes, bytes]: ...
def codex_keys(totals: list[Any], /) -> bytes: ...
def earliest(times: Column, context_of: Column, contexts: int, /) -> list[int | None]: ...
def sums(
    form: Any,
    kind: int,
    states: bytearray,
    firsts: Column,
    winners: Column,
    context_of: Column,
    kind_of: list[int],
    identities: list[Any],
    values: Column,
    slot_us: int,
    steps: tuple[int, ...],
    /,
) -> tuple[list[tuple[Any, ...]], dict[int, tuple[Any, ...]]]: ...
def extended(before: bytes, offsets: array[int], hashes: bytes, /) -> bytes: ...
def met(
    new: list[array[int]], stored: list[array[int]], settled: list[array[int]], loose: list[int], /
) -> tuple[list[tuple[int, int, int]], set[int]]: ...
def end_with_parent() -> None: ...
def measure(stage: int, /) -> int: ...
def digest_of(line: bytes, /) -> bytes: ...
