"""Five-hour blocks from hours with events."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.exports.blocks import block_starts

DAY = datetime(2026, 2, 18)


def hours(*numbers: int) -> list[datetime]:
    return [DAY + timedelta(hours=number) for number in numbers]


def test_a_block_lasts_five_hours_from_its_first_hour() -> None:
    assert block_starts(hours(9, 10, 13)) == dict(zip(hours(9, 10, 13), hours(9, 9, 9), strict=True))


def test_the_hour_it_ends_begins_the_next() -> None:
    assert block_starts(hours(9, 14, 18, 19)) == dict(zip(hours(9, 14, 18, 19), hours(9, 14, 14, 19), strict=True))


def test_a_pause_leaves_a_gap() -> None:
    assert block_starts(hours(9, 23)) == dict(zip(hours(9, 23), hours(9, 23), strict=True))


def test_no_hours_no_blocks() -> None:
    assert block_starts([]) == {}


@given(st.lists(st.integers(0, 500)))
def test_blocks_never_overlap_and_hold_every_hour(numbers: list[int]) -> None:
    found = block_starts(hours(*numbers))
    starts = sorted(set(found.values()))

    assert set(found) == set(hours(*numbers))
    assert all(timedelta() <= hour - start < timedelta(hours=5) for hour, start in found.items())
    assert all(later - earlier >= timedelta(hours=5) for earlier, later in pairwise(starts))
    assert block_starts(reversed(hours(*numbers))) == found
