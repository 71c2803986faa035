"""Making the findings of lint and audit, so that both are safe to show and in one order.

Here: building and sorting `contracts.pricing_lint.LintFinding`. Not here: the rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.printable import printable

DOCUMENT = "document"
"""The place of what is wrong with a book as a whole."""

_WIDEST = 80


def error(
    rule: str, place: str, message: str, *, actual: object = None, expected: object = None, waived: str | None = None
) -> LintFinding:
    """Return a finding that fails the report, or a warning that says so where somebody waived it (`waived`: how)."""
    if waived is not None:
        return warning(rule, place, f"{message} (waived by {waived})", actual=actual, expected=expected)
    return LintFinding(
        rule=rule,
        severity="error",
        place=printable(place) or DOCUMENT,
        message=printable(message),
        actual=_text(actual),
        expected=_text(expected),
    )


def warning(rule: str, place: str, message: str, *, actual: object = None, expected: object = None) -> LintFinding:
    """Return a finding that asks for a look."""
    return LintFinding(
        rule=rule,
        severity="warning",
        place=printable(place) or DOCUMENT,
        message=printable(message),
        actual=_text(actual),
        expected=_text(expected),
    )


def shown(value: object) -> str:
    """Return a value of the document as a message may name it: printable, and not longer than a line can be."""
    text = printable(str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def in_order(findings: Iterable[LintFinding]) -> list[LintFinding]:
    """Return findings by place, then rule."""
    return sorted(findings, key=lambda one: (one.place, one.rule, one.message))


def stamp(now: datetime | None) -> str:
    """Return `generated_at` of a report that is made now, or at another time."""
    return (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(value: object) -> str | None:
    return None if value is None else shown(value)
