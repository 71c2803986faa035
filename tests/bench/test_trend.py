"""The trend of runs written by hand: windows, percentiles, the latest run, files that hold no run, the chart."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from tests.bench.recorded import APPLE, EPYC, run, scenario, spent, step, usual_run, workload
from tokenledger_dagster.bench.policy import TrendPolicy
from tokenledger_dagster.bench.results import Recorded, keep, recorded
from tokenledger_dagster.bench.trend import trend
from tokenledger_dagster.bench.trend_chart import trend_svg
from tokenledger_dagster.contracts.bench import BenchResult, ProfileResult
from tokenledger_dagster.contracts.perf import TrendRow
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home, ensure_home

SVG = "{http://www.w3.org/2000/svg}"
POLICY = TrendPolicy(window=20, least_runs=3, threshold=0.15)


def cold(ratio: float, day: int, machine_class: str = EPYC) -> BenchResult:
    return usual_run({"cold-backfill": ratio}, machine_class=machine_class, at=f"2026-02-{day:02}T09:00:00Z")


def row(runs: list[BenchResult], policy: TrendPolicy = POLICY) -> TrendRow:
    (found,) = trend(Recorded(runs, {}), policy).rows
    return found


# ------------------------------------------------------------------ windows


def test_percentiles_are_over_all_rounds_and_throughput_is_the_median_of_runs() -> None:
    def read(*seconds: float, day: int) -> BenchResult:
        rounds = [spent(one, new_bytes=100_000_000, new_events=10_000) for one in seconds]
        found = step("cold", rounds, [spent(1.0)] * len(rounds))
        return run([scenario("cold-backfill", found)], at=f"2026-02-{day:02}T09:00:00Z")

    found = row([read(1.0, 2.0, day=1), read(4.0, 5.0, day=2), read(10.0, 10.0, day=3)])

    assert (found.runs, found.wall_p50_s, found.wall_p95_s) == (3, 4.5, 10.0)
    assert found.mb_per_s == pytest.approx(22.5)  # of 75, 22.5 and 10
    assert found.events_per_s == pytest.approx(2_250)
    assert (found.ratio, found.latest_ratio) == (4.5, 10.0)
    assert [point.ratio for point in found.points] == [1.5, 4.5, 10.0]


@pytest.mark.parametrize(
    ("latest", "change", "verdict"),
    [(11.5, 0.15, "ok"), (11.51, 0.151, "slower"), (5.0, -0.5, "ok")],
)
def test_latest_run_is_held_against_the_median_of_those_before(latest: float, change: float, verdict: str) -> None:
    runs = [cold(9.0, 1), cold(10.0, 2), cold(30.0, 3), cold(latest, 4)]
    found = trend(Recorded(runs, {}), POLICY)

    assert (found.rows[0].change, found.rows[0].verdict) == (change, verdict)
    assert found.passed == (verdict == "ok")


def test_few_runs_are_shown_and_not_judged() -> None:
    found = row([cold(1.0, 1), cold(99.0, 2)])

    assert (found.runs, found.change, found.verdict) == (2, 98.0, "too_few")
    assert (row([cold(1.0, 1)]).change, row([cold(1.0, 1)]).verdict) == (None, "too_few")


def test_window_holds_the_latest_runs() -> None:
    runs = [cold(99.0, 1), *(cold(10.0, day) for day in range(2, 6))]
    found = trend(Recorded(runs, {}), msgspec.structs.replace(POLICY, window=4))

    assert (found.rows[0].runs, found.rows[0].change, found.other_runs) == (4, 0.0, 1)


def test_only_runs_like_the_latest_count() -> None:
    larger = run(
        [scenario("cold-backfill", step("cold", [spent(50.0)], [spent(1.0)]), workload("cold-backfill", 400))],
        at="2026-02-02T09:00:00Z",
    )
    runs = [cold(10.0, 1), larger, cold(20.0, 3, APPLE), cold(10.0, 4)]
    found = trend(Recorded(runs, {}), POLICY)

    assert (found.rows[0].runs, found.rows[0].machine_class, found.other_runs) == (2, EPYC, 2)


def test_fast_wrong_answer_is_no_measurement() -> None:
    wrong = run(
        [scenario("cold-backfill", step("cold", [spent(0.1)], [spent(1.0)], wrong=1))], at="2026-02-09T09:00:00Z"
    )

    assert row([cold(10.0, 1), wrong]).latest_ratio == 10.0


def test_scenarios_are_told_apart_and_can_be_chosen() -> None:
    both = usual_run({"burst": 2.0, "cold-backfill": 10.0})

    rows = trend(Recorded([both], {}), POLICY).rows
    assert [(one.scenario, one.step) for one in rows] == [("cold-backfill", "cold"), ("burst", "poll")]
    assert [one.scenario for one in trend(Recorded([both], {}), POLICY, ["burst"]).rows] == ["burst"]


def test_nothing_recorded_is_nothing_to_report() -> None:
    with pytest.raises(NothingToReport, match=r"no recorded runs of day to compare \(skipped: 2 malformed\)"):
        trend(Recorded([cold(1.0, 1)], {"malformed": 2}), POLICY, ["day"])


# ------------------------------------------------------------------ files


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "bench")


def test_only_runs_are_read_and_the_rest_is_counted_by_reason(home: Home) -> None:
    keep(home, cold(10.0, 1))
    document = json.loads(msgspec.json.encode(cold(11.0, 2)))
    before = {
        **document,
        "machine": {name: value for name, value in document["machine"].items() if name != "class_key"},
    }
    before["scenarios"] = [
        {key: one[key] for key in ("name", "corpus", "steps", "lake")} for one in before["scenarios"]
    ]
    for name, content in {
        "older": before,
        "newer": {**document, "schema_version": 2},
        "profile": {"schema_version": 1, "generated_at": "", "kind": "profile"},
        "clients": {"schema_version": 1, "clients": []},
        "damaged": {**document, "scenarios": "none"},
        "list": [],
    }.items():
        write_json_atomic(home.bench / f"{name}.json", content)
    write_json_atomic(home.gate_summary_path, {"kind": "gate"})
    for name, raw in {"empty": b"", "nul": b"\x00" * 64, "cut": msgspec.json.encode(document)[:100]}.items():
        (home.bench / f"{name}.json").write_bytes(raw)
    (home.bench / "deep.json").write_bytes(b'{"schema_version": 1, "kind": ' + b"[" * 100_000)
    (home.bench / "folder.json").mkdir()
    (home.bench / "gone.json").symlink_to(home.bench / "nowhere")
    (home.bench / "notes.txt").write_text("mine")

    found = recorded(home)

    assert [one.generated_at for one in found.runs] == ["2026-02-01T09:00:00Z"]
    assert found.skipped == {
        "malformed": 6,
        "no file": 2,
        "older version": 1,
        "other kind": 2,
        "other version": 1,
    }


def test_runs_are_in_the_order_in_which_they_were_made(home: Home) -> None:
    for day in (3, 1, 2):
        keep(home, cold(10.0, day))

    assert [one.generated_at[8:10] for one in recorded(home).runs] == ["01", "02", "03"]


def test_home_without_benches_has_none(home: Home) -> None:
    assert recorded(home) == Recorded([], {})


def test_profile_is_no_run(home: Home) -> None:
    facts = cold(1.0, 1)
    profile = ProfileResult(
        generated_at="2026-02-01T09:00:00Z",
        machine=facts.machine,
        versions=facts.versions,
        corpus=facts.scenarios[0].corpus,
        total_wall_s=1.0,
        total_cpu_s=1.0,
        limit_cpu_s=0.1,
        stages=[],
    )
    keep(home, profile)

    assert recorded(home).skipped == {"other kind": 1}


# ------------------------------------------------------------------ chart


@pytest.mark.parametrize("count", [1, 2, 30])
def test_chart_has_a_panel_for_each_step_and_a_point_for_each_run(count: int) -> None:
    runs = [
        usual_run({"cold-backfill": 10.0 + day % 3, "warm-tail": 3.0, "burst": 2.0}, at=f"2026-02-{day % 28 + 1:02}")
        for day in range(count)
    ]
    found = trend(Recorded(runs, {}), msgspec.structs.replace(POLICY, window=25))
    drawn = ElementTree.fromstring(trend_svg(found))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])

    assert len(drawn.findall(f"{SVG}circle")) == 3 * min(count, 25)
    for circle in drawn.findall(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height
    texts = {one.text for one in drawn.findall(f"{SVG}text")}
    assert {"cold-backfill, cold", "warm-tail, tail", "burst, poll"} <= texts
    assert trend_svg(found) == trend_svg(found)


def test_chart_of_a_slower_run_marks_it() -> None:
    runs = [*(cold(10.0, day) for day in range(1, 4)), cold(20.0, 4)]

    assert 'r="4.5" fill="#c84646"' in trend_svg(trend(Recorded(runs, {}), POLICY))
