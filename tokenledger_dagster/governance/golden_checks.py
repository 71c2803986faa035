"""What must hold of figures that were right once: the bundled sample gives what it gave, closed months stay.

Here: both as findings. Not here: the figures (`golden_sample`, `golden_months`), and locking (`tokenledger bench golden
lock`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tokenledger_dagster.contracts.golden import ChangedMonth, Difference
from tokenledger_dagster.governance.golden import (
    GOLDEN_SAMPLE,
    LOCK_CLOSED,
    LOCK_SAMPLE,
    GoldenError,
    is_new,
    lock_path,
    lock_state,
    sample_state,
)
from tokenledger_dagster.governance.outcome import SHOWN_ROWS, Finding, Inspection
from tokenledger_dagster.home import SAMPLE_HOME


def sample_golden(look: Inspection) -> Finding:
    """Whether the bundled sample, made anew, gives every locked figure."""
    if not SAMPLE_HOME.is_dir():
        message = f"{SAMPLE_HOME} is missing: only a clone of the repository holds the sample."
        return Finding(passed=True, skipped=True, message=message)
    from tokenledger_dagster.governance.golden_sample import verify_sample  # only who compares needs the whole pipeline

    try:
        report = verify_sample(GOLDEN_SAMPLE, _now())
    except GoldenError as error:
        return Finding(passed=False, message=f"{error}.", actual="not readable", expected="readable")
    rows = [_row(one) for one in report.differences[:SHOWN_ROWS]]
    if report.passed:
        message = f"All {report.compared} figures of the sample are the locked ones."
        return Finding(passed=True, message=message, actual=0, expected=0)
    told = [*report.problems, *_told(report.differences)]
    message = (
        f"{told[0]}. The program counts or prices otherwise than it did: `tokenledger bench golden verify` shows all "
        f"of it. If it is meant, `{LOCK_SAMPLE} --accept` and commit the file."
    )
    actual = len(report.differences) or len(report.problems)
    return Finding(passed=False, message=message, actual=actual, expected=0, rows=rows)


def sample_key(look: Inspection) -> str:
    """Stands for everything that the sample's figures are made of."""
    return sample_state(GOLDEN_SAMPLE) if SAMPLE_HOME.is_dir() else ""


def closed_months_unchanged(look: Inspection) -> Finding:
    """Whether every locked month of this ledger has the events and figures that were locked."""
    if not lock_path(look.home).exists():
        message = f"No month is locked. `{LOCK_CLOSED}` locks those that are closed."
        return Finding(passed=True, skipped=True, message=message)
    from tokenledger_dagster.governance.golden_months import verify_closed

    try:
        report = verify_closed(look.home, look.con, _now())
    except GoldenError as error:
        return Finding(passed=False, message=f"{error}.", actual="not readable", expected="readable")
    unlocked = report.unlocked_months
    also = f" Closed and not locked: {', '.join(unlocked)}; `{LOCK_CLOSED}`." if unlocked else ""
    if report.passed:
        message = f"All {report.compared} figures of the locked months are what they were.{also}"
        return Finding(passed=True, message=message, actual=0, expected=0)
    told = [*report.problems, *(_changed(one) for one in report.months)]
    message = (
        f"{told[0]}. Figures that somebody may have reported are others now: `tokenledger bench golden verify "
        f"--closed` shows which and why. If they are right, `{LOCK_CLOSED} --accept`.{also}"
    )
    rows = [row for month in report.months for row in _rows(month)] or [_row(one) for one in report.differences]
    actual = len(report.months) or len(report.problems)
    return Finding(passed=False, message=message, actual=actual, expected=0, rows=rows[:SHOWN_ROWS])


def closed_key(look: Inspection) -> str:
    """Stands for the lock and its records."""
    return lock_state(look.home)


def _told(differences: list[Difference]) -> list[str]:
    changed = [one for one in differences if not is_new(one)]
    if not changed:
        names = sorted({one.scenario for one in differences})
        return [f"{names[0]} must be locked: run `{LOCK_SAMPLE}`"] if names else []
    first = changed[0]
    where = " ".join(part for part in (first.scenario, first.key, first.figure) if part)
    count = f"{len(changed)} figures of the sample are not the locked ones, first {where}"
    return [f"{count}: {first.actual} instead of {first.expected}"]


def _changed(month: ChangedMonth) -> str:
    events = sum(cause.event_count for cause in month.causes)
    why = [*month.basis_changed, *(cause.message for cause in month.causes)]
    return f"{month.month} is not what was locked ({events} events): {why[0]}"


def _rows(month: ChangedMonth) -> list[dict[str, Any]]:
    return [
        {
            "month": month.month,
            "cause": cause.cause,
            "change": cause.change,
            "events": cause.event_count,
            "total_tokens_delta": cause.total_tokens_delta,
            "list_price_usd_delta": cause.list_price_usd_delta,
            "first_event": cause.events[0].event_id,
            "place": cause.events[0].place,
        }
        for cause in month.causes
    ]


def _row(one: Difference) -> dict[str, Any]:
    names = ("kind", "scenario", "key", "figure", "expected", "actual", "delta")
    return {name: getattr(one, name) for name in names}


def _now() -> datetime:
    return datetime.now(UTC)
