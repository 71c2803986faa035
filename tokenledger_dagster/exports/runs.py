"""Runs of the pipeline that left a summary.

Here: finding and reading the summaries below ``TOKENLEDGER_HOME/runs``.  Not here: writing them
(``exports.pipeline_summary``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.summaries import PipelineSummary
from tokenledger_dagster.home import Home

SUMMARY_FILE = "pipeline-summary.json"


class RunRow(msgspec.Struct, frozen=True):
    """One row of the table ``runs``, in the order of its columns."""

    run_id: str
    generated_at: datetime
    """Naive UTC."""
    duration_ms: int
    month_filter: str | None
    on_unpriced: str
    records_scanned: int
    events_emitted: int
    checks_passed: int | None
    checks_failed: int | None
    checks_warned: int | None
    failed_names: list[str]


def summary_paths(home: Home) -> list[Path]:
    """Summaries of past runs, oldest first."""
    return sorted(home.runs.glob(f"*/{SUMMARY_FILE}"))


def read_summary(path: Path) -> PipelineSummary | None:
    """One summary; None where there is none, or one of another shape by another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PipelineSummary)
    except (OSError, msgspec.DecodeError):
        return None


def past_runs(home: Home) -> list[RunRow]:
    """Past runs, oldest first."""
    found = (read_summary(path) for path in summary_paths(home))
    return [_row(summary) for summary in found if summary is not None]


def _row(summary: PipelineSummary) -> RunRow:
    checks = summary.checks
    return RunRow(
        run_id=summary.run_id,
        generated_at=datetime.fromisoformat(summary.generated_at).astimezone(UTC).replace(tzinfo=None),
        duration_ms=summary.duration_ms,
        month_filter=summary.month_filter,
        on_unpriced=summary.on_unpriced,
        records_scanned=sum(counts.scanned for counts in summary.ingest.providers.values()),
        events_emitted=summary.ingest.emitted_total,
        checks_passed=None if checks.skipped else checks.passed,
        checks_failed=None if checks.skipped else checks.failed,
        checks_warned=None if checks.skipped else checks.warned,
        failed_names=checks.failed_names,
    )
