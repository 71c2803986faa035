"""Evidence: where a record stands in its source, and the hash of what stands there.

Here: the one shape in which every reader tells it.  Not here: finding it again (``clients.documents``,
``clients.databases``, ``usage.evidence``).
"""

from __future__ import annotations

import hashlib

import msgspec


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """A line by its offset; a part of a document or a row of a database by its locator, with offset 0."""

    offset: int
    length: int
    sha256: str
    locator: str | None = None

    @classmethod
    def of(cls, content: bytes, offset: int = 0, locator: str | None = None) -> Evidence:
        """The evidence of exactly this content."""
        return cls(offset, len(content), hashlib.sha256(content).hexdigest(), locator)
