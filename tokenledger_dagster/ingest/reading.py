"""Bytes of a log as lines with their offsets, whatever the file is packed in.

Here: opening (plain, gzip, zstd, UTF-16), walking newlines in large blocks, and the provisional last line.  Not here:
what a line means.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import msgspec

from tokenledger_dagster.clients.base import Reader

BLOCK_BYTES = 1 << 20
HEAD_BYTES = 512
TAIL_BYTES = 256
_CR = 13
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xff\xfe", "utf16"), (b"\xfe\xff", "utf16"))


def encoding_of(path: str) -> str:
    """``plain``, ``gzip``, ``zstd`` or ``utf16``, told by the file's first bytes and not by its name."""
    with open(path, "rb") as handle:
        head = handle.read(4)
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "plain")


@contextlib.contextmanager
def opened(path: str, encoding: str) -> Iterator[BinaryIO]:
    """The file's uncompressed UTF-8 bytes.  Raises OSError, EOFError or ValueError where they cannot be had."""
    with contextlib.ExitStack() as stack:
        raw: BinaryIO = stack.enter_context(open(path, "rb", buffering=0))
        if encoding == "gzip":
            import gzip
            import zlib

            try:
                yield cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
            except zlib.error as error:
                raise OSError(f"damaged gzip data: {error}") from error
        elif encoding == "zstd":
            import zstandard

            reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            try:
                yield stack.enter_context(reader)
            except zstandard.ZstdError as error:
                raise OSError(f"damaged zstd data: {error}") from error
        elif encoding == "utf16":
            # such files are rare and small: the whole text is recoded at once
            yield io.BytesIO(raw.read().decode("utf-16", "replace").encode("utf-8", "replace"))
        else:
            yield raw


@contextlib.contextmanager
def opened_as_told(path: str) -> Iterator[tuple[BinaryIO, str]]:
    """The same for a file that is to tell itself how it is packed; yields the bytes and the packing."""
    with open(path, "rb", buffering=0) as raw:
        head = os.pread(raw.fileno(), 4, 0)
        encoding = next((name for magic, name in _MAGIC if head.startswith(magic)), "plain")
        if encoding == "plain":
            yield raw, encoding
            return
    with opened(path, encoding) as handle:
        yield handle, encoding


class Position(msgspec.Struct, frozen=True):
    """Where reading stopped, and how to recognise the place again."""

    offset: int
    head_hash: str
    head_length: int
    tail_hash: str
    tail_length: int
    held_back: int
    """Bytes of an unfinished last line, left for the next time."""


Take = Callable[[bytes | bytearray, int, int], int]
"""Reads the whole lines among the first bytes of a block: (block, how many bytes, the block's offset in the file);
returns the bytes they took."""

_buffer = bytearray(BLOCK_BYTES)


def walk_blocks(handle: BinaryIO, take: Take, offset: int) -> tuple[int, bytes]:
    """Gives ``take`` every whole line from ``offset`` on; returns the offset after the last one, and what follows it.

    The rest is given too if it is a complete JSON value: a writer flushes whole rows, sometimes before the newline.
    All blocks share one buffer, which grows only for a line that is longer: what is kept of a block must be copied.
    """
    global _buffer
    buffer, filled, base = _buffer, 0, offset
    while True:
        with memoryview(buffer) as view:
            count = handle.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
        used = take(buffer, filled, base)
        if used:
            base += used
            filled -= used
            buffer[:filled] = buffer[used : used + filled]
        elif filled == len(buffer):
            buffer = buffer + bytes(len(buffer))
    rest = bytes(buffer[:filled])
    if len(_buffer) == len(buffer):
        _buffer = buffer
    if rest and _complete(rest):
        take(rest + b"\n", len(rest) + 1, base)
        return base + len(rest), b""
    return base, rest


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
    """Digest of ``length`` bytes at ``offset``."""
    handle.seek(offset)
    parts: list[bytes] = []
    left = length
    while left and (part := handle.read(left)):
        parts.append(part)
        left -= len(part)
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def position_in(path: str, offset: int, held_back: int) -> Position:
    """The same for a packed file that cannot be read backwards: it is opened anew for its head and for its tail."""
    head, tail = min(offset, HEAD_BYTES), min(offset, TAIL_BYTES)
    with opened(path, "zstd") as handle:
        head_hash = hash_at(handle, 0, head)
    with opened(path, "zstd") as handle:
        tail_hash = hash_at(handle, offset - tail, tail)
    return Position(offset, head_hash, head, tail_hash, tail, held_back)


def position_of(handle: BinaryIO, offset: int, held_back: int) -> Position:
    """The position after ``offset`` consumed bytes."""
    head = min(offset, HEAD_BYTES)
    tail = min(offset, TAIL_BYTES)
    return Position(
        offset=offset,
        head_hash=hash_at(handle, 0, head),
        head_length=head,
        tail_hash=hash_at(handle, offset - tail, tail),
        tail_length=tail,
        held_back=held_back,
    )
