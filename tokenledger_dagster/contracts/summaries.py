"""Machine-readable summaries of runs: the ingest summary (contract section 3) and the pipeline summary (section 7).

Here: their shapes and schema versions.  Not here: the figures, or where the files are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

SUMMARY_SCHEMA_VERSION = 1
C = TypeVar("C", bound=msgspec.Struct)


class ProviderCounts(msgspec.Struct):
    """What one sync did for one client."""

    scanned: int = 0
    """Usage records newly read."""
    emitted: int = 0
    """By how many events the ledger grew."""
    duplicates: int = 0
    """``scanned - emitted``; the duplicates table says why, record by record."""
    skipped: dict[str, int] = {}
    """Lines passed over, by reason."""
    bytes_read: int = 0


class SourceCounts(msgspec.Struct):
    """Files by what a sync found them to be."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0
    """Read before and gone now; their events stay."""


class CacheCounts(msgspec.Struct):
    """How often what was known of a file saved reading it."""

    hit: int = 0
    """Nothing changed, or only new bytes were read."""
    miss: int = 0
    """Read from the beginning."""
    invalidate: int = 0
    """Rewritten: the file no longer begins with what was stored of it."""
    bypassed: bool = False


class IngestSummary(msgspec.Struct, kw_only=True):
    """One sync, in figures."""

    schema_version: int = SUMMARY_SCHEMA_VERSION
    generated_at: str
    started_at: str
    finished_at: str
    duration_ms: int
    providers: dict[str, ProviderCounts]
    sources: SourceCounts
    cache: CacheCounts
    emitted_total: int
    deduped_total: int
    output: str
    """The lake the records went to."""
    # additive
    ledger: dict[str, int] = {}
    """``events``, ``duplicates`` and ``records`` of the whole ledger after the sync."""
    problems: list[str] = []
    """What a person should look at: unreadable files, overrides that name no folder."""
    notes: list[str] = []
    """What a person may want to do; nothing is wrong."""
    synced: bool = True
    """False where another process held the home and nothing was read."""


def joined(syncs: Sequence[IngestSummary]) -> IngestSummary | None:
    """Syncs of different clients as one, None where there was none; the ledger's own counts are the latest."""
    if not syncs:
        return None
    latest = max(syncs, key=lambda summary: summary.finished_at)
    return IngestSummary(
        generated_at=latest.generated_at,
        started_at=min(one.started_at for one in syncs),
        finished_at=latest.finished_at,
        duration_ms=sum(one.duration_ms for one in syncs),
        providers={name: counts for one in syncs for name, counts in one.providers.items()},
        sources=_added(SourceCounts, [one.sources for one in syncs]),
        cache=_added(CacheCounts, [one.cache for one in syncs]),
        emitted_total=sum(one.emitted_total for one in syncs),
        deduped_total=sum(one.deduped_total for one in syncs),
        output=latest.output,
        ledger=latest.ledger,
        problems=list(dict.fromkeys(problem for one in syncs for problem in one.problems)),
        notes=list(dict.fromkeys(text for one in syncs for text in one.notes)),
        synced=all(one.synced for one in syncs),
    )


def _added(kind: type[C], counts: Sequence[C]) -> C:
    """Field by field; a flag is set where any is."""
    values = {name: [getattr(one, name) for one in counts] for name in kind.__struct_fields__}
    return kind(**{name: any(found) if isinstance(found[0], bool) else sum(found) for name, found in values.items()})


class Stage(msgspec.Struct, kw_only=True):
    """One stage of a pipeline run."""

    skipped: bool = False
    duration_ms: int = 0
    details: dict[str, Any] = {}
    """Figures of the stage; where it was skipped, ``reason``."""


class AggregateCache(msgspec.Struct, kw_only=True):
    """How often stored aggregates saved computing them."""

    enabled: bool = False
    cache_path: str | None = None
    hit_count: int = 0
    miss_count: int = 0
    invalidate_count: int = 0
    skipped: bool = True
    duration_ms: int = 0
    details: dict[str, Any] = {}


class CheckCounts(msgspec.Struct, kw_only=True):
    """Checks of one run by result."""

    passed: int = 0
    failed: int = 0
    warned: int = 0
    failed_names: list[str] = []
    skipped: bool = False
    duration_ms: int = 0


class IngestStage(msgspec.Struct, kw_only=True):
    """The sync of a pipeline run: the ingest summary's figures."""

    skipped: bool = False
    duration_ms: int = 0
    providers: dict[str, ProviderCounts] = {}
    sources: SourceCounts = msgspec.field(default_factory=SourceCounts)
    cache: CacheCounts = msgspec.field(default_factory=CacheCounts)
    emitted_total: int = 0
    deduped_total: int = 0
    output: str | None = None
    ledger: dict[str, int] = {}
    problems: list[str] = []
    details: dict[str, Any] = {}


class PipelineSummary(msgspec.Struct, kw_only=True):
    """One run of the pipeline, stage by stage; contract section 7."""

    schema_version: int = SUMMARY_SCHEMA_VERSION
    generated_at: str
    run_id: str
    month_filter: str | None
    events_out: str | None
    pricing: str | None
    """The user's price book, None where there is none."""
    on_unpriced: str
    duration_ms: int
    ingest: IngestStage
    pricing_reconcile: Stage
    monthly: Stage
    daily: Stage
    aggregate_cache: AggregateCache
    ledger: Stage
    bench: Stage
    perf_gate: Stage
    checks: CheckCounts
    ui_snapshot_path: str | None
    # additive
    started_at: str
