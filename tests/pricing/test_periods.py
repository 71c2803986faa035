"""Billing periods, their segments, and sums cut into whole nano-dollars."""

from __future__ import annotations

import random
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.pricing.periods import apportion, half_even, period_start, segments
from tokenledger_dagster.pricing.plan_types import Subscription

DAYS = st.dates(date(2024, 1, 1), date(2027, 12, 31))


def subscription(start: date, end: date | None = None) -> Subscription:
    return Subscription(name="plan", provider="claude", plan="anthropic/max-20x", start=start, end=end)


def spans(start: date, through: date, end: date | None = None) -> list[tuple[date, date]]:
    return [(one.start, one.end) for one in segments(subscription(start, end), through)]


@pytest.mark.parametrize(
    ("anchor", "starts"),
    [
        (date(2026, 1, 15), [date(2026, 1, 15), date(2026, 2, 15), date(2026, 3, 15), date(2026, 4, 15)]),
        (date(2026, 1, 31), [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]),
        (date(2028, 1, 30), [date(2028, 1, 30), date(2028, 2, 29), date(2028, 3, 30), date(2028, 4, 30)]),
        (date(2026, 11, 30), [date(2026, 11, 30), date(2026, 12, 30), date(2027, 1, 30), date(2027, 2, 28)]),
    ],
)
def test_every_period_is_counted_from_the_first_day(anchor: date, starts: list[date]) -> None:
    assert [period_start(anchor, index) for index in range(4)] == starts


def test_past_the_calendars_end_there_is_its_last_day() -> None:
    assert [period_start(date(9999, 12, 5), index) for index in (1, 2)] == [date.max, date.max]


def test_a_period_is_cut_at_the_months_border() -> None:
    assert spans(date(2026, 1, 15), date(2026, 3, 1)) == [
        (date(2026, 1, 15), date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 2, 15)),
        (date(2026, 2, 15), date(2026, 3, 1)),
        (date(2026, 3, 1), date(2026, 3, 15)),
    ]


def test_a_period_that_begins_with_the_month_is_one_segment() -> None:
    assert spans(date(2026, 4, 1), date(2026, 4, 1)) == [(date(2026, 4, 1), date(2026, 5, 1))]


def test_a_segment_that_has_not_begun_does_not_exist_yet() -> None:
    assert spans(date(2026, 1, 15), date(2026, 1, 31)) == [(date(2026, 1, 15), date(2026, 2, 1))]
    assert spans(date(2026, 1, 15), date(2026, 1, 14)) == []


def test_a_plan_that_ends_has_no_segments_from_that_day_on() -> None:
    assert spans(date(2026, 1, 15), date(2026, 9, 1), end=date(2026, 2, 5)) == [
        (date(2026, 1, 15), date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 2, 5)),
    ]


def test_the_periods_fee_falls_on_its_segments_by_their_days() -> None:
    first, second = segments(subscription(date(2026, 1, 15)), date(2026, 2, 14))
    # 17 and 14 of 31 days
    assert (first.fee(200_000_000_000), second.fee(200_000_000_000)) == (109_677_419_355, 90_322_580_645)


def test_a_period_that_is_cut_short_costs_its_paid_days() -> None:
    first, second = segments(subscription(date(2026, 1, 15), date(2026, 2, 5)), date(2026, 2, 14))
    # 21 of 31 days are 135.483870968 USD; 17 and 4 of the 21
    assert (first.fee(200_000_000_000), second.fee(200_000_000_000)) == (109_677_419_355, 25_806_451_613)


@pytest.mark.parametrize(("fee", "paid"), [(1, 0), (3, 2), (5, 2)])
def test_half_a_nano_dollar_of_a_shortened_period_rounds_to_even(fee: int, paid: int) -> None:
    (half,) = segments(subscription(date(2026, 4, 1), date(2026, 4, 16)), date(2026, 4, 1))
    assert half.fee(fee) == paid


@settings(max_examples=60)
@given(DAYS, DAYS, st.none() | DAYS, st.integers(0, 10**12))
def test_segments_tile_the_plans_days_month_by_month_and_carry_whole_fees(
    start: date, through: date, end: date | None, fee: int
) -> None:
    if end is not None and end <= start:
        end = None
    found = list(segments(subscription(start, end), through))
    day, fees = start, dict[date, int]()
    for one in found:
        assert one.start == day
        assert one.start.replace(day=1) == (one.end - timedelta(days=1)).replace(day=1)
        assert one.days >= 1
        day = one.end
        fees[one.period_start] = fees.get(one.period_start, 0) + one.fee(fee)
    assert not found or day > through or day == end
    for one in found[:-2]:
        assert fees[one.period_start] == fee


@settings(max_examples=60)
@given(DAYS, DAYS, st.integers(0, 400))
def test_time_only_adds_segments(start: date, through: date, days: int) -> None:
    before = list(segments(subscription(start), through))
    assert list(segments(subscription(start), through + timedelta(days=days)))[: len(before)] == before


# apportioning


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (10, [3, 3, 1], [4, 4, 2]),
        (7, [0, 5, 0], [0, 7, 0]),
        (5, [0, 0], [3, 2]),
        (0, [1, 2], [0, 0]),
        (0, [], []),
        (2, [10**30, 1], [2, 0]),
    ],
)
def test_parts_add_up_by_largest_remainder(total: int, weights: list[int], parts: list[int]) -> None:
    assert apportion(total, weights) == parts


def test_equal_remainders_go_to_the_smaller_key() -> None:
    assert apportion(100, [1, 1, 1], keys=["c", "a", "b"]) == [33, 34, 33]


@pytest.mark.parametrize(("total", "weights"), [(-1, [1]), (1, [-1, 2]), (1, [])])
def test_what_cannot_be_divided_is_an_error(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot be divided"):
        apportion(total, weights)


@settings(max_examples=200)
@given(st.integers(0, 10**13), st.lists(st.integers(0, 10**15), min_size=1, max_size=12), st.randoms())
def test_parts_are_fair_exact_and_independent_of_order(total: int, weights: list[int], rng: random.Random) -> None:
    parts = apportion(total, weights, keys=range(len(weights)))
    assert sum(parts) == total
    if whole := sum(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * whole - total * weight) < whole
    order = list(range(len(weights)))
    rng.shuffle(order)
    assert apportion(total, [weights[index] for index in order], keys=order) == [parts[index] for index in order]


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_half_even_is_pythons_rounding(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))
