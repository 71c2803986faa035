"""The index of a bundle of artifacts. Shape only."""

from __future__ import annotations

import msgspec

BUNDLE_SCHEMA_VERSION = 1


class Artifact(msgspec.Struct, frozen=True):
    """One file that a home publishes."""

    path: str
    """Below the home, with slashes."""
    bytes: int
    sha256: str | None = None
    """Null where the file is only named."""
    is_included: bool = False


class BundleIndex(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle/index.json`."""

    schema_version: int = BUNDLE_SCHEMA_VERSION
    generated_at: str
    artifacts: list[Artifact]
    problems: list[str] = []
    """Files that could not be read."""
