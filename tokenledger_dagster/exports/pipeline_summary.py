"""The pipeline summary: one run, stage by stage, as one JSON document; contract section 7.

Here: putting it together and writing it where others look for it.  Not here: its shape (``contracts.summaries``), what
the stages did (the run itself knows), and reading past ones (``exports.runs``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tokenledger_dagster.contracts.summaries import (
    AggregateCache,
    CheckCounts,
    IngestStage,
    IngestSummary,
    PipelineSummary,
    Stage,
)
from tokenledger_dagster.exports.runs import SUMMARY_FILE, read_summary
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home

STAGES = ("pricing_reconcile", "monthly", "daily", "ledger", "bench", "perf_gate")
NOT_RUN = "not part of this run"


def make_summary(
    *,
    run_id: str,
    started: float,
    ingest: IngestSummary | None = None,
    stages: Mapping[str, Stage] | None = None,
    checks: CheckCounts | None = None,
    aggregates: AggregateCache | None = None,
    month_filter: str | None = None,
    events_out: str | None = None,
    pricing: str | None = None,
    on_unpriced: str = "skip",
    ui_snapshot_path: str | None = None,
    now: float | None = None,
) -> PipelineSummary:
    """The summary of one run.

    Args:
        run_id: id of the run.
        started: when it began, seconds since 1970.
        ingest: its sync; None where it read no logs.
        stages: those of ``STAGES`` that ran; each of the others is ``skipped``, with a reason.
        checks: its checks; None before they ran.
        aggregates: how often kept aggregates saved computing them; None where the run did not look at them.
        month_filter: month it was asked for, YYYY-MM; None is the latest.
        events_out: where events were also written.
        pricing: the user's price book.
        on_unpriced: ``skip`` or ``error``.
        ui_snapshot_path: where the UI snapshot was written.
        now: end of the run, seconds since 1970; None is the clock's.

    Raises:
        KeyError: ``stages`` names no stage.
    """
    ended = time.time() if now is None else now
    given = dict(stages or {})
    if unknown := given.keys() - set(STAGES):
        raise KeyError(f"{', '.join(sorted(unknown))}: no such stage; use one of {', '.join(STAGES)}")

    def stage(name: str) -> Stage:
        return given.get(name, Stage(skipped=True, details={"reason": NOT_RUN}))

    return PipelineSummary(
        generated_at=_stamp(ended),
        started_at=_stamp(started),
        run_id=run_id,
        month_filter=month_filter,
        events_out=events_out,
        pricing=pricing,
        on_unpriced=on_unpriced,
        duration_ms=max(0, round((ended - started) * 1000)),
        ingest=_ingest(ingest),
        pricing_reconcile=stage("pricing_reconcile"),
        monthly=stage("monthly"),
        daily=stage("daily"),
        aggregate_cache=AggregateCache(details={"reason": NOT_RUN}) if aggregates is None else aggregates,
        ledger=stage("ledger"),
        bench=stage("bench"),
        perf_gate=stage("perf_gate"),
        checks=CheckCounts(skipped=True) if checks is None else checks,
        ui_snapshot_path=ui_snapshot_path,
    )


def write_summary(home: Home, summary: PipelineSummary, path: Path | None = None, *, is_latest: bool = True) -> Path:
    """Writes the summary to the run's folder, if it ``is_latest`` to its place in the home, and to ``path``.

    Returns the first.

    The folder is named by the run's start, UTC; writing the same run again replaces its summary.
    """
    target = _folder(home, summary) / SUMMARY_FILE
    for place in (target, home.pipeline_summary_path if is_latest else None, path):
        if place is not None:
            write_json_atomic(place, summary)
    return target


def _folder(home: Home, summary: PipelineSummary) -> Path:
    """The run's own folder; a second run of the same second gets a number."""
    stamp = datetime.fromisoformat(summary.started_at).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        folder = home.runs / (stamp if number == 1 else f"{stamp}-{number}")
        found = read_summary(folder / SUMMARY_FILE)
        if found is None or found.run_id == summary.run_id:
            return folder
        number += 1


def _ingest(summary: IngestSummary | None) -> IngestStage:
    if summary is None:
        return IngestStage(skipped=True, details={"reason": NOT_RUN})
    shared = {name: getattr(summary, name) for name in IngestStage.__struct_fields__ if hasattr(summary, name)}
    return IngestStage(**shared)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
