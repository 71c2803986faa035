"""Whether a pricing book says where its figures come from, and whether somebody looked lately.

Here: sources, ages, announcements whose day has come, deprecated models in use; the same of the built-in price list.
Not here: whether the figures can be meant (`lint.py`). A waived error stays in the report as a warning that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tokenledger_dagster.contracts.pricing_book import BookMeta, PricingBook
from tokenledger_dagster.contracts.pricing_lint import AuditReport, LintFinding
from tokenledger_dagster.pricing.book_rows import canonical, day, look_up_key
from tokenledger_dagster.pricing.findings import error, in_order, shown, stamp, warning
from tokenledger_dagster.pricing.lint_history import scheduled_findings
from tokenledger_dagster.pricing.lint_names import is_time
from tokenledger_dagster.pricing.lint_rows import Look
from tokenledger_dagster.pricing.lint_shape import read
from tokenledger_dagster.pricing.patch import SOURCE as PATCH_SOURCE
from tokenledger_dagster.pricing.rate_table import RateTable

MAX_AGE_DAYS = 30
IN_USE_DAYS = 30
"""A model counts as in use when it was used within so many days."""
CLOCK_TOLERANCE = timedelta(days=1)
"""By so much a book may be ahead: whoever wrote it has another clock, or another time zone."""
ALLOW_STALE, ALLOW_MISSING_SOURCE = "--allow-stale", "--allow-missing-source"
META_PLACE = "config/rates.meta.json"


def audit(
    content: bytes,
    place: str,
    *,
    today: date,
    max_age_days: int = MAX_AGE_DAYS,
    allow_stale: bool = False,
    allow_missing_source: bool = False,
    used_models: Mapping[str, date] | None = None,
    deprecations: Mapping[str, date] | None = None,
    now: datetime | None = None,
) -> AuditReport:
    """Return what is known of a pricing book's origin and age.

    Args:
        content: the bytes of `pricing.json`, whatever they are.
        place: what the report calls the file.
        today: UTC day from which ages are counted.
        max_age_days: the largest age that passes.
        allow_stale: let an older book pass with a warning.
        allow_missing_source: let figures without a source pass with a warning.
        used_models: canonical model -> last UTC day on which it was used.
        deprecations: canonical model -> UTC day on which its maker withdraws it.
        now: time of the report, this moment by default.
    """
    stale = ALLOW_STALE if allow_stale else None
    sourceless = ALLOW_MISSING_SOURCE if allow_missing_source else None
    reading = read(content)
    document = reading.document or PricingBook()
    updated = _updated(document.meta)
    if reading.document is None:
        findings = reading.findings
    else:
        look = Look.at(document, reading.broken, today, RateTable([], ""))
        findings = [
            *_meta(document.meta, updated, today, max_age_days, stale, sourceless),
            *_rows(look, max_age_days, sourceless),
            *(one for one in scheduled_findings(look) if one.rule == "scheduled_past_its_date"),
            *deprecated_models(today, used_models or {}, deprecations or {}, document),
        ]
    return AuditReport(
        generated_at=stamp(now),
        pricing=place,
        passed=not any(one.severity == "error" for one in findings),
        as_of=updated.isoformat() if updated else None,
        age_days=(today - updated).days if updated else None,
        max_age_days=max_age_days,
        source=document.meta.source,
        findings=in_order(findings),
    )


def audit_price_list(
    meta: Mapping[str, Any],
    today: date,
    max_age_days: int = MAX_AGE_DAYS,
    *,
    installed: str | None = None,
    place: str = META_PLACE,
) -> list[LintFinding]:
    """Return what is known of the built-in price list's age.

    Args:
        meta: `config/rates.meta.json`.
        today: UTC day from which its age is counted.
        max_age_days: the largest age without a finding.
        installed: version of the source that is installed here, where it is.
        place: what findings call the file.
    """
    findings = []
    as_of, version = meta.get("as_of"), meta.get("source_version")
    try:
        age = (today - date.fromisoformat(as_of or "")).days
    except (TypeError, ValueError):
        message = f"{shown(as_of)} is no day; build the price list again with `tokenledger rates build`"
        findings.append(error("price_list_bad_as_of", f"{place}.as_of", message, actual=as_of))
    else:
        if age > max_age_days:
            message = f"the built-in price list is {age} days old and knows no later price; update TokenLedger, or "
            message += "import a newer list"
            findings.append(
                warning(
                    "price_list_stale", f"{place}.as_of", message, actual=f"{age} days", expected=f"<= {max_age_days}"
                )
            )
    if installed is not None and installed != version:
        message = f"was built from version {shown(version)} of {shown(meta.get('source'))}, and {shown(installed)} is "
        message += "installed; build it again with `tokenledger rates build`"
        findings.append(
            warning("price_list_version", f"{place}.source_version", message, actual=version, expected=installed)
        )
    return in_order(findings)


def _updated(meta: BookMeta) -> date | None:
    """The UTC day of `updated_at`; None where that is missing or no time."""
    if not meta.updated_at or not is_time(meta.updated_at):
        return None
    try:
        return datetime.fromisoformat(meta.updated_at).astimezone(UTC).date()
    except OverflowError:
        return None


def _meta(
    meta: BookMeta, updated: date | None, today: date, max_age_days: int, stale: str | None, sourceless: str | None
) -> Iterator[LintFinding]:
    if meta == BookMeta():
        message = "is missing, so nobody knows how old the figures are; add meta with source and updated_at"
        yield error("missing_meta", "meta", message)
        return
    if not meta.source:
        message = "says not where the figures come from; name the page or the price list"
        yield error("missing_source", "meta.source", message, waived=sourceless)
    if not meta.updated_at:
        message = "says not when somebody last looked; write a time such as 2026-11-21T00:00:00Z"
        yield error("missing_updated_at", "meta.updated_at", message)
    elif updated is None:
        message = f"{shown(meta.updated_at)} is no time in UTC; write it as 2026-11-21T00:00:00Z"
        yield error("bad_updated_at", "meta.updated_at", message, actual=meta.updated_at)
    elif updated - today > CLOCK_TOLERANCE:
        message = f"{shown(meta.updated_at)} is still to come; write when somebody last looked"
        yield error("updated_in_future", "meta.updated_at", message, actual=meta.updated_at)
    elif (age := (today - updated).days) > max_age_days:
        message = f"nobody has looked for {age} days; check the figures, then renew it"
        yield error(
            "stale_book", "meta.updated_at", message, actual=f"{age} days", expected=f"<= {max_age_days}", waived=stale
        )


def _rows(look: Look, max_age_days: int, sourceless: str | None) -> Iterator[LintFinding]:
    """Of the rows that may still price something: what is over, or corrected, needs no new look."""
    today = look.today.isoformat()
    for one in look.live:
        if not look.is_dated(one) or (one.row.valid_to and one.row.valid_to <= today):
            continue
        if not one.row.source and look.document.meta.source in (None, "", PATCH_SOURCE):
            message = "has no source, and neither has the book but our own patch; name the page or the price list"
            yield error("row_without_source", f"{one.place}.source", message, waived=sourceless)
        try:
            checked = day(one.row.checked)
        except ValueError:
            continue  # lint says so
        if checked is None:
            continue  # as old as the book
        age = (look.today - checked).days
        if age > max_age_days:
            message = f"nobody has looked for {age} days; check the figures at their source, then renew it"
            yield warning(
                "row_stale", f"{one.place}.checked", message, actual=one.row.checked, expected=f"<= {max_age_days} days"
            )
        elif checked - look.today > CLOCK_TOLERANCE:
            message = f"{one.row.checked} is still to come; write the day on which somebody looked"
            yield warning("checked_in_future", f"{one.place}.checked", message, actual=one.row.checked)


def deprecated_models(
    today: date, used: Mapping[str, date], deprecations: Mapping[str, date], document: PricingBook | None = None
) -> Iterator[LintFinding]:
    """Yield a warning for every model that was used lately though its maker had withdrawn it.

    Args:
        today: UTC day.
        used: canonical model -> last UTC day on which it was used.
        deprecations: canonical model -> UTC day on which its maker withdraws it.
        document: the book, whose entry is named where it has one.
    """
    places = {
        look_up_key(canonical(model)): f"providers.{provider}.models.{model}"
        for provider, entry in (document.providers if document is not None else {}).items()
        for model in entry.models
    }
    for model, last in used.items():
        withdrawn = deprecations.get(model)
        if withdrawn is None or last < withdrawn or (today - last).days > IN_USE_DAYS:
            continue
        message = f"was withdrawn on {withdrawn} and used on {last}; its price may be another model's: see what answers"
        place = places.get(look_up_key(model), f"models.{model}")
        yield warning("deprecated_model_in_use", place, message, actual=last, expected=f"before {withdrawn}")
