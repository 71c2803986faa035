"""What one run did, read back from Dagster's own event log: ingest figures, times of stages, results of checks.

Here: events of a run turned into the types of the pipeline summary, and the summary of a run written. Not here: the
summary's shape and place (`tokenledger_dagster/exports/pipeline_summary`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import msgspec

from resources import LedgerHome, RunOptions
from tokenledger_dagster.contracts.summaries import (
    AggregateCache,
    CheckCounts,
    IngestSummary,
    PipelineSummary,
    Stage,
    joined,
)
from tokenledger_dagster.fileio import write_json_atomic

__all__ = ["RunFacts", "is_error", "run_facts", "write_run_summary"]

_STAGES = {
    "daily": "usage/daily",
    "monthly": "usage/monthly",
    "pricing_reconcile": "reconcile/summary",
    "ledger": "ledger/unified_model_provider_ledger",
}
"""Stage of the summary -> the asset that it is."""
_AGGREGATES = "usage/aggregate_cache"


class RunFacts(NamedTuple):
    """One run as its summary tells it."""

    ingest: IngestSummary | None
    """All clients' syncs as one; None where the run read no logs."""
    stages: dict[str, Stage]
    checks: CheckCounts
    rows: dict[str, int]
    """Row count by asset, in the order they were made."""
    aggregates: AggregateCache | None
    """What became of the kept aggregates; None where the run did not look at them."""


def run_facts(instance: dg.DagsterInstance, run_id: str) -> RunFacts:
    """What the events of run `run_id` say so far."""
    made = {
        event.asset_key.to_user_string(): _plain(event.step_materialization_data.materialization.metadata)
        for event in _events(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    }
    checked = _events(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    syncs = [msgspec.convert(one["ingest_summary"], IngestSummary) for one in made.values() if "ingest_summary" in one]
    rows = {name: one["dagster/row_count"] for name, one in made.items() if "dagster/row_count" in one}
    stages = {stage: _stage(made[asset]) for stage, asset in _STAGES.items() if asset in made}
    taken = {
        event.step_key: event.step_success_data.duration_ms
        for event in _events(instance, run_id, dg.DagsterEventType.STEP_SUCCESS)
    }
    checks = _counts([event.event_specific_data for event in checked])
    checks.duration_ms = round(sum(taken.get(step, 0) for step in {event.step_key for event in checked}))
    return RunFacts(joined(syncs), stages, checks, rows, _aggregates(made.get(_AGGREGATES)))


def write_run_summary(
    instance: dg.DagsterInstance, run_id: str, home: LedgerHome, options: RunOptions, *, is_latest: bool = True
) -> tuple[PipelineSummary, Path]:
    """Write what is known of run `run_id` now as the pipeline summary; a later call for the same run replaces it.

    Unless it `is_latest`, it is written to the run's own folder only: a run of one stage is no news of the others.
    """
    from tokenledger_dagster.bench import standing
    from tokenledger_dagster.exports.pipeline_summary import make_summary, write_summary
    from tokenledger_dagster.usage.aggregates import costs_of_month
    from tokenledger_dagster.usage.read_suggestions import with_suggestions

    facts, place = run_facts(instance, run_id), home.open()
    month = options.month or home.settings.month
    if "monthly" in facts.stages:
        costs = costs_of_month(place, month, home.zone, enabled=not options.no_cache)
        facts.stages["monthly"].details["costs"] = None if costs is None else with_suggestions(costs, place)
    started = instance.get_run_stats(run_id).start_time
    summary = make_summary(
        run_id=run_id,
        started=started or 0.0,
        ingest=facts.ingest,
        stages={**facts.stages, **standing.stages(place)},
        checks=facts.checks,
        aggregates=facts.aggregates,
        month_filter=month,
        pricing=str(place.pricing_book_path) if place.pricing_book_path.exists() else None,
        events_out=options.events_out or None,
        on_unpriced=options.on_unpriced or home.settings.on_unpriced,
        ui_snapshot_path=options.ui_snapshot_path or str(place.ui_snapshot_path),
    )
    if facts.ingest is not None:  # each client's sync left a summary of its own; this is the run's
        write_json_atomic(place.ingest_summary_path, facts.ingest)
    target = Path(options.pipeline_summary_path) if options.pipeline_summary_path else None
    return summary, write_summary(place, summary, target, is_latest=is_latest)


def is_error(check: Any) -> bool:
    """Whether a check evaluation failed in a way that fails the run; a warning does not."""
    return not check.passed and check.severity == dg.AssetCheckSeverity.ERROR


def _events(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[Any]:
    return [entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type=kind)]


def _plain(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def _stage(made: dict[str, Any]) -> Stage:
    shown = (
        *("dagster/row_count", "total_tokens", "list_price_usd", "cache_hit_ratio"),
        *("month", "priced_count", "unpriced_count", "disagreements", "check_passed", "wrote_pricing", "dry_run"),
        *("patch", "summary"),
        *("ledger_rows", "mapped", "priced", "runtime_rows"),
    )
    details = {name.removeprefix("dagster/"): made[name] for name in shown if name in made}
    return Stage(duration_ms=made["duration_ms"], details=details)


def _aggregates(made: dict[str, Any] | None) -> AggregateCache | None:
    if made is None:
        return None
    counts = {name: made[name] for name in ("enabled", "cache_path", "hit_count", "miss_count", "invalidate_count")}
    details = {"months": made["dagster/row_count"]} | ({"problem": made["problem"]} if made["problem"] else {})
    return AggregateCache(skipped=False, duration_ms=made["duration_ms"], details=details, **counts)


def _counts(checks: Iterable[Any]) -> CheckCounts:
    listed: Sequence[Any] = list(checks)
    failed = [check for check in listed if is_error(check)]
    passed = sum(check.passed for check in listed)
    names = sorted(f"{check.asset_key.to_user_string()}: {check.check_name}" for check in failed)
    return CheckCounts(passed=passed, failed=len(failed), warned=len(listed) - passed - len(failed), failed_names=names)
