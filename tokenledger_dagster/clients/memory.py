"""What earlier readings of a rewritten source have seen, so that each adds only what is new.

Here: the carry of document and database readers.  Not here: any client's own keys.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec


class Memory(msgspec.Struct, array_like=True):
    """Rows by key and content, how far a table was read, and what else a reader must keep."""

    marks: dict[str, int] = {}
    """How far each table was read; forgotten where everything is to be looked at again."""
    seen: dict[int, int] = {}
    """64-bit hash of a row's content by that of its key."""
    state: dict[str, Any] = {}
    """Plain values of the reader's own."""

    @classmethod
    def of(cls, carry: bytes | None) -> Memory:
        """The memory an earlier reading left, or an empty one."""
        if not carry:
            return cls()
        try:
            return _decoder.decode(carry)
        except msgspec.DecodeError:  # of another version: everything counts as new, and is known by its identity
            return cls()

    def is_news(self, key: str, content: bytes | str) -> bool:
        """Whether this content (or its digest) was not seen under this key before; from now on it was."""
        name, value = _hash(key), _hash(content)
        if self.seen.get(name) == value:
            return False
        self.seen[name] = value
        return True

    def encode(self) -> bytes:
        """As a reader's carry."""
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Memory)


def without_marks(carry: bytes | None) -> bytes | None:
    """The same carry for a reading that is to look at everything again."""
    if not carry:
        return carry
    memory = Memory.of(carry)
    memory.marks = {}
    return memory.encode()


def _hash(text: bytes | str) -> int:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
