"""What `tokenledger retention` would remove, or has removed, and why.

Here: the shape and its schema version. Not here: what goes (`governance.retention`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

RETENTION_SCHEMA_VERSION = 1
Kind = Literal["runs", "reconcile", "bench", "answers", "aggregates"]


class RetentionKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of files, and how many of them there are."""

    kind: Kind
    folder: str
    count: int
    """How many are left at most."""
    days: int
    """How old the oldest one left may be."""
    found: int
    going: int
    going_bytes: int


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """One file or folder that goes."""

    kind: Kind
    path: str
    reason: str
    """`more than N` or `older than N days`."""
    bytes: int
    made_at: str
    """RFC 3339, UTC: by its name, else when it was last written."""
    is_removed: bool = False


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What would go by its name or age, and stays."""

    path: str
    reason: str


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    schema_version: int = RETENTION_SCHEMA_VERSION
    generated_at: str
    home: str
    applied: bool
    """False where nothing was to be removed yet."""
    kinds: list[RetentionKind]
    removals: list[Removal]
    left: list[Left]
    problems: list[str]
    """What could not be removed: path, why, and what to do."""
