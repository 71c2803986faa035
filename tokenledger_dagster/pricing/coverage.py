"""What of the booked usage has a price in a rate table, and what is missing.

Usage is judged against the table that is given, not by the prices that were booked: a changed book can be tried before
anybody accepts it. Here: coverage, the check made of it, and the unpriced events one by one. Not here: what a missing
name might mean (`suggestions.py`), the patch that would mend the book (`patch.py`), files (`reconcile.py`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

import msgspec

from tokenledger_dagster.contracts.reconcile import (
    CoverageReport,
    MissingModel,
    ModelSuggestion,
    PricingCheck,
    ProviderSuggestion,
    ReportedCost,
    UnpricedEvent,
    UsageTotals,
)
from tokenledger_dagster.ingest.booked_usage import HALF_HOUR_US, Usage, month_bounds
from tokenledger_dagster.ingest.zones import DAY_US
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.book import ALIAS_RULE
from tokenledger_dagster.pricing.context import channels
from tokenledger_dagster.pricing.events import Lookup
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import BOOK, STANDARD
from tokenledger_dagster.pricing.suggestions import suggested_model, suggested_provider
from tokenledger_dagster.usage.selection import iso_day

_PERCENT_PLACES = Decimal("0.01")
_NANO_PLACES = -9
_COUNTERS = ("input", "output", "cache_write", "cache_read", "tool_input", "tool_output")
_EVENTS = f"""
SELECT e.event_id, e.timestamp_us, e.model_no, e.channel, e.requested_context, s.session_id,
  {", ".join(f"e.{name}_tokens" for name in _COUNTERS)}
FROM events e JOIN sessions s USING (session_no)
WHERE e.timestamp_us >= ? AND e.timestamp_us < ? AND {" + ".join(f"e.{name}_tokens" for name in _COUNTERS)} > 0
  AND e.model_no IN ({{}})
ORDER BY e.timestamp_us, e.event_id
"""


class Missing(NamedTuple):
    """Usage that a table has no rate for."""

    usage: Usage
    name: ModelName
    """As the pricing book calls it, where it knows it."""
    reason: str


def missing(usage: Iterable[Usage], table: RateTable) -> list[Missing]:
    """Return the usage that needs a price and has none in a table, in the order given."""
    found = []
    for one in usage:
        if one.needs_price and one.rate(table) is None:
            name = table.named(one.biller, one.name)
            found.append(Missing(one, name, Lookup(one.channel, one.requested_context, one.biller, name).reason))
    return found


def coverage(
    usage: Sequence[Usage],
    table: RateTable,
    month: str,
    *,
    zone: str = "UTC",
    pricing: str | None = None,
    now: datetime | None = None,
) -> CoverageReport:
    """Return what of a month's usage a rate table prices.

    Args:
        usage: what was booked in the month.
        table: the rates to judge with.
        month: YYYY-MM.
        zone: the time zone in which it is cut.
        pricing: path of the user's pricing book, None where there is none.
        now: time stamp of the report; None is the clock's.
    """
    needed = [one for one in usage if one.needs_price]
    gaps = missing(needed, table)
    priceable, unpriced = (sum(one.priceable_count for one in some) for some in (needed, [gap.usage for gap in gaps]))
    return CoverageReport(
        generated_at=rfc3339(now or datetime.now(UTC)),
        month=month,
        timezone=zone,
        pricing=pricing,
        totals=UsageTotals(events=priceable, tokens=sum(one.tokens for one in needed)),
        priced_count=priceable - unpriced,
        unpriced_count=unpriced,
        unpriced_tokens=sum(gap.usage.tokens for gap in gaps),
        missing_providers=_missing_providers(gaps, table),
        missing_models_by_provider=_missing_models(gaps),
        suggested_provider_aliases=_provider_aliases(needed, gaps, table),
        suggested_model_aliases_by_provider=_model_aliases(needed, gaps, table),
        reported_vs_computed=reported_costs(usage),
    )


def check_of(report: CoverageReport) -> PricingCheck:
    """Return whether everything has a price: only rates make one, neither nulls nor unmarked zeros."""
    counts: Counter[str] = Counter()
    for provider, rows in report.missing_models_by_provider.items():
        for row in rows:
            context = "" if row.context == STANDARD else f" {row.context}"
            counts[f"{provider}:{row.model}{context}"] += row.count
    return PricingCheck(
        passed=report.unpriced_count == 0,
        month=report.month,
        priced_count=report.priced_count,
        unpriced_count=report.unpriced_count,
        details=[f"{name} (events={count})" for name, count in counts.items()],
    )


def reported_costs(usage: Iterable[Usage]) -> list[ReportedCost]:
    """Return reported and booked cost by client and model, most different first.

    Only where every request has both is the one the other's: sums with unpriced requests are left out.
    """
    sums: dict[tuple[str, str], list[int]] = {}
    for one in usage:
        if one.reported_count and not one.unpriced_count:
            found = sums.setdefault((one.client, one.name.model), [0, 0, 0])
            for place, value in enumerate((one.reported_nano, one.reported_list_nano, one.reported_count)):
                found[place] += value
    rows = [
        ReportedCost(
            client=client,
            model=model,
            reported_usd=Decimal(reported).scaleb(_NANO_PLACES),
            computed_usd=Decimal(computed).scaleb(_NANO_PLACES),
            difference_percent=(Decimal(computed - reported) * 100 / reported).quantize(
                _PERCENT_PLACES, ROUND_HALF_EVEN
            ),
            event_count=count,
        )
        for (client, model), (reported, computed, count) in sums.items()
    ]
    return sorted(rows, key=lambda row: (-abs(row.difference_percent), row.client, row.model))


def unpriced_events(
    connection: sqlite3.Connection, month: str, zone: str, usage: Sequence[Usage], table: RateTable
) -> Iterator[UnpricedEvent]:
    """Yield every event of a month that needs a price and has none in a table, in order of time.

    Args:
        connection: a manifest with every event as a row (`booked_usage.settled`).
        month: YYYY-MM.
        zone: the time zone in which it is cut.
        usage: what was booked in the month.
        table: the rates to judge with.
    """
    gaps = {_key(gap.usage): gap for gap in missing(usage, table)}
    numbers = ",".join(map(str, sorted({gap.usage.model_no for gap in gaps.values()})))
    for row in connection.execute(_EVENTS.format(numbers), month_bounds(month, zone)):
        event_id, at, model_no, channel, context, session, *counts = row
        gap = gaps.get((model_no, channel, context, at // HALF_HOUR_US))
        if gap is not None:
            yield UnpricedEvent(
                event_id=event_id,
                timestamp=(datetime(1970, 1, 1) + timedelta(microseconds=at)).isoformat() + "Z",
                client=gap.usage.client,
                provider=gap.usage.biller,
                model=gap.name.model,
                model_raw=gap.usage.model_raw,
                session_id=session,
                usage={f"{name}_tokens": count for name, count in zip(_COUNTERS, counts, strict=True)},
                channel=channel,
                requested_context=context,
                reason=gap.reason,
            )


def rfc3339(moment: datetime) -> str:
    """Return a time as artifacts are stamped: UTC, to the second, with `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _key(usage: Usage) -> tuple[int, str, str, int]:
    return usage.model_no, usage.channel, usage.requested_context, usage.half_hours


# -------------------------------------------------------------------- what is missing


def _missing_providers(gaps: Iterable[Missing], table: RateTable) -> list[str]:
    listed = {whose for layer in table.layers if layer.name != BOOK for whose, _ in layer.rows}
    found: dict[str, set[str]] = {}
    for gap in gaps:
        found.setdefault(gap.usage.biller, set()).add(gap.usage.channel)
    return sorted(
        biller for biller, looked_up in found.items() if not _in_book(table, biller) and not looked_up & listed
    )


def _missing_models(gaps: Iterable[Missing]) -> dict[str, list[MissingModel]]:
    groups: dict[tuple[str, ...], list[Missing]] = {}
    for gap in gaps:
        one = gap.usage
        groups.setdefault((one.biller, gap.name.model, one.requested_context, one.channel), []).append(gap)
    rows: dict[str, list[MissingModel]] = {}
    for (provider, model, context, channel), found in sorted(groups.items()):
        rows.setdefault(provider, []).append(
            MissingModel(
                model=model,
                model_raw=sorted({gap.usage.model_raw for gap in found if gap.usage.model_raw is not None}),
                count=sum(gap.usage.priceable_count for gap in found),
                tokens=sum(gap.usage.tokens for gap in found),
                reason=found[0].reason,
                first_day=iso_day(min(gap.usage.day for gap in found)),
                last_day=iso_day(max(gap.usage.day for gap in found)),
                context=context,
                channel=channel,
            )
        )
    return {name: sorted(some, key=lambda row: (-row.tokens, row.model, row.context)) for name, some in rows.items()}


def _in_book(table: RateTable, provider: str) -> bool:
    return table.book is not None and table.book.provider(provider) is not None


# -------------------------------------------------------------------- what it might be


def _provider_aliases(
    usage: Iterable[Usage], gaps: Iterable[Missing], table: RateTable
) -> dict[str, ProviderSuggestion]:
    if table.book is None:
        return {}
    names = list(table.book.document.providers)
    unpriced = {gap.usage.biller for gap in gaps}
    looked_up: dict[str, set[str]] = {}
    for one in usage:
        if not _in_book(table, one.biller):
            looked_up.setdefault(one.biller, set()).add(one.channel)
    found = {
        biller: suggested_provider(biller, used, names, is_unpriced=biller in unpriced)
        for biller, used in sorted(looked_up.items())
    }
    return {biller: suggestion for biller, suggestion in found.items() if suggestion is not None}


def _model_aliases(
    usage: Iterable[Usage], gaps: Iterable[Missing], table: RateTable
) -> dict[str, list[ModelSuggestion]]:
    booked: dict[str, set[str]] = {}
    for one in usage:
        booked.setdefault(one.biller, set()).add(table.named(one.biller, one.name).model)
    known: dict[tuple[str, str, str | None], set[str]] = {}
    found: dict[str, dict[str, ModelSuggestion]] = {}
    # what has a price on the latest day is suggested
    for gap in sorted(gaps, key=lambda gap: -gap.usage.day):
        one = gap.usage
        place = one.biller, one.channel, one.name.maker
        if place not in known:
            known[place] = _known(table, one)
        suggestion = suggested_model(one.name, known[place], booked[one.biller])
        if suggestion is not None and gap.name.rule != ALIAS_RULE:
            rows = found.setdefault(one.biller, {})
            rows.setdefault(gap.name.model, msgspec.structs.replace(suggestion, model=gap.name.model))
    return {provider: [rows[name] for name in sorted(rows)] for provider, rows in sorted(found.items())}


def _known(table: RateTable, usage: Usage) -> set[str]:
    """Models with a price where some usage was booked: in the book, on its channel, or on the maker's own."""
    own = channels("maker").get(usage.name.maker or "")
    at = usage.day * DAY_US + DAY_US // 2
    models = {
        model
        for layer in table.layers
        for whose, model in layer.rows
        if whose in ((usage.biller,) if layer.name == BOOK else (usage.channel, own))
    }
    return {model for model in models if table.resolve(usage.channel, model, STANDARD, at, usage.biller) is not None}
