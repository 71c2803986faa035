"""What the actions of ``tokenledger pricing`` show to people.

Here: tables and the lines below them. Not here: any figure, or what is done (`cli.pricing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_dagster.cli import output
from tokenledger_dagster.contracts.reconcile import Disagreement
from tokenledger_dagster.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tokenledger_dagster.contracts.pricing_lint import LintFinding
    from tokenledger_dagster.contracts.reconcile import (
        CoverageReport,
        PricingApply,
        PricingCheck,
        PricingReconcileSummary,
        ReportedCost,
    )
    from tokenledger_dagster.pricing.lists.store import ImportedList

_SHOWN = 40
_APPLIED = {
    "providers_added": "providers added",
    "models_added": "models added",
    "models_without_rates": "of these without any rate, still unpriced",
    "models_filled": "models whose unknown rates were filled in",
    "models_overwritten": "models whose rates were replaced",
    "models_skipped_existing": "models left as they are",
    "aliases_added": "aliases added",
    "aliases_skipped_existing": "aliases left as they are",
    "fields_added": "fields added",
}


def coverage_text(report: CoverageReport) -> str:
    """The missing models as a table, what they might be, and the sums."""
    text = ""
    if report.missing_models_by_provider:
        headers = ["Provider", "Model", "Logged as", "Context", "Reason", "Days (UTC)", "Events", "Tokens"]
        rows = [
            [
                provider,
                row.model,
                ", ".join(row.model_raw),
                row.context,
                row.reason,
                row.first_day if row.first_day == row.last_day else f"{row.first_day} to {row.last_day}",
                f"{row.count:,}",
                output.tokens(row.tokens),
            ]
            for provider, found in report.missing_models_by_provider.items()
            for row in found
        ]
        text = output.render(headers, rows[:_SHOWN], "table", numeric_from=6)
        text += _more(len(rows))
    text += _listed("neither the book nor any price list knows", report.missing_providers)
    for provider, aliases in report.suggested_model_aliases_by_provider.items():
        for one in aliases:
            text += _line(f"{provider}: {one.model} may be {one.alias_of} ({one.confidence} of 100: {one.why})")
    for name, alias in report.suggested_provider_aliases.items():
        text += _line(f"provider {name} may be {alias.alias_of} ({alias.confidence} of 100: {alias.why})")
    text += _reported(report.reported_vs_computed[:_SHOWN])
    return f"{text}{_sums(report)}\n"


def check_text(check: PricingCheck) -> str:
    """What has no price, and whether that passes."""
    text = "".join(_line(f"  {detail}") for detail in check.details[:_SHOWN]) + _more(len(check.details))
    total = check.priced_count + check.unpriced_count
    if check.passed:
        return f"passed: all {total:,} requests of {check.month} have a price\n"
    return f"failed: {check.unpriced_count:,} of {total:,} requests of {check.month} have no price\n{text}"


def apply_text(applied: PricingApply, book: str, backup: str | None) -> str:
    """What a patch brings, by name."""
    text = "".join(_listed(about, getattr(applied.summary, name)) for name, about in _APPLIED.items())
    if not applied.changed:
        return f"{text}nothing changes in {printable(book)}\n"
    if not applied.wrote_pricing:
        return f"{text}not written: this was a dry run; --write changes {printable(book)}\n"
    kept = "" if backup is None else f"; as it was: {printable(backup)}"
    return f"{text}wrote {printable(book)}{kept}\n"


def reconcile_text(summary: PricingReconcileSummary) -> str:
    """Coverage, disagreements, the patch, and the check of the book as patched."""
    text = coverage_text(summary.coverage)
    text += _disagreements([one for one in summary.disagreements if isinstance(one, Disagreement)])
    text += apply_text(summary.pricing_apply, summary.pricing, summary.artifacts.backup_path)
    text += f"with the book as patched: {check_text(summary.pricing_check)}"
    return f"{text}patch, unpriced events and summary: {printable(summary.workdir)}\n"


def lists_text(lists: Sequence[ImportedList]) -> str:
    """Imported price lists, one a row."""
    headers = ["List", "From", "First seen", "Rates", "Entries without"]
    rows = [
        [one.source, one.origin, one.observed_at.isoformat(), f"{one.rows:,}", f"{sum(one.skipped.values()):,}"]
        for one in lists
    ]
    return output.render(headers, rows, "table", numeric_from=3)


def findings_text(findings: Sequence[LintFinding]) -> str:
    """Findings of lint and audit, one a line."""
    marks = {"error": "ERROR  ", "warning": "warning"}
    return "".join(_line(f"{marks[one.severity]}  {one.place}: {one.message} [{one.rule}]") for one in findings)


def _disagreements(found: Sequence[Disagreement]) -> str:
    if not found:
        return ""
    headers = ["Model", "Channel", "Context", "Rate", "Priced by", "USD/Mtok", "Other", "USD/Mtok", "Difference"]
    rows = [
        [
            one.model,
            one.channel,
            one.context,
            one.unit,
            one.ours,
            _amount(one.ours_usd_per_mtok, one.unit),
            one.theirs,
            _amount(one.theirs_usd_per_mtok, one.unit),
            "" if one.difference_percent is None else f"{one.difference_percent:+}%",
        ]
        for one in found
    ]
    text = output.render(headers, rows[:_SHOWN], "table", numeric_from=5)
    return f"sources that differ by more than 1 % on booked models:\n{text}{_more(len(rows))}"


def _amount(value: Decimal, unit: str) -> str:
    """A rate, or the prompt size from which another one holds."""
    return f"{value:,.0f} tokens" if unit == "tier" else f"{value.normalize():f}"


def _reported(rows: Sequence[ReportedCost]) -> str:
    return "".join(
        _line(
            f"{one.client} {one.model}: logs say {output.dollars(one.reported_usd)}, list price is "
            f"{output.dollars(one.computed_usd)} ({one.difference_percent:+}%, {one.event_count:,} requests)"
        )
        for one in rows
    )


def _sums(report: CoverageReport) -> str:
    totals = report.totals
    head = f"{report.priced_count:,} of {totals.events:,} requests of {report.month} ({report.timezone}) have a price"
    if not report.unpriced_count:
        return head
    return f"{head}; {report.unpriced_count:,} with {report.unpriced_tokens:,} of {totals.tokens:,} tokens have none"


def _listed(about: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return _line(f"{about}: {', '.join(names[:_SHOWN])}{more}")


def _more(count: int) -> str:
    return f"and {count - _SHOWN:,} more; --format json shows all\n" if count > _SHOWN else ""


def _line(text: str) -> str:
    """One line, whatever names from logs and books hold."""
    return f"{printable(text)}\n"
