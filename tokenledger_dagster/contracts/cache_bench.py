"""What `tokenledger bench cache` found: three runs over the aggregate cache, and what each had to find.

Here: the shape and its schema version. Not here: the runs (`bench.cache`).
"""

from __future__ import annotations

import msgspec

CACHE_BENCH_SCHEMA_VERSION = 1


class CacheCountsOfRun(msgspec.Struct, frozen=True, kw_only=True):
    """How often kept aggregates could be used."""

    hit_count: int
    miss_count: int
    invalidate_count: int
    """How many of the misses threw something away."""


class CacheRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run over all months."""

    name: str
    """`first`, `again` or `grown`."""
    about: str
    actual: CacheCountsOfRun
    expected: CacheCountsOfRun
    equals_uncached: bool
    """Whether every document is, byte for byte, the one that is computed without the cache."""
    duration_ms: int
    passed: bool


class CacheResult(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    schema_version: int = CACHE_BENCH_SCHEMA_VERSION
    generated_at: str
    kind: str = "cache"
    passed: bool
    months: list[str]
    """Months of the sample, YYYY-MM."""
    runs: list[CacheRun]
