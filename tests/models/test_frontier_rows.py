"""What each ledger row offers in each objective set, worked out by hand, and who stands where."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.models.small_ledger import RATES, comparison, entries, rate
from tokenledger_dagster.contracts.ledger import OBJECTIVES, ParetoRow, RuntimeMetric
from tokenledger_dagster.models.comparison import ObjectiveSet
from tokenledger_dagster.models.frontier import blended, eligible_count, pareto_rows
from tokenledger_dagster.models.list_price import ListPrice
from tokenledger_dagster.models.pareto import Point, standings
from tokenledger_dagster.models.unified import Entry

ROOT = Path(__file__).parents[2]
TWO, THREE = OBJECTIVES
COMMITTED, LIVE = comparison().objective_sets, comparison().live_objective_sets
TASKS = {
    "SWE-Bench Pro | Public set, Scale leaderboard": 731,
    "Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting": 225,
}
MIX = comparison().usage_mix


def placed(
    sets: tuple[ObjectiveSet, ...] = COMMITTED,
    *,
    found: list[Entry] | None = None,
    mix: dict[str, Decimal] | None = None,
    tasks: dict[str, int] | None = None,
    runtime: tuple[RuntimeMetric, ...] = (),
) -> list[ParetoRow]:
    return pareto_rows(
        entries() if found is None else found,
        comparison(),
        sets=sets,
        mix=MIX if mix is None else mix,
        tasks=tasks or {},
        runtime=runtime,
    )


def of(rows: list[ParetoRow], objectives: str) -> dict[str, ParetoRow]:
    return {row.source_model: row for row in rows if row.objectives == objectives}


def measured(
    model: str, latency: int | None, *, samples: int = 30, provider: str = "codex", **more: object
) -> RuntimeMetric:
    named = {"requests": samples, "failures": 0, "latency_p95_ms": None, "ttft_p50_ms": None, "quality_score": None}
    return RuntimeMetric(
        provider=provider,
        model=model,
        latency_p50_ms=latency,
        source_path="/var/log/proxy",
        latency_samples=samples,
        **{**named, **more},  # type: ignore[arg-type]
    )


def whole(price: str) -> ListPrice:
    """One price for everything."""
    usd = Decimal(price)
    return ListPrice(input=usd, output=usd, cache_write=usd, cache_read=usd)


# ------------------------------------------------------------------ blended costs


def test_a_blended_cost_is_the_mix_of_the_rates() -> None:
    price = ListPrice(input=Decimal(5), output=Decimal(25), cache_write=Decimal("6.25"), cache_read=Decimal("0.5"))
    # 0.25 + 0.3125 + 0.44 + 0.50
    assert blended(price, MIX) == Decimal("1.502500000")
    # (0.25 + 0.3125 + 0.50) / 0.12
    assert blended(price, MIX, ("cache_read",)) == Decimal("8.854166667")


def test_a_rate_that_is_missing_leaves_no_cost_unless_nobody_asks_for_it() -> None:
    price = ListPrice(input=Decimal(5), output=Decimal(25), cache_write=None, cache_read=Decimal(1))
    assert blended(price, MIX) is None
    assert blended(price, {"input": Decimal("0.5"), "output": Decimal("0.5"), "cache_write": Decimal(0)}) == 15
    assert blended(ListPrice(), MIX) is None
    assert blended(price, {}) is None


def test_one_price_for_everything_is_the_cost_of_every_mix() -> None:
    assert blended(whole("3.3"), MIX) == blended(whole("3.3"), MIX, ("input",)) == Decimal("3.3")


# ------------------------------------------------------------------ two objectives


def test_every_row_stands_in_both_sets_in_the_ledgers_order() -> None:
    assert [(row.objectives, row.ledger_row_id) for row in placed()] == [
        (name, number) for name in OBJECTIVES for number in range(1, 9)
    ]


def test_cost_and_quality_by_hand() -> None:
    found = of(placed(), TWO)
    figures = {name: (row.quality, row.cost_usd) for name, row in found.items() if row.eligibility == "eligible"}
    assert figures == {
        "Claude Opus 4.5": (Decimal(50), Decimal("1.5025")),
        # 0.05 + 0.05 + 0.176 + 0.064
        "GLM-5": (Decimal(40), Decimal("0.34")),
        # 0.125 + 0.125 + 0.22 + 0.30
        "GPT-5.4": (Decimal(60), Decimal("0.77")),
    }
    assert {
        name: (row.is_frontier, row.front_rank, row.n_dominated_by, row.dominated_by_example)
        for name, row in found.items()
        if name in figures
    } == {
        "Claude Opus 4.5": (False, 2, 1, "GPT-5.4"),
        "GLM-5": (True, 1, 0, None),
        "GPT-5.4": (True, 1, 0, None),
    }
    assert eligible_count(list(found.values()), TWO) == (3, 2)


def test_the_score_is_made_of_components_on_the_stated_scale() -> None:
    row = of(placed(), TWO)["Claude Opus 4.5"]
    # ln(1.5025 / 100) / ln(0.01 / 100)
    assert (row.quality_component, row.cost_component, row.latency_component) == (
        Decimal("0.5"),
        Decimal("0.455796"),
        None,
    )
    # 0.6 * 50 + 0.4 * 45.5796
    assert row.pareto_score == Decimal("48.2318")


def test_who_lacks_a_figure_is_neither_free_nor_worst_but_not_ranked() -> None:
    found = of(placed(), TWO)
    assert {name: row.eligibility for name, row in found.items() if row.eligibility != "eligible"} == {
        "Acme Coder 9": "missing: cost",
        "codex/gpt-5": "missing: quality",
        "GPT-5 (high)": "missing: quality",
        "GPT-5 (low)": "missing: quality",
        "Kimi K2": "missing: cost",
    }
    for row in found.values():
        if row.eligibility != "eligible":
            assert (row.is_frontier, row.front_rank, row.n_dominated_by, row.dominated_by_example) == (
                False,
                None,
                None,
                None,
            )
            assert (row.pareto_score, row.quality_component, row.cost_component) == (None, None, None)
            assert (row.frontier_probability, row.weight_win_share) == (None, None)
    # what is known of it is shown all the same
    assert (found["Acme Coder 9"].quality, found["GPT-5 (low)"].cost_usd) == (Decimal(70), Decimal("0.435"))


def test_a_model_that_costs_nothing_is_not_the_cheapest() -> None:
    rates = [*(row for row in RATES if "zai" not in row), rate("zai", "glm-5", "0", "0", "0", "0")]
    row = of(placed(found=entries(rates=rates)), TWO)["GLM-5"]
    assert (row.cost_usd, row.eligibility, row.is_frontier) == (Decimal(0), "missing: cost (0 is no measure)", False)


def test_who_is_left_out_changes_nothing_for_the_others() -> None:
    able = [row for row in placed() if row.eligibility == "eligible"]
    names = {TWO: {"Claude Opus 4.5", "GLM-5", "GPT-5.4"}, THREE: {"Claude Opus 4.5", "GPT-5 (high)", "GPT-5 (low)"}}
    for name in OBJECTIVES:
        few = [one for one in entries() if one.row.source_model in names[name]]
        assert [row for row in placed(found=few) if row.objectives == name] == [
            row for row in able if row.objectives == name
        ]


def test_no_score_moves_because_a_model_is_added() -> None:
    fewer = [one for one in entries() if one.row.source_model != "GPT-5.4"]
    before, after = of(placed(found=fewer), TWO), of(placed(), TWO)
    scores = {name: row.pareto_score for name, row in before.items()}
    assert scores == {name: row.pareto_score for name, row in after.items() if name != "GPT-5.4"}
    # the frontier does
    assert before["Claude Opus 4.5"].is_frontier
    assert not after["Claude Opus 4.5"].is_frontier


def test_equal_rows_stand_alike() -> None:
    table = (
        "| Benchmark | Notes | GPT-5 | GPT-5 (high) | GPT-5 (low) | GLM-5 |\n"
        "| SWE-Bench Pro | Public set, Scale leaderboard | 30% | 40% | 40% | 30% |\n"
    )
    found = of(placed(found=entries(table)), TWO)
    assert {name: (row.is_frontier, row.n_dominated_by) for name, row in found.items()} == {
        "GLM-5": (True, 0),
        # beaten by both of its efforts at one price, and by GLM-5 at one quality
        "GPT-5": (False, 3),
        "GPT-5 (high)": (True, 0),
        "GPT-5 (low)": (True, 0),
    }
    assert found["GPT-5"].dominated_by_example == "GPT-5 (high)"
    assert found["GPT-5 (high)"].pareto_score == found["GPT-5 (low)"].pareto_score


def test_the_own_usage_mix_decides_what_is_cheap() -> None:
    output_alone = {**dict.fromkeys(MIX, Decimal(0)), "output": Decimal(1)}
    row = of(placed(mix=output_alone), TWO)["GPT-5.4"]
    assert row.cost_usd == row.blended_cost_usd_per_mtok == row.blended_cost_without_cache_reads_usd_per_mtok == 15
    reads_alone = {**dict.fromkeys(MIX, Decimal(0)), "cache_read": Decimal(1)}
    row = of(placed(mix=reads_alone), TWO)["GPT-5.4"]
    assert (row.cost_usd, row.blended_cost_without_cache_reads_usd_per_mtok) == (Decimal("0.25"), None)


def test_chances_are_told_where_the_size_of_the_benchmark_is_known() -> None:
    told = of(placed(tasks=TASKS), TWO)
    assert {name: row.frontier_probability for name, row in told.items() if row.front_rank} == {
        # 10 points of 731 tasks are four standard errors
        "Claude Opus 4.5": Decimal(0),
        "GLM-5": 1,
        "GPT-5.4": 1,
    }
    untold = of(placed(), TWO)
    assert {row.frontier_probability for row in untold.values()} == {None}
    assert [row.is_frontier for row in untold.values()] == [row.is_frontier for row in told.values()]


def test_what_other_weights_would_choose_is_told() -> None:
    found = of(placed(), TWO)
    wins = {name: row.weight_win_share for name, row in found.items() if row.front_rank}
    # GLM-5 wins in the seven of 21 weightings where cost weighs 0.7 or more
    assert wins == {"Claude Opus 4.5": 0, "GLM-5": Decimal("0.333"), "GPT-5.4": Decimal("0.667")}


# ------------------------------------------------------------------ three objectives, committed


def test_cost_quality_and_latency_are_those_of_one_benchmark() -> None:
    found = of(placed(), THREE)
    figures = {
        name: (row.quality, row.cost_usd, row.latency, row.cost_basis, row.latency_basis)
        for name, row in found.items()
        if row.eligibility == "eligible"
    }
    assert figures == {
        "Claude Opus 4.5": (Decimal(72), Decimal("0.30"), Decimal(44), "usd_per_task", "s_per_task"),
        "GPT-5 (high)": (Decimal(88), Decimal("0.13"), Decimal(194), "usd_per_task", "s_per_task"),
        "GPT-5 (low)": (Decimal(80), Decimal("0.05"), Decimal(62), "usd_per_task", "s_per_task"),
    }
    # the dearest of all stays: nobody is faster
    assert [name for name, row in found.items() if row.is_frontier] == list(figures)


def test_each_objective_that_was_not_measured_is_named() -> None:
    found = of(placed(), THREE)
    assert {name: row.eligibility for name, row in found.items() if row.eligibility != "eligible"} == {
        "Acme Coder 9": "missing: quality, cost, latency",
        "codex/gpt-5": "missing: quality, cost, latency",
        "GLM-5": "missing: latency",
        "GPT-5.4": "missing: quality, cost, latency",
        "Kimi K2": "missing: cost (0 is no measure)",
    }


def test_three_components_make_the_score() -> None:
    row = of(placed(), THREE)["GPT-5 (low)"]
    # ln(0.05 / 10) / ln(0.001 / 10) and ln(62 / 1000) / ln(1 / 1000)
    assert (row.quality_component, row.cost_component, row.latency_component) == (
        Decimal("0.8"),
        Decimal("0.575257"),
        Decimal("0.402536"),
    )
    # 0.5 * 80 + 0.3 * 57.5257 + 0.2 * 40.2536
    assert row.pareto_score == Decimal("65.3084")


def test_committed_figures_know_nothing_of_own_requests() -> None:
    rows = placed(runtime=(measured("gpt-5", 900),))
    assert of(rows, THREE)["GPT-5 (low)"].latency == 62
    assert [row for row in placed() if row.runtime_requests is not None] == []


# ------------------------------------------------------------------ three objectives, live


def test_a_live_latency_is_that_of_own_requests() -> None:
    found = of(placed(LIVE, runtime=(measured("gpt-5.4", 8_000), measured("glm-5", 4_000, provider="zai"))), THREE)
    row = found["GPT-5.4"]
    assert (row.quality, row.cost_usd, row.latency) == (Decimal(60), Decimal("0.77"), Decimal(8_000))
    assert (row.cost_basis, row.latency_basis, row.eligibility) == ("usd_per_mtok", "ms_per_request", "eligible")
    assert (row.runtime_latency_ms, row.runtime_requests, row.runtime_source_path) == (8_000, 30, "/var/log/proxy")
    # ln(8000 / 600000) / ln(100 / 600000)
    assert row.latency_component == Decimal("0.496291")
    assert eligible_count(list(found.values()), THREE) == (2, 2)


@pytest.mark.parametrize(("samples", "eligible"), [(29, False), (30, True), (31, True)])
def test_a_latency_of_few_requests_is_none(samples: int, eligible: bool) -> None:
    row = of(placed(LIVE, runtime=(measured("gpt-5.4", 8_000, samples=samples),)), THREE)["GPT-5.4"]
    assert row.eligibility == ("eligible" if eligible else f"missing: latency ({samples} of 30 requests)")
    assert row.latency == row.runtime_latency_ms == (8_000 if eligible else None)
    assert row.runtime_requests == samples


def test_without_own_requests_nobody_has_a_latency() -> None:
    rows = placed(LIVE)
    assert eligible_count(rows, THREE) == (0, 0)
    assert of(rows, THREE)["GPT-5.4"].eligibility == "missing: latency"
    assert eligible_count(rows, TWO) == (3, 2)


def test_requests_of_another_provider_are_another_models() -> None:
    found = of(placed(LIVE, runtime=(measured("gpt-5.4", 8_000, provider="openrouter"),)), THREE)
    assert found["GPT-5.4"].eligibility == "missing: latency"


def test_own_requests_count_for_one_row_of_a_model() -> None:
    found = of(placed(LIVE, runtime=(measured("gpt-5", 8_000),)), THREE)
    # requests do not say with which effort they were made, so no effort's row may take them
    assert [name for name, row in found.items() if row.runtime_latency_ms is not None] == ["codex/gpt-5"]


@pytest.mark.parametrize(
    ("requests", "quality"),
    # 30 requests weigh as much as the benchmark: 60 and 80 meet at 70
    [(0, "60"), (30, "70"), (90, "75"), (2_970, "79.8")],
)
def test_a_judged_quality_moves_the_benchmarks_as_far_as_its_requests_weigh(requests: int, quality: str) -> None:
    own = measured("gpt-5.4", None, samples=0, requests=requests, quality_score=Decimal(80))
    row = of(placed(LIVE, runtime=(own,)), TWO)["GPT-5.4"]
    assert row.quality == Decimal(quality)
    # prior and own measure are told apart
    assert (row.benchmark_quality_score, row.runtime_quality_score) == (Decimal(60), Decimal(80))


def test_a_judged_quality_without_a_benchmark_is_compared_with_nobody() -> None:
    own = measured("gpt-5", None, samples=0, quality_score=Decimal(80))
    found = of(placed(LIVE, runtime=(own,)), TWO)
    assert {found[name].quality for name in ("codex/gpt-5", "GPT-5 (high)", "GPT-5 (low)")} == {None}
    assert found["codex/gpt-5"].runtime_quality_score == 80


# ------------------------------------------------------------------ the committed rows


def committed() -> list[dict[str, str]]:
    path = ROOT / "ledger" / "unified_model_provider_pareto.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize(("objectives", "eligible", "frontier"), [(TWO, 10, 5), (THREE, 15, 9)])
def test_the_committed_frontier_is_what_comparing_every_pair_gives(
    objectives: str, eligible: int, frontier: int
) -> None:
    able = [row for row in committed() if row["objectives"] == objectives and row["eligibility"] == "eligible"]
    points = [
        Point(Decimal(row["quality"]), tuple(Decimal(row[name]) for name in ("cost_usd", "latency") if row[name]))
        for row in able
    ]
    assert {len(one.costs) for one in points} == {objectives.count("+")}
    found = standings(points)
    assert (len(found), sum(one.is_frontier for one in found)) == (eligible, frontier)
    for row, one in zip(able, found, strict=True):
        example = "" if one.example is None else able[one.example]["source_model"]
        assert (row["is_frontier"], row["front_rank"], row["n_dominated_by"], row["dominated_by_example"]) == (
            *("true" if one.is_frontier else "false", str(one.front_rank)),
            *(str(one.dominators), example),
        )


def test_the_committed_cost_and_quality_frontier() -> None:
    front = {
        row["source_model"]: row for row in committed() if row["objectives"] == TWO and row["is_frontier"] == "true"
    }
    assert {name: (row["quality"], row["cost_usd"], row["frontier_probability"]) for name, row in front.items()} == {
        "Claude Haiku 4.5": ("39.45", "0.3005", "0.836"),
        "GPT-5.2 Codex": ("41.04", "0.609", "0.724"),
        "GPT-5.4": ("59.1", "0.77", "1"),
        "Gemini 3.1 Pro": ("46.1", "0.616", "0.974"),
        "MiniMax M2.1": ("36.81", "0.08415", "1"),
    }


def test_committed_rows_that_lack_a_figure_say_which_and_are_not_ranked() -> None:
    ranked = ("front_rank", "n_dominated_by", "dominated_by_example", "pareto_score", "frontier_probability")
    for row in committed():
        if row["eligibility"] == "eligible":
            assert row["quality"]
            assert Decimal(row["cost_usd"]) > 0
            assert bool(row["latency"]) is (row["objectives"] == THREE)
        else:
            assert row["eligibility"].startswith("missing: ")
            assert [row[name] for name in ranked] == [""] * 5
            assert row["is_frontier"] == "false"


def test_committed_rows_state_no_runtime() -> None:
    fields = [one.name for one in msgspec.structs.fields(ParetoRow) if one.name.startswith("runtime_")]
    assert {row[name] for row in committed() for name in fields} == {""}
