"""Evidence: where a record stands in its source, and the hash of what stands there.

Here: the one shape in which every reader tells it.  Not here: finding it again (``clients.documents``,
``clients.databases``, ``usage.evidence``).
"""

from __future__ import annotations

import hashlib
from typing import TypedDict

import msgspec

from tokenledger_dagster.clients.base import Sink


class Placed(TypedDict):
    """The fields by which a ``UsageRecord`` tells where it stands."""

    ordinal: int
    byte_offset: int
    byte_length: int
    record_sha256: str
    locator: str | None


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

    def placed(self, sink: Sink) -> Placed:
        """The same as fields of the record that is next in the sink."""
        return {
            "ordinal": sink.ordinal,
            "byte_offset": self.offset,
            "byte_length": self.length,
            "record_sha256": self.sha256,
            "locator": self.locator,
        }
