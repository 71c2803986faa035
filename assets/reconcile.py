"""Prices held against usage: stage `reconcile`.

Here: the month's coverage, and the run that makes a patch of what is missing. Not here: how either is worked out
(`tokenledger_dagster/pricing`).
"""

import time
from typing import Any

import dagster as dg

from assets.common import OWNERS, figures, key, on_change
from resources import LedgerHome, RunOptions
from tokenledger_dagster.ingest.fingerprints import document_digest, texts_digest

OPTIONS: dict[str, Any] = {"group_name": "reconcile", "kinds": {"json"}, "owners": OWNERS, "code_version": "1"}


@dg.asset(
    key=["reconcile", "summary"],
    deps=[key("pricing/event_costs"), key("pricing/reprice")],
    automation_condition=on_change(),
    **OPTIONS,
)
def summary(home: LedgerHome, options: RunOptions) -> dg.MaterializeResult:
    """A folder `reconcile-*` with patch, unpriced events and summary; the book changes only where a run asks for it."""
    from tokenledger_dagster.pricing.standing import reconcile_if_changed

    started, place = time.perf_counter(), home.open()
    found = reconcile_if_changed(
        place, month=options.month or home.settings.month, zone=home.zone, write=options.reconcile_write
    )
    taken = round((time.perf_counter() - started) * 1000)
    if found is None:
        return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata=figures(rows=0, duration_ms=taken))
    made, report = found.summary, found.summary.coverage
    told: dict[str, Any] = {
        "month": made.month_filter,
        "priced_count": report.priced_count,
        "unpriced_count": report.unpriced_count,
        "disagreements": len(made.disagreements),
        "check_passed": made.pricing_check.passed,
        "wrote_pricing": made.pricing_apply.wrote_pricing,
        "dry_run": made.dry_run,
        "patch": dg.MetadataValue.path(made.artifacts.patch_path),
        "summary": dg.MetadataValue.path(str(place.reconcile_summary_path)),
    }
    numbers = figures(
        rows=report.totals.events, duration_ms=taken, tokens=report.totals.tokens, hits=float(not found.is_new)
    )
    return dg.MaterializeResult(data_version=dg.DataVersion(document_digest(made)), metadata={**numbers, **told})


@dg.asset(key=["reconcile", "coverage"], deps=[key("reconcile/summary")], automation_condition=on_change(), **OPTIONS)
def coverage(home: LedgerHome) -> dg.MaterializeResult:
    """Which models of the month have no rate under today's prices, and what they might be."""
    from tokenledger_dagster.pricing.standing import last_reconciled

    started = time.perf_counter()
    summary = last_reconciled(home.open())
    report = None if summary is None else summary.coverage
    taken = round((time.perf_counter() - started) * 1000)
    if report is None:
        return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata=figures(rows=0, duration_ms=taken))
    missing = [
        dg.TableRecord({"provider": provider, "model": one.model, "events": one.count, "reason": one.reason})
        for provider, models in report.missing_models_by_provider.items()
        for one in models
    ]
    numbers = figures(rows=len(missing), duration_ms=taken, tokens=report.totals.tokens)
    if missing:
        numbers["missing"] = dg.MetadataValue.table(missing[:50])
    return dg.MaterializeResult(data_version=dg.DataVersion(document_digest(report)), metadata=numbers)


@dg.asset(key=["reconcile", "gate"], deps=[key("reconcile/coverage"), key("pricing/book")], **OPTIONS)
def gate(home: LedgerHome, options: RunOptions) -> dg.MaterializeResult:
    """Fails a run that refuses usage without a price, as `pricing_ci` does, where book or prices do not stand up."""
    from tokenledger_dagster.governance.price_book import gate as refusals

    started = time.perf_counter()
    reasons = refusals(home.open())
    if reasons and (options.on_unpriced or home.settings.on_unpriced) == "error":
        raise dg.Failure(description="; ".join(reasons[:5]), metadata={"reasons": reasons}, allow_retries=False)
    numbers = figures(rows=len(reasons), duration_ms=round((time.perf_counter() - started) * 1000))
    told = {**numbers, "would_fail": "; ".join(reasons[:5]) or "nothing"}
    return dg.MaterializeResult(data_version=dg.DataVersion(texts_digest(reasons)), metadata=told)


ASSETS = [summary, coverage, gate]
