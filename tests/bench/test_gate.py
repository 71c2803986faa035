"""The gate's verdict on runs and baselines written by hand: limits, matches, strictness, exactness."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.recorded import APPLE, EPYC_64, STEP_OF, entry, run, scenario, spent, step, usual_run, workload
from tokenledger_dagster.bench import gate
from tokenledger_dagster.bench.baseline import record
from tokenledger_dagster.bench.gate import GateOptions, gate_options, judge, run_gate
from tokenledger_dagster.bench.policy import load_policy
from tokenledger_dagster.contracts.bench import BenchResult
from tokenledger_dagster.contracts.perf import GateResult, Tolerance
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home, ensure_home

USUAL = {"cold-backfill": 10.0, "warm-tail": 3.0, "burst": 2.0}
BASELINES = [entry("cold-backfill", 10.0, 10.0), entry("warm-tail", 3.0, 3.0), entry("burst", 2.0, 2.0)]
OPTIONS = GateOptions(
    size=100_000_000, rounds=1, tolerance=Tolerance(cpu=0.2, wall=0.5), nearest_factor=3.0, baseline=Path("none")
)
STRICT = msgspec.structs.replace(OPTIONS, strict=True)


def verdicts(result: BenchResult, options: GateOptions = OPTIONS) -> dict[tuple[str, str], str]:
    return {(row.scenario, row.figure): row.verdict for row in judge(result, BASELINES, options).rows}


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("cpu", "wall", "told"),
    [
        (10.0, 10.0, ("ok", "ok")),
        (12.0, 15.0, ("ok", "ok")),  # just the limit
        (12.0001, 15.0, ("regressed", "ok")),
        (12.0, 15.0001, ("ok", "regressed")),  # what only waits
        (2.0, 2.0, ("ok", "ok")),
    ],
)
def test_ratio_passes_up_to_and_including_its_limit(cpu: float, wall: float, told: tuple[str, str]) -> None:
    found = verdicts(usual_run({**USUAL, "cold-backfill": (cpu, wall)}))

    assert (found["cold-backfill", "cpu"], found["cold-backfill", "wall"]) == told
    assert {verdict for (name, _), verdict in found.items() if name != "cold-backfill"} == {"ok"}


def test_row_tells_ratio_baseline_and_limit() -> None:
    judged = judge(usual_run({**USUAL, "burst": 3.0}), BASELINES, OPTIONS)

    row = next(one for one in judged.rows if (one.scenario, one.figure) == ("burst", "cpu"))
    assert (row.ratio, row.baseline, row.limit, row.match, row.verdict) == (3.0, 2.0, 2.4, "exact", "regressed")
    assert judged.failures == ["burst, poll: processor time is 3.0 times the reference, above 2.4"]
    assert judged.regressed == ["burst"]


def test_ratio_is_the_median_of_rounds_each_to_the_reference_before_it() -> None:
    # the machine was three times slower in the second round, which its reference felt too
    rounds, reference = [spent(10.0), spent(33.0), spent(11.0)], [spent(1.0), spent(3.0), spent(1.0)]
    found = step("cold", rounds, reference)

    assert found.ratio is not None
    assert found.ratio.cpu == 11.0


# ------------------------------------------------------------------ matches


def test_other_machine_class_falls_back_to_wider_limits_and_says_so() -> None:
    judged = judge(usual_run({**USUAL, "cold-backfill": 16.0}, machine_class=EPYC_64), BASELINES, OPTIONS)

    row = judged.rows[0]
    assert (row.match, row.limit, row.verdict) == ("nearest", 16.0, "ok")
    assert judged.passed
    assert judged.notes == [
        "no baseline of this month and machine class; held against linux-x86_64-2x-amd-epyc/32gib/cpython-3.11, "
        "with wider limits"
    ]


def test_even_wider_limits_end_somewhere() -> None:
    judged = judge(usual_run({**USUAL, "cold-backfill": 16.1}, machine_class=APPLE), BASELINES, OPTIONS)

    assert not judged.passed


def test_other_month_of_logs_is_a_nearest_match() -> None:
    later = workload("burst", month="2026-01")
    result = run([scenario("burst", step("poll", [spent(2.0)], [spent(1.0)]), later)])

    assert judge(result, BASELINES, OPTIONS).rows[0].match == "nearest"


def test_unknown_workload_is_not_judged_but_for_its_figures() -> None:
    larger = workload("burst", megabytes=400)
    result = run([scenario("burst", step("poll", [spent(99.0)], [spent(1.0)]), larger)])
    judged = judge(result, BASELINES, OPTIONS)

    assert [row.verdict for row in judged.rows if row.scenario == "burst"] == ["no_baseline", "no_baseline"]
    assert judged.passed
    assert "burst, poll: no baseline of this workload, so nothing is judged but its figures" in judged.notes


def test_wrong_figure_fails_however_fast() -> None:
    wrong = run([scenario("burst", step("poll", [spent(0.1)], [spent(1.0)], wrong=1))])
    judged = judge(wrong, BASELINES, OPTIONS)

    assert judged.failures == ["burst, poll: a figure is not what the logs hold"]


# ------------------------------------------------------------------ strict


def test_strict_passes_where_everything_is_there_and_exact() -> None:
    assert judge(usual_run(USUAL), BASELINES, STRICT).passed


def test_strict_wants_every_scenario() -> None:
    without = usual_run({name: ratio for name, ratio in USUAL.items() if name != "burst"})

    assert judge(without, BASELINES, OPTIONS).passed
    assert judge(without, BASELINES, STRICT).failures == [
        "burst, poll: was not measured, and --strict wants every scenario"
    ]
    assert judge(without, [], OPTIONS).notes[-1] == "burst, -: was not measured"


def test_strict_wants_a_baseline_of_just_this_case() -> None:
    elsewhere = usual_run(USUAL, machine_class=APPLE)

    assert judge(elsewhere, BASELINES, OPTIONS).passed
    assert len(judge(elsewhere, BASELINES, STRICT).failures) == 3
    assert judge(usual_run(USUAL), [], OPTIONS).passed
    assert len(judge(usual_run(USUAL), [], STRICT).failures) == 3


# ------------------------------------------------------------------ only ratios count


TIMES = st.floats(min_value=0.01, max_value=10.0, allow_nan=False)
PAIRS = st.lists(st.tuples(TIMES, TIMES, TIMES, TIMES), min_size=1, max_size=5)


@given(found=st.fixed_dictionaries(dict.fromkeys(USUAL, PAIRS)), power=st.integers(-6, 6))
def test_verdict_is_the_same_on_a_machine_k_times_slower(
    found: dict[str, list[tuple[float, float, float, float]]], power: int
) -> None:
    def scaled(k: float) -> BenchResult:
        return run(
            [
                scenario(
                    name,
                    step(
                        STEP_OF[name],
                        [spent(cpu * k, wall * k) for cpu, wall, _, _ in pairs],
                        [spent(cpu * k, wall * k) for _, _, cpu, wall in pairs],
                    ),
                )
                for name, pairs in found.items()
            ]
        )

    # powers of two, which no rounding can blur at a limit
    assert judge(scaled(2.0**power), BASELINES, STRICT) == judge(scaled(1.0), BASELINES, STRICT)


@given(ratio=st.floats(min_value=0.01, max_value=100.0), tolerance=st.floats(min_value=0, max_value=5))
def test_wider_tolerance_never_fails_what_passed(ratio: float, tolerance: float) -> None:
    def passed(share: float) -> bool:
        options = msgspec.structs.replace(OPTIONS, tolerance=Tolerance(cpu=share, wall=share))
        return judge(usual_run({"cold-backfill": ratio}), BASELINES, options).passed

    assert passed(tolerance + 0.5) >= passed(tolerance)


# ------------------------------------------------------------------ whole gates


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "bench")


def measured(monkeypatch: pytest.MonkeyPatch, *runs: BenchResult) -> list[list[str] | None]:
    """Lets the gate find these runs one after the other; returns which scenarios it asked for."""
    asked: list[list[str] | None] = []
    left = list(runs)

    def measure(options: GateOptions, say: object, names: list[str] | None = None) -> BenchResult:
        asked.append(names)
        return left.pop(0)

    monkeypatch.setattr(gate, "measure", measure)
    return asked


def with_baselines(tmp_path: Path) -> GateOptions:
    path = tmp_path / "baseline.json"
    record(path, usual_run(USUAL))
    return msgspec.structs.replace(STRICT, baseline=path)


def test_verdict_is_kept_beside_the_run_it_judges(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, usual_run(USUAL))

    verdict, path = run_gate(home, with_baselines(tmp_path), print)

    assert verdict.passed
    assert path.read_bytes() == home.gate_summary_path.read_bytes()
    assert msgspec.json.decode(path.read_bytes(), type=GateResult) == verdict
    (kept,) = verdict.result_paths
    assert msgspec.json.decode(Path(kept).read_bytes(), type=BenchResult) == usual_run(USUAL)


def test_scenario_above_its_limit_is_measured_once_more(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, usual_run({**USUAL, "burst": 9.0}), usual_run({"burst": 2.1}))

    verdict, _ = run_gate(home, with_baselines(tmp_path), print)

    assert asked == [None, ["burst"]]
    assert (verdict.passed, verdict.measured_again) == (True, ["burst"])
    assert next(row.ratio for row in verdict.rows if row.scenario == "burst") == 2.1
    assert len(verdict.result_paths) == 2
    # the second run holds one scenario alone
    assert home.bench_summary_path.read_bytes() == Path(verdict.result_paths[0]).read_bytes()


def test_what_is_slow_both_times_fails(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, usual_run({**USUAL, "burst": 9.0}), usual_run({"burst": 2.6}))

    verdict, _ = run_gate(home, with_baselines(tmp_path), print)

    assert verdict.failures == [
        "burst, poll: processor time is 2.6 times the reference, above 2.4",
    ]


def test_wrong_figure_of_the_second_time_is_not_forgotten(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run([scenario("burst", step("poll", [spent(2.0)], [spent(1.0)], wrong=3))])
    measured(monkeypatch, usual_run({**USUAL, "burst": 9.0}), wrong)

    verdict, _ = run_gate(home, with_baselines(tmp_path), print)

    assert verdict.failures == ["burst, poll: a figure is not what the logs hold"]


def test_missing_baselines_are_told_before_anything_is_measured(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch)

    with pytest.raises(TokenLedgerError, match=r"bench gate --record"):
        run_gate(home, msgspec.structs.replace(OPTIONS, baseline=tmp_path / "none.json"), print)
    assert asked == []


# ------------------------------------------------------------------ policy


def test_committed_policy_is_what_a_gate_uses() -> None:
    policy = load_policy()
    options = gate_options(policy.gate)

    assert options.size == policy.gate.size_mb * 1_000_000
    assert options.tolerance.cpu < options.tolerance.wall
    assert policy.trend.least_runs <= policy.trend.window


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "Expected"), ("gate: [", "while parsing"), ("gate: {size_mb: much}\ntrend: {}", "Expected `float`")],
)
def test_policy_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "perf_gate.yaml"
    path.write_text(text)

    with pytest.raises(TokenLedgerError, match=told):
        load_policy(path)
