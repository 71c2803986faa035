"""What the fees of plans suggest: whole billing periods that carried far less, or far more, than they cost.

Here: rules about plans, from what became of each fee (`usage.effective`). Not here: rules about requests
(`usage.suggestions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from tokenledger_dagster.contracts.suggestions import Suggestion, SuggestionScope
from tokenledger_dagster.pricing.economics import PlanMonth
from tokenledger_dagster.usage.suggestion_rules import SAVING, Rule
from tokenledger_dagster.usage.suggestion_texts import figure, made, usd
from tokenledger_dagster.usage.suggestions import Period

_BELOW = ("idle_subscription", "plan_below_list")
"""Rules that say a plan is not worth its fee, the stronger one first: only one speaks of a plan."""
_ABOVE = "plan_above_list"


class _Billed(NamedTuple):
    """One whole billing period of a plan."""

    segments: tuple[PlanMonth, ...]

    @property
    def fee(self) -> int:
        return sum(one.fee_nano for one in self.segments)

    @property
    def carried(self) -> int:
        return sum(one.list_nano for one in self.segments)

    @property
    def is_known(self) -> bool:
        """Whether fee and list price are both known in full."""
        return self.fee > 0 and not any("fee_unknown" in one.flags for one in self.segments)

    @property
    def is_priced(self) -> bool:
        return not any(one.unpriced_tokens for one in self.segments)


def suggest_plans(months: Sequence[PlanMonth], rules: dict[str, Rule], period: Period) -> list[Suggestion]:
    """Return what the plans suggest at the end of a month.

    Args:
        months: what became of every fee.
        rules: `load_rules`.
        period: only billing periods that end within the month or before are looked at, and only plans that were paid
            for at the last of its days.
    """
    found: list[Suggestion] = []
    for name, billed in _whole_periods(months, period.until.date()).items():
        current = {segment.subscription for segment in months if _is_current(segment, period)}
        if name not in current:
            continue
        below = [one for rule in _BELOW for one in _below(rule, rules.get(rule), billed, period)]
        found += below[:1] or list(_above(rules.get(_ABOVE), billed, period))
    return found


def _is_current(segment: PlanMonth, period: Period) -> bool:
    """Whether a segment lies in the month, so that there is a plan to think about."""
    return segment.segment_start < period.until.date() and segment.segment_end > period.since.date()


def _whole_periods(months: Iterable[PlanMonth], until: date) -> dict[str, list[_Billed]]:
    """Billing periods by plan that are over by a day and were paid for in full, in order."""
    parts: dict[tuple[str, date], list[PlanMonth]] = {}
    for one in sorted(months, key=lambda one: (one.subscription, one.segment_start)):
        if one.period_end <= until:
            parts.setdefault((one.subscription, one.period_start), []).append(one)
    found: dict[str, list[_Billed]] = {}
    for (name, start), segments in parts.items():
        days = sum((one.segment_end - one.segment_start).days for one in segments)
        whole = days == (segments[0].period_end - start).days
        if whole and all(one.is_complete for one in segments):
            found.setdefault(name, []).append(_Billed(tuple(segments)))
    return found


def _last(billed: list[_Billed], rule: Rule | None) -> list[_Billed]:
    """The periods that a rule looks at; none where there are too few, or their fees are not known."""
    if rule is None or not rule.enabled:
        return []
    wanted = max(int(rule.thresholds["minimum_periods"]), 1)
    last = billed[-wanted:]
    return last if len(last) == wanted and all(one.is_known for one in last) else []


def _below(name: str, rule: Rule | None, billed: list[_Billed], period: Period) -> Iterable[Suggestion]:
    last = _last(billed, rule)
    if rule is None or not last or not all(one.is_priced for one in last):
        return
    most = rule.thresholds["maximum_leverage"]
    saving = last[-1].fee - last[-1].carried
    if all(one.carried <= one.fee * most for one in last) and usd(saving) >= max(rule.thresholds[SAVING], Decimal(0)):
        yield _suggestion(name, rule, last, period, usd(saving))


def _above(rule: Rule | None, billed: list[_Billed], period: Period) -> Iterable[Suggestion]:
    last = _last(billed, rule)
    if rule is None or not last:
        return
    least = rule.thresholds["minimum_leverage"]
    if all(one.carried >= one.fee * least for one in last):
        yield _suggestion(_ABOVE, rule, last, period, None)


def _suggestion(name: str, rule: Rule, billed: list[_Billed], period: Period, saving: Decimal | None) -> Suggestion:
    last = billed[-1]
    segments = [segment for one in billed for segment in one.segments]
    first = segments[0]
    figures = [
        figure("periods", len(billed)),
        figure("fee_usd", usd(last.fee)),
        figure("list_price_usd", usd(last.carried)),
        figure("all_fees_usd", usd(sum(one.fee for one in billed))),
        figure("all_list_price_usd", usd(sum(one.carried for one in billed))),
        figure("total_tokens", sum(one.total_tokens for one in segments)),
    ]
    evidence = period.evidence(
        requests=sum(one.event_count for one in segments),
        sessions=0,
        figures=figures,
        table="subscriptions",
        keys=[f"{one.subscription}/{one.segment_start}" for one in segments][-5:],
    )
    scope = SuggestionScope(month=period.month, provider=first.provider, subscription=first.subscription)
    return made(
        name,
        rule,
        suggestion_id=f"{name}:{first.subscription}",
        scope=scope,
        evidence=evidence,
        saving=saving,
    )
