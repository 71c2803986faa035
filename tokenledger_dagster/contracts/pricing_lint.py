"""What `pricing lint` and `pricing audit` say about a pricing book.

Here: the shape of both reports and of one finding.  Not here: the rules (``pricing.lint``, ``pricing.audit``) or how a
report is printed (``cli``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

LINT_SCHEMA_VERSION = 1
AUDIT_SCHEMA_VERSION = 1

Severity = Literal["error", "warning"]


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a book, and what to do about it."""

    rule: str
    """Stable id, such as `zero_rate_without_free`."""
    severity: Severity
    """An `error` fails the report; a `warning` asks for a look."""
    place: str
    """Path in the document, such as `providers.claude.models.claude-opus-5-5.cache_read_usd_per_mtok`."""
    message: str
    """What is wrong, then the remedy; one line."""
    actual: str | None = None
    """What stands there; null where nothing does."""
    expected: str | None = None
    """What could stand there; null where that cannot be said."""


class LintReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a book says what can be meant."""

    schema_version: int = LINT_SCHEMA_VERSION
    generated_at: str
    """RFC 3339, UTC."""
    pricing: str
    """Path of the book."""
    passed: bool
    """Whether there is no error; warnings do not fail."""
    error_count: int
    warning_count: int
    findings: list[LintFinding]
    """By place, then rule."""


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a book says where its figures come from, and whether somebody looked lately."""

    schema_version: int = AUDIT_SCHEMA_VERSION
    generated_at: str
    """RFC 3339, UTC."""
    pricing: str
    """Path of the book."""
    passed: bool
    """Whether there is no error; a waived one counts as a warning."""
    as_of: str | None
    """UTC day of `meta.updated_at`; null where that is missing or no time."""
    age_days: int | None
    """Days from `as_of` to the day of the audit."""
    max_age_days: int
    source: str | None
    """`meta.source`."""
    findings: list[LintFinding]
    """By place, then rule."""
