"""Results of claims and expectations, schema version 1: what was held against what, and what came of it.

Here: the shape of ``quality/claims.json``, ``quality/expectations.json`` and ``tokenledger quality --format json``.
Not here: how results come about (``governance.claims``, ``governance.expectations``).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

QUALITY_SCHEMA_VERSION = 1

ExpectationSeverity = Literal["error", "warning"]


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True):
    """One published total against its recomputation."""

    name: str
    table: str
    """What it speaks of: a table, ``warehouse``, ``ui_snapshot`` or ``pipeline_summary``."""
    passed: bool
    skipped: bool
    """True where it could not be made; ``message`` says why."""
    message: str
    actual: int | float | str | None
    """Figures that differ."""
    expected: int | float | str | None
    delta: int | float | None
    rows: list[dict[str, Any]]
    """The first figures that differ, at most twenty: key, ``figure``, ``published``, ``recomputed``, ``delta``."""


class ClaimsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``quality/claims.json``."""

    schema_version: int = QUALITY_SCHEMA_VERSION
    generated_at: str
    duration_ms: int
    passed: bool
    claims: list[ClaimResult]


class ExpectationResult(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation about one dataset."""

    expect: str
    """Type of the expectation, as Great Expectations names it."""
    arguments: dict[str, Any]
    severity: ExpectationSeverity
    means: str
    """What it is good for; after "else", what follows where it does not hold."""
    says: str
    """The expectation as a sentence."""
    passed: bool
    element_count: int | None = None
    unexpected_count: int | None = None
    observed: Any = None
    """What was found, where it is one figure and not rows."""
    rows: list[dict[str, Any]] = []
    """The first unexpected rows by key, at most twenty."""
    problem: str | None = None
    """Why it could not be decided; it then counts as not passed."""


class DatasetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One query over the published tables, and what is expected of its rows."""

    name: str
    description: str
    row_count: int
    expectations: list[ExpectationResult]


class SuiteResult(msgspec.Struct, frozen=True, kw_only=True):
    """One suite."""

    name: str
    description: str
    generated_at: str
    duration_ms: int
    passed: bool
    """False where an expectation of severity error does not hold."""
    skipped: bool
    message: str
    error_count: int = 0
    """Expectations of severity error that do not hold."""
    warning_count: int = 0
    datasets: list[DatasetResult] = []


class ExpectationsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``quality/expectations.json``: each suite as it was last run."""

    schema_version: int = QUALITY_SCHEMA_VERSION
    generated_at: str
    passed: bool
    suites: list[SuiteResult]


class QualityDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``tokenledger quality --format json``: what this call ran."""

    schema_version: int = QUALITY_SCHEMA_VERSION
    generated_at: str
    passed: bool
    claims: list[ClaimResult]
    suites: list[SuiteResult]
    data_docs: str
    """Path of the page that shows all of it."""
