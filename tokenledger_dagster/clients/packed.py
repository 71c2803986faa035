"""Files as their uncompressed UTF-8 bytes, whatever they are packed in.

Here: telling gzip, zstd and UTF-16 by a file's first bytes, and opening them.  Not here: blocks and lines
(``ingest.reading``).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO, cast

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xff\xfe", "utf16"), (b"\xfe\xff", "utf16"))
_PACKED = tuple(magic for magic, _ in _MAGIC)


def encoding_of(path: str) -> str:
    """``plain``, ``gzip``, ``zstd`` or ``utf16``, told by the file's first bytes and not by its name."""
    with open(path, "rb") as handle:
        return _told_by(handle.read(4))


def _told_by(head: bytes) -> str:
    if not head.startswith(_PACKED):  # as nearly all
        return "plain"
    return next(name for magic, name in _MAGIC if head.startswith(magic))


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
        encoding = _told_by(os.pread(raw.fileno(), 4, 0))
        if encoding == "plain":
            yield raw, encoding
            return
    with opened(path, encoding) as handle:
        yield handle, encoding
