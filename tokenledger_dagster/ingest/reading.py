"""Bytes of a log as lines with their offsets, whatever the file is packed in.

Here: walking newlines in large blocks, the provisional last line, and where reading stopped.  Not here: what a file is
packed in (``clients.packed``), or what a line means.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import msgspec

from tokenledger_dagster.clients.base import Reader
from tokenledger_dagster.clients.packed import opened

BLOCK_BYTES = 1 << 18
HEAD_BYTES = 512
TAIL_BYTES = 256
_CR = 13


class Position(msgspec.Struct, frozen=True):
    """Where reading stopped, and how to recognise the place again."""

    offset: int
    head_hash: str
    head_length: int
    tail_hash: str
    tail_length: int
    held_back: int
    """Bytes of an unfinished last line, left for the next time."""


class Walked(NamedTuple):
    """What a walk took, and what it may remember the place by."""

    offset: int
    """After the last byte taken."""
    rest: bytes
    """What follows it: an unfinished line."""
    head: bytes
    """The first bytes that were read, ``HEAD_BYTES`` of them where there are as many."""
    tail: bytes
    """The last bytes that were taken, ``TAIL_BYTES`` of them where there are as many."""


Take = Callable[[bytes | bytearray, int, int], int]
"""Reads the whole lines among the first bytes of a block: (block, how many bytes, the block's offset in the file);
returns the bytes they took."""

_buffer = bytearray(BLOCK_BYTES)


def walk_blocks(handle: BinaryIO, take: Take, offset: int, size: int | None = None) -> Walked:
    """Gives ``take`` every whole line from ``offset`` on.

    The rest is given too if it is a complete JSON value: a writer flushes whole rows, sometimes before the newline.
    All blocks share one buffer, which grows only for a line that is longer: what is kept of a block must be copied.
    ``size``: the file's, as of a moment ago; a block that is not filled and reaches it is the last.
    """
    global _buffer
    buffer, filled, base = _buffer, 0, offset
    head = tail = b""
    while True:
        room = len(buffer) - filled
        with memoryview(buffer) as view:
            count = handle.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        if len(head) < HEAD_BYTES:
            head += buffer[filled : filled + min(count, HEAD_BYTES - len(head))]
        filled += count
        used = take(buffer, filled, base)
        if used:
            base += used
            tail = _ending(tail, buffer, used)
            filled -= used
            buffer[:filled] = buffer[used : used + filled]
        elif filled == len(buffer):
            buffer = buffer + bytes(len(buffer))
        if count < room and size is not None and base + filled >= size:
            break
    rest = bytes(buffer[:filled])
    if len(_buffer) == len(buffer):
        _buffer = buffer
    if rest and _complete(rest):
        take(rest + b"\n", len(rest) + 1, base)
        return Walked(base + len(rest), b"", head, _ending(tail, rest, len(rest)))
    return Walked(base, rest, head, tail)


def _ending(before: bytes, data: bytes | bytearray, used: int) -> bytes:
    """The last bytes of what was taken, after ``used`` bytes of ``data`` more."""
    if used >= TAIL_BYTES:
        return bytes(data[used - TAIL_BYTES : used])
    return (before + data[:used])[-TAIL_BYTES:]


def each_line(reader: Reader) -> Take:
    """Reads line by line with the careful reader."""
    irrelevant, feed = reader.irrelevant, reader.feed

    def take(data: bytes | bytearray, filled: int, base: int) -> int:
        start = 0
        while (end := data.find(b"\n", start, filled)) != -1:
            if end > start and not irrelevant(data, start, end):
                # a carriage return belongs to the line's end: CRLF and LF copies of a row are the same row
                stop = end - 1 if data[end - 1] == _CR else end
                feed(bytes(data[start:stop]), base + start, base + end + 1)
            start = end + 1
        return start

    return take


def _complete(rest: bytes) -> bool:
    """Whether a last line without newline is whole: one JSON object, or several, as tolerantly as lines are read."""
    body = rest.removeprefix(b"\xef\xbb\xbf").strip(b"\x00 \t\r\n")
    if not body.startswith(b"{") or not body.endswith(b"}"):
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # several, or not strictly JSON
    else:
        return True
    import json

    decoded = body.decode("utf-8", "replace")
    decoder, position = json.JSONDecoder(), 0
    while position < len(decoded):
        try:
            _, position = decoder.raw_decode(decoded, position)
        except (ValueError, RecursionError):
            return False
        while position < len(decoded) and decoded[position] in " \t\r\n\x00":
            position += 1
    return True


def hash_at(handle: BinaryIO, offset: int, length: int) -> str:
    """Digest of ``length`` bytes at ``offset``; where the handle stands afterwards is left open."""
    return _digest(_bytes_at(handle, offset, length))


def _bytes_at(handle: BinaryIO, offset: int, length: int) -> bytes:
    # one call of the system instead of two, which counts where files are many
    data = os.pread(handle.fileno(), length, offset) if isinstance(handle, io.FileIO) else b""
    if len(data) < length:
        handle.seek(offset)
        parts: list[bytes] = []
        left = length
        while left and (part := handle.read(left)):
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
    return data


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def position_read(walked: Walked) -> Position:
    """The position after a walk from the beginning of a file, whatever it is packed in."""
    return _position(walked.offset, walked.head[: walked.offset], walked.tail, len(walked.rest))


def position_in(path: str, offset: int, held_back: int) -> Position:
    """The same for a packed file that cannot be read backwards: it is opened anew for its head and for its tail."""
    tail = min(offset, TAIL_BYTES)
    with opened(path, "zstd") as handle:
        head = _bytes_at(handle, 0, min(offset, HEAD_BYTES))
    with opened(path, "zstd") as handle:
        return _position(offset, head, _bytes_at(handle, offset - tail, tail), held_back)


def position_of(handle: BinaryIO, offset: int, held_back: int) -> Position:
    """The position after ``offset`` consumed bytes of a plain file."""
    tail = min(offset, TAIL_BYTES)
    head = _bytes_at(handle, 0, min(offset, HEAD_BYTES))
    return _position(offset, head, _bytes_at(handle, offset - tail, tail), held_back)


def _position(offset: int, head: bytes, tail: bytes, held_back: int) -> Position:
    return Position(offset, _digest(head), min(offset, HEAD_BYTES), _digest(tail), min(offset, TAIL_BYTES), held_back)
