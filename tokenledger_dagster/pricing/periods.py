"""When a subscription is billed, and how a sum of money is cut into whole nano-USD.

Here: billing periods counted from a plan's first day, their segments, and `apportion`, by which money is divided
(`plan_costs.sql` does the same within a quarter hour). Not here: what a period costs (`plan_types.py`) and who bears it
(`economics.py`).

A segment is a billing period cut at the UTC month's border: what a fee did to a month that is over never changes again,
whatever the next month brings. All days are UTC and all stretches half-open.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, date
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.plan_types import Subscription

__all__ = ["Segment", "apportion", "half_even", "months_between", "period_start", "segments"]


class Segment(NamedTuple):
    """The part of one billing period that lies in one calendar month."""

    period_start: date
    period_end: date
    """First day of the next period, also where the plan ends before it."""
    paid_end: date
    """First day of the period that is not paid for: its end, or the plan's."""
    start: date
    end: date

    @property
    def days(self) -> int:
        """How many days it has, at least one."""
        return (self.end - self.start).days

    @property
    def period_days(self) -> int:
        """How many days the whole billing period has."""
        return (self.period_end - self.period_start).days

    def fee(self, period_nano: int) -> int:
        """Return this segment's part, in nano-USD, of what the whole billing period costs.

        A period that the plan's end cuts short costs its paid days' share, rounded half-even; that sum is divided over
        the period's segments by their days, so that they add up to it exactly.
        """
        paid_days = (self.paid_end - self.period_start).days
        parts = list(_months(self.period_start, self.paid_end))
        fees = apportion(half_even(period_nano * paid_days, self.period_days), [(end - at).days for at, end in parts])
        return fees[parts.index((self.start, self.end))]


def segments(subscription: Subscription, through: date) -> Iterator[Segment]:
    """Yield a subscription's segments that begin on or before a day, in order; one that has begun is yielded whole."""
    index, start = 0, subscription.start
    paid_until = subscription.end or date.max
    while start <= through and start < paid_until:
        index += 1
        end = period_start(subscription.start, index)
        paid_end = min(end, paid_until)
        for first, last in _months(start, paid_end):
            if first <= through:
                yield Segment(start, end, paid_end, first, last)
        start = end


def period_start(anchor: date, index: int) -> date:
    """Return the first day of the billing period that lies `index` months after the first one.

    A month without the anchor's day begins its period on its last day, and the next month is counted from the anchor
    again: Jan 31, Feb 28, Mar 31. Past the calendar's end it is `date.max`.
    """
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + index, 12)
    if year > MAXYEAR:
        return date.max
    return date(year, month + 1, min(anchor.day, monthrange(year, month + 1)[1]))


def months_between(anchor: date, day: date) -> int:
    """Return how many calendar months a day lies after an anchor's, days of the month aside."""
    return (day.year - anchor.year) * 12 + day.month - anchor.month


def half_even(numerator: int, denominator: int) -> int:
    """Return a quotient of non-negative integers, rounded half-even."""
    whole, rest = divmod(numerator, denominator)
    return whole + 1 if 2 * rest > denominator or (2 * rest == denominator and whole % 2) else whole


def apportion(total: int, weights: Sequence[int], keys: Sequence[Any] | None = None) -> list[int]:
    """Divide a total over weights by largest remainder; the parts are integers and add up to it exactly.

    Args:
        total: what is divided, at least 0.
        weights: one for each part, at least 0. Where all are 0 the parts are equal.
        keys: what decides between equal remainders, smallest first: an identity of each part, so that the result does
            not depend on the order. None = the position.

    Raises:
        ValueError: something is negative, or there is a total and no part to take it.
    """
    if total < 0 or min(weights, default=0) < 0:
        raise ValueError("a negative sum or weight cannot be divided")
    if not weights:
        if total:
            raise ValueError("a sum cannot be divided over nothing")
        return []
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts, rests = map(list, zip(*[divmod(total * weight, whole) for weight in weights], strict=True))
    missing = total - sum(parts)
    if missing:
        # only the remainders that tie for the last unit need their keys compared
        bar = sorted(rests, reverse=True)[missing - 1]
        tied = [index for index, rest in enumerate(rests) if rest == bar]
        above = [index for index, rest in enumerate(rests) if rest > bar]
        if keys is not None:
            tied.sort(key=keys.__getitem__)
        for index in above + tied[: missing - len(above)]:
            parts[index] += 1
    return parts


def _months(start: date, end: date) -> Iterator[tuple[date, date]]:
    """The days of a stretch by calendar month, half-open."""
    while start < end:
        border = min(end, period_start(start.replace(day=1), 1))
        yield start, border
        start = border
