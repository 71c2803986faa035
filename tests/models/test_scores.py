"""Scores between fixed bounds, which weights choose whom, how sure a frontier is, and the file that settles it."""

from __future__ import annotations

from decimal import Decimal
from math import comb
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.contracts.ledger import OBJECTIVES
from tokenledger_dagster.models import comparison
from tokenledger_dagster.models.comparison import MIX, ComparisonError, Figure, load_comparison
from tokenledger_dagster.models.pareto import DRAWS, Point, frontier_probabilities
from tokenledger_dagster.models.scores import Bounds, linear, logarithmic, score, win_shares

PERCENT = Bounds(worst=Decimal(0), best=Decimal(100))
PRICE = Bounds(worst=Decimal(100), best=Decimal("0.01"))

amounts = st.decimals("0.001", "1000", places=6, allow_nan=False)
shares = st.decimals("0", "1", places=3, allow_nan=False)


# ------------------------------------------------------------------ components


@pytest.mark.parametrize(
    ("percent", "component"), [("0", "0"), ("39.45", "0.394500"), ("100", "1"), ("-3", "0"), ("120", "1")]
)
def test_quality_counts_as_it_is(percent: str, component: str) -> None:
    assert linear(Decimal(percent), PERCENT) == Decimal(component)


@pytest.mark.parametrize(
    ("usd", "component"),
    [
        ("100", "0"),
        ("10", "0.25"),
        ("1", "0.5"),
        ("0.1", "0.75"),
        ("0.01", "1"),
        # what lies outside counts as the bound
        ("500", "0"),
        ("0.0001", "1"),
        # ln(2.345 / 100) / ln(0.01 / 100)
        ("2.345", "0.407464"),
    ],
)
def test_costs_count_by_their_logarithm(usd: str, component: str) -> None:
    assert logarithmic(Decimal(usd), PRICE) == Decimal(component)


def test_latency_counts_by_its_logarithm_too() -> None:
    seconds = Bounds(worst=Decimal(1000), best=Decimal(1))
    found = [logarithmic(Decimal(one), seconds) for one in (1, 10, 20, 200, 1000)]
    assert found == [Decimal(one) for one in ("1", "0.666667", "0.566323", "0.232990", "0")]


@given(st.decimals("0.05", "25", places=4))
def test_twice_the_price_always_costs_the_same(usd: Decimal) -> None:
    lost = logarithmic(usd, PRICE) - logarithmic(2 * usd, PRICE)
    # ln 2 / ln 10000
    assert abs(lost - Decimal("0.075257")) <= Decimal("0.000002")


@given(amounts, amounts)
def test_dearer_never_counts_as_better(one: Decimal, other: Decimal) -> None:
    low, high = sorted((one, other))
    assert 0 <= logarithmic(high, PRICE) <= logarithmic(low, PRICE) <= 1


# ------------------------------------------------------------------ score


def test_the_score_is_the_weighted_sum() -> None:
    components = {"quality": Decimal("0.8"), "cost": Decimal("0.5"), "latency": Decimal("0.25")}
    weights = {"quality": Decimal("0.5"), "cost": Decimal("0.3"), "latency": Decimal("0.2")}
    # 40 + 15 + 5
    assert score(components, weights) == Decimal("60.0000")


def test_a_component_without_a_weight_does_not_count() -> None:
    components = {"quality": Decimal("0.8"), "cost": Decimal("0.5"), "latency": Decimal("0.25")}
    assert score(components, {"quality": Decimal("0.6"), "cost": Decimal("0.4")}) == Decimal("68.0000")


@given(shares, shares, shares)
def test_a_score_lies_between_its_components(quality: Decimal, cost: Decimal, latency: Decimal) -> None:
    components = {"quality": quality, "cost": cost, "latency": latency}
    weights = {"quality": Decimal("0.5"), "cost": Decimal("0.3"), "latency": Decimal("0.2")}
    assert 100 * min(components.values()) <= score(components, weights) <= 100 * max(components.values())


# ------------------------------------------------------------------ what other weights would choose


def row(**components: str) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in components.items()}


def test_two_opposites_win_half_of_the_weightings_each_and_tie_at_the_middle() -> None:
    # of 21 weightings in steps of 1/20 ten are each one's own, the eleventh is both's
    assert win_shares([row(quality="1", cost="0"), row(quality="0", cost="1")]) == [Decimal("0.524")] * 2


def test_who_is_worse_in_everything_never_wins() -> None:
    found = win_shares([row(quality="0.9", cost="0.9"), row(quality="0.8", cost="0.8")])
    assert found == [Decimal("1.000"), Decimal("0.000")]


def test_who_is_on_the_frontier_but_below_the_line_never_wins() -> None:
    # 0.4 each: undominated, and still under the line from (1, 0) to (0, 1)
    found = win_shares([row(quality="1", cost="0"), row(quality="0.4", cost="0.4"), row(quality="0", cost="1")])
    assert found[1] == 0


def test_three_opposites_share_the_weightings_of_three_objectives() -> None:
    rows = [row(quality=q, cost=c, latency=t) for q, c, t in (("1", "0", "0"), ("0", "1", "0"), ("0", "0", "1"))]
    # of 231 weightings twelve have two best rows, none three: each wins (231 + 12) / 3
    assert win_shares(rows) == [(Decimal(81) / 231).quantize(Decimal("0.001"))] * 3


def test_equal_rows_win_alike_and_no_rows_win_nothing() -> None:
    assert win_shares([row(quality="0.5", cost="0.5")] * 2) == [Decimal(1), Decimal(1)]
    assert win_shares([]) == []


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_every_weighting_has_a_winner_whatever_the_order(pairs: list[tuple[Decimal, Decimal]], chance: object) -> None:
    rows = [{"quality": quality, "cost": cost} for quality, cost in pairs]
    found = win_shares(rows)
    assert sum(found) >= 1 - len(rows) * Decimal("0.0005")
    order = list(range(len(rows)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert win_shares([rows[index] for index in order]) == [found[index] for index in order]


# ------------------------------------------------------------------ how sure a frontier is


def measured(solved: int, tasks: int, *costs: int) -> Point:
    return Point(Decimal(100 * solved) / tasks, tuple(map(Decimal, costs)), solved, tasks)


def test_a_point_alone_is_always_on_the_frontier() -> None:
    assert frontier_probabilities([measured(1, 10, 1)]) == [Decimal("1.000")]


def test_without_a_number_of_tasks_nothing_is_known() -> None:
    unknown = Point(Decimal(99), (Decimal(1),))
    assert frontier_probabilities([unknown, measured(5, 10, 2)]) == [None, Decimal("0.000")]
    assert frontier_probabilities([measured(5, 10, 1)], draws=0) == [None]
    assert frontier_probabilities([]) == []


def test_the_cheapest_is_sure_of_its_place_and_its_equal_is_not() -> None:
    tasks, solved = 100, 50
    chances = [comb(tasks, count) * 0.5**tasks for count in range(tasks + 1)]
    above = (1 - sum(chance**2 for chance in chances)) / 2

    cheap, dear = frontier_probabilities([measured(solved, tasks, 1), measured(solved, tasks, 2)])

    assert cheap == 1
    # three standard errors of 2,000 draws
    assert dear is not None
    assert abs(float(dear) - above) < 3 * (above * (1 - above) / DRAWS) ** 0.5


def test_more_tasks_make_a_lead_surer() -> None:
    few, many = (frontier_probabilities([measured(6 * n, 10 * n, 2), measured(5 * n, 10 * n, 1)]) for n in (1, 100))
    assert few[0] is not None
    assert Decimal("0.4") < few[0] < Decimal("0.75")
    assert many[0] == 1


@pytest.mark.parametrize(("solved", "chance"), [(10, "1.000"), (0, "0.000")])
def test_what_was_always_or_never_solved_is_drawn_so(solved: int, chance: str) -> None:
    dear, _ = frontier_probabilities([measured(solved, 10, 2), measured(5, 1_000, 1)])
    assert dear == Decimal(chance)


def test_the_same_points_have_the_same_chances_every_time() -> None:
    points = [measured(30 + index, 100, 9 - index) for index in range(6)]
    assert frontier_probabilities(points) == frontier_probabilities(points)


def test_chances_are_counted_in_the_given_number_of_draws() -> None:
    points = [measured(50, 100, 1), measured(50, 100, 2)]
    found = frontier_probabilities(points, draws=8)[1]
    assert found is not None
    assert found * 8 == int(found * 8)


# ------------------------------------------------------------------ the file


def test_the_shipped_file_compares_by_one_benchmark_and_states_its_scale() -> None:
    found = load_comparison()
    assert found.usage_mix == {
        "input": Decimal("0.05"),
        "cache_write": Decimal("0.05"),
        "cache_read": Decimal("0.88"),
        "output": Decimal("0.02"),
    }
    assert found.weights == {
        "cost+quality": {"quality": Decimal("0.6"), "cost": Decimal("0.4")},
        "cost+quality+latency": {"quality": Decimal("0.5"), "cost": Decimal("0.3"), "latency": Decimal("0.2")},
    }
    assert found.bounds["quality"] == PERCENT
    assert found.bounds["usd_per_mtok"] == PRICE
    assert found.minimum_requests == found.prior_requests == 30
    assert found.quality == Figure("SWE-Bench Pro", "Public set, Scale leaderboard")


def test_the_committed_sets_and_the_live_ones_differ_in_cost_and_latency_of_three_objectives_alone() -> None:
    found = load_comparison()
    assert found.objective_sets[0] == found.live_objective_sets[0]
    committed, live = found.objective_sets[1], found.live_objective_sets[1]
    assert (committed.cost.basis, live.cost.basis) == ("usd_per_task", "usd_per_mtok")
    assert committed.latency is not None
    assert live.latency is not None
    assert (committed.latency.basis, live.latency.basis) == ("s_per_task", "ms_per_request")


def test_every_basis_has_bounds_and_every_weighting_and_mix_sums_to_one() -> None:
    found = load_comparison()
    sets = (*found.objective_sets, *found.live_objective_sets)
    bases = {one.cost.basis for one in sets} | {one.latency.basis for one in sets if one.latency is not None}
    assert {"quality", *bases} <= found.bounds.keys()
    assert [sum(found.weights[name].values()) for name in OBJECTIVES] == [1, 1]
    assert sum(found.usage_mix[name] for name in MIX) == 1


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("usage_mix.input", "0.06", "usage_mix: needs shares"),
        ("usage_mix.reasoning", "0", "usage_mix: needs shares"),
        ("usage_mix.input", "NaN", "usage_mix: needs shares"),
        ("weights.cost+quality.cost", "0.5", "weights.cost+quality: needs weights"),
        ("weights.cost+quality.latency", "0", "weights.cost+quality: needs weights"),
        ("weights.cost+quality", {"quality": "1.4", "cost": "-0.4"}, "weights.cost+quality: needs weights"),
        ("bounds.usd_per_mtok.best", "0", "bounds.usd_per_mtok: needs two different bounds"),
        ("bounds.quality.worst", "100", "bounds.quality: needs two different bounds"),
        ("objective_sets", [], "objective_sets: needs cost+quality and cost+quality+latency"),
        ("minimum_requests", "many", "minimum_requests"),
        ("colour", "blue", "colour"),
        ("objective_sets", "x", "objective_sets"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, place: str, value: object, problem: str) -> None:
    document = yaml.safe_load(comparison.PATH.read_text("utf-8"))
    *folders, name = place.split(".")
    inner = document
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    path = tmp_path / "pareto.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    with pytest.raises(ComparisonError) as caught:
        load_comparison(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert problem in told
    assert told.endswith("; mend the file")


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"- a\n", b"usage_mix: {}\n"])
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pareto.yaml"
    path.write_bytes(content)
    with pytest.raises(ComparisonError, match=r"pareto\.yaml: .*; mend the file$"):
        load_comparison(path)
    with pytest.raises(ComparisonError, match=r"absent\.yaml: No such file or directory; install TokenLedger again"):
        load_comparison(tmp_path / "absent.yaml")
