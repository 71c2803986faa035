"""Who dominates whom: strictly better in one objective and no worse in any; layers, counts and examples from that."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import comb

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.models import pareto
from tokenledger_dagster.models.pareto import Point, Standing, standings


def point(quality: str, *costs: str) -> Point:
    return Point(Decimal(quality), tuple(map(Decimal, costs)))


def frontier(*points: Point) -> list[bool]:
    return [one.is_frontier for one in standings(points)]


# ------------------------------------------------------------------ dominance


def test_a_point_alone_is_the_frontier() -> None:
    assert standings([point("50", "1")]) == [Standing(is_frontier=True, front_rank=1, dominators=0, example=None)]


def test_no_points_have_no_standing() -> None:
    assert standings([]) == []


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (point("50", "1", "10"), point("51", "1", "10")),
        (point("50", "1", "10"), point("50", "0.9", "10")),
        (point("50", "1", "10"), point("50", "1", "9")),
        (point("50", "1", "10"), point("60", "0.5", "5")),
    ],
)
def test_better_in_one_objective_and_no_worse_in_the_others_dominates(worse: Point, better: Point) -> None:
    assert frontier(worse, better) == [False, True]
    assert frontier(better, worse) == [True, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (point("50", "1"), point("60", "2")),
        (point("50", "1", "10"), point("50", "2", "9")),
        # better in two of three is not enough
        (point("60", "1", "10"), point("50", "2", "9")),
    ],
)
def test_what_is_better_in_one_and_worse_in_another_dominates_nothing(one: Point, other: Point) -> None:
    assert frontier(one, other) == [True, True]


def test_equal_points_do_not_dominate_each_other() -> None:
    twin = point("50", "1", "10")
    assert standings([twin, twin, twin]) == [Standing(True, 1, 0, None)] * 3


def test_equal_points_share_the_layer_that_another_puts_them_in() -> None:
    twin = point("50", "1")
    found = standings([twin, point("60", "1"), twin])
    assert [(one.front_rank, one.dominators, one.example) for one in found] == [(2, 1, 1), (1, 0, None), (2, 1, 1)]


def test_a_tie_in_every_objective_but_one_is_no_tie() -> None:
    assert frontier(point("50", "0.30000000000000000001"), point("50", "0.3")) == [False, True]


def test_equal_amounts_in_other_words_are_equal() -> None:
    assert frontier(point("50", "1"), point("50.0", "1.000")) == [True, True]


# ------------------------------------------------------------------ layers, counts, examples


def test_layers_counts_and_examples_of_a_chain_beside_a_cheap_point() -> None:
    points = [
        point("90", "10"),
        point("80", "11"),
        point("70", "12"),
        point("10", "1"),
        point("10", "2"),
    ]
    found = standings(points)
    assert [one.front_rank for one in found] == [1, 2, 3, 1, 2]
    assert [one.dominators for one in found] == [0, 1, 2, 0, 1]
    assert [one.example for one in found] == [None, 0, 0, None, 3]


def test_a_layer_is_the_frontier_of_what_earlier_layers_leave() -> None:
    # 3 is beaten by 1 alone, 4 by 2 alone, and both of these are on the frontier
    points = [point("99", "9"), point("60", "2"), point("50", "1"), point("55", "3"), point("40", "1.5")]
    assert [one.front_rank for one in standings(points)] == [1, 1, 1, 2, 2]


def test_the_example_is_the_best_of_the_frontier_and_the_first_of_equals() -> None:
    beaten = point("10", "9")
    first, second = point("50", "1", "1"), point("50", "1", "1")
    found = standings([point("40", "1"), point("50", "2"), beaten, point("49", "1.5")])
    assert (found[2].dominators, found[2].example) == (3, 1)
    assert standings([point("10", "9", "9"), first, second])[0].example == 1


def test_the_example_is_never_itself_beaten() -> None:
    # 1 comes first and is of the same quality as 2, but stands in the second layer
    found = standings([point("10", "9"), point("50", "2"), point("50", "1")])
    assert found[0] == Standing(is_frontier=False, front_rank=3, dominators=2, example=2)


# ------------------------------------------------------------------ tasks drawn anew


def exact(solved: int, tasks: int) -> list[Fraction]:
    """Chances of at most 0, 1, ... tasks - 1 solved, by the definition."""
    terms = [comb(tasks, count) * solved**count * (tasks - solved) ** (tasks - count) for count in range(tasks)]
    return [Fraction(total, tasks**tasks) for total in accumulate(terms)]


@pytest.mark.parametrize("tasks", [1, 2, 10, 57, 225])
def test_chances_of_tasks_drawn_anew_are_those_of_the_binomial_distribution(tasks: int) -> None:
    for solved in {0, 1, tasks // 3, tasks - 1, tasks}:
        least, table = pareto._distribution(solved, tasks)
        found = [0.0] * least + [float(one) for one in table]
        found += [1.0] * (tasks - len(found))
        assert len(found) == tasks
        assert all(abs(one - other) < 1e-14 for one, other in zip(found, exact(solved, tasks), strict=True))


def test_a_table_holds_what_can_happen_and_no_more() -> None:
    least, table = pareto._distribution(500_000, 1_000_000)
    # twelve standard deviations of 500 on either side
    assert (least, len(table)) == (494_123, 11_754)
    assert table[500_000 - least] == pytest.approx(0.5004, abs=1e-4)
    assert [pareto._distribution(solved, 1_000_000)[0] for solved in (0, 1, 1_000_000)] == [0, 0, 999_999]


# ------------------------------------------------------------------ what holds of any points

_SMALL = st.integers(0, 6)
FEWER = settings(max_examples=25)
"""What follows from the definition is looked at less often than that it is kept to."""


@st.composite
def clouds(draw: st.DrawFn) -> list[Point]:
    """Points of one to three costs on so coarse a grid that ties are common."""
    size = draw(st.integers(1, 3))
    row = st.tuples(_SMALL, st.lists(_SMALL, min_size=size, max_size=size))
    rows = draw(st.lists(row, min_size=1, max_size=14))
    return [Point(Decimal(quality), tuple(map(Decimal, costs))) for quality, costs in rows]


def dominates(one: Point, other: Point) -> bool:
    """The definition, word by word."""
    no_worse = one.quality >= other.quality and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))
    better = one.quality > other.quality or any(a < b for a, b in zip(one.costs, other.costs, strict=True))
    return no_worse and better


def by_hand(points: list[Point]) -> list[tuple[bool, int, int]]:
    """Frontier, layer and dominators by comparing every pair."""
    ranks: dict[int, int] = {}
    layer = 0
    while len(ranks) < len(points):
        layer += 1
        left = [index for index in range(len(points)) if index not in ranks]
        front = [mine for mine in left if not any(dominates(points[other], points[mine]) for other in left)]
        ranks |= dict.fromkeys(front, layer)
    counts = [sum(dominates(other, mine) for other in points) for mine in points]
    return [(ranks[index] == 1, ranks[index], count) for index, count in enumerate(counts)]


def shown(points: list[Point]) -> list[tuple[bool, int, int]]:
    return [(one.is_frontier, one.front_rank, one.dominators) for one in standings(points)]


@given(clouds())
def test_comparing_every_pair_gives_the_same(points: list[Point]) -> None:
    assert shown(points) == by_hand(points)


@FEWER
@given(clouds())
def test_nothing_on_the_frontier_is_dominated_and_everything_else_is_by_its_example(points: list[Point]) -> None:
    found = standings(points)
    assert any(one.is_frontier for one in found)
    for mine, one in zip(points, found, strict=True):
        assert one.is_frontier is (one.dominators == 0) is (one.front_rank == 1) is (one.example is None)
        assert one.is_frontier is not any(dominates(other, mine) for other in points)
        if one.example is not None:
            assert found[one.example].is_frontier
            assert dominates(points[one.example], mine)


@FEWER
@given(clouds(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points: list[Point], chance: object) -> None:
    order = list(range(len(points)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    shuffled = [points[index] for index in order]
    straight, turned = standings(points), standings(shuffled)
    for place, index in enumerate(order):
        mine, again = straight[index], turned[place]
        assert (mine.is_frontier, mine.front_rank, mine.dominators) == (
            again.is_frontier,
            again.front_rank,
            again.dominators,
        )
        if mine.example is not None and again.example is not None:
            assert points[mine.example].quality == shuffled[again.example].quality


@FEWER
@given(clouds(), st.integers(0, 13), st.integers(0, 3))
def test_a_dominated_point_more_changes_no_frontier(points: list[Point], which: int, by: int) -> None:
    above = points[which % len(points)]
    added = Point(above.quality - 1, tuple(cost + by for cost in above.costs))
    before, after = standings(points), standings([*points, added])
    assert [one.is_frontier for one in after] == [*(one.is_frontier for one in before), False]
    assert all(new.dominators >= old.dominators for old, new in zip(before, after, strict=False))
    assert all(new.front_rank >= old.front_rank for old, new in zip(before, after, strict=False))


@pytest.mark.parametrize(
    "scale",
    [lambda value: 3 * value + 7, lambda value: value**3, lambda value: Decimal(2) ** value],
    ids=["line", "cube", "power"],
)
@FEWER
@given(clouds())
def test_no_scale_matters_that_keeps_the_order(scale: Callable[[Decimal], Decimal], points: list[Point]) -> None:
    scaled = [Point(scale(one.quality), tuple(map(scale, one.costs))) for one in points]
    assert standings(scaled) == standings(points)


@FEWER
@given(clouds())
def test_without_the_frontier_every_layer_moves_up_by_one(points: list[Point]) -> None:
    found = standings(points)
    rest = [(mine, one) for mine, one in zip(points, found, strict=True) if not one.is_frontier]
    again = standings([mine for mine, _ in rest])
    assert [one.front_rank for one in again] == [one.front_rank - 1 for _, one in rest]


@FEWER
@given(clouds())
def test_one_objective_more_never_takes_a_distinct_point_off_the_frontier(points: list[Point]) -> None:
    unique = list(dict.fromkeys((one.quality, one.costs) for one in points))
    narrow = [Point(quality, costs) for quality, costs in unique]
    wide = [Point(quality, (*costs, Decimal(index))) for index, (quality, costs) in enumerate(unique)]
    for few, more in zip(standings(narrow), standings(wide), strict=True):
        assert more.is_frontier or not few.is_frontier


@FEWER
@given(clouds())
def test_the_number_of_tasks_says_nothing_of_the_standing(points: list[Point]) -> None:
    counted = [msgspec.structs.replace(one, solved=1, tasks=10) for one in points]
    assert standings(counted) == standings(points)
