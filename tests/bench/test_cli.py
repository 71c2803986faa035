"""``tokenledger bench`` from end to end on tiny logs: documents, exit codes, refusals, the examples of its help."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench.recorded import usual_run
from tokenledger_dagster.bench import gate, runner
from tokenledger_dagster.bench.baseline import record
from tokenledger_dagster.bench.results import keep
from tokenledger_dagster.bench.truth import Cell, Truth
from tokenledger_dagster.cli.bench import ACTIONS, EXAMPLES
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.contracts.bench import BenchResult, ProfileResult
from tokenledger_dagster.contracts.perf import GateResult, TrendResult
from tokenledger_dagster.home import Home

Run = Callable[..., tuple[int, str, str]]
Usage = namedtuple("Usage", "total used free")
ELSEWHERE = ("cache", "golden")
"""Actions that measure no made-up logs; their examples are run with their own tests."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Where results are kept; logs are written below the test's folder too."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "ledger"))
    return Home(tmp_path / "ledger")


@pytest.fixture
def run(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        try:
            code = main(["bench", *arguments])
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        found = capfdbinary.readouterr()
        return code, found.out.decode(), found.err.decode()

    return command


def test_run_measures_every_scenario_exactly_and_keeps_the_document(run: Run, home: Home, tmp_path: Path) -> None:
    code, out, _ = run("run", "--size-mb", "1", "--rounds", "1", "--polls", "3", "--format", "json")

    result = msgspec.json.decode(out, type=BenchResult)
    steps = {step.name: step for scenario in result.scenarios for step in scenario.steps}
    assert (code, result.passed, result.kind) == (0, True, "run")
    assert [scenario.name for scenario in result.scenarios] == ["cold-backfill", "warm-tail", "burst"]
    assert {name: len(step.rounds) for name, step in steps.items()} == {"cold": 1, "warm": 1, "tail": 1, "poll": 3}
    assert steps["cold"].rounds[0].new_bytes == result.scenarios[0].corpus.bytes >= 1_000_000
    assert (steps["warm"].rounds[0].new_bytes, steps["warm"].median.mb_per_s) == (0, None)
    assert all(one.new_events >= 1 for one in steps["poll"].rounds)
    assert all(step.correctness.compared > 0 for step in steps.values())
    assert steps["cold"].memory is not None
    assert result.scenarios[2].lake.files > 1
    (kept,) = home.bench.iterdir()
    assert kept.read_bytes() == home.bench_summary_path.read_bytes()
    assert json.loads(kept.read_bytes()) == json.loads(out)
    assert list((tmp_path / "work").iterdir()) == []


def test_table_tells_the_same_for_people(run: Run) -> None:
    arguments = ("--size-mb", "0.2", "--rounds", "1", "--scenario", "warm-tail", "--no-memory")
    code, out, err = run("run", *arguments)

    assert code == 0
    assert re.search(r"^warm-tail +tail +0\.2 .* exact$", out, flags=re.MULTILINE)
    assert "cold-backfill" not in out
    assert "writing 0.2 MB of logs, shape default, seed 1" in err


def test_wrong_figure_ends_with_1_and_is_named(run: Run, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Truth.add

    def tampered(self: Truth, day: str, model: str, request: Cell) -> None:
        first = not self.cells
        honest(self, day, model, request)
        if first:
            self.cells[day, model].output_tokens += 1

    monkeypatch.setattr(Truth, "add", tampered)
    code, out, err = run("run", "--size-mb", "0.1", "--rounds", "1", "--scenario", "cold-backfill", "--no-memory")

    assert code == 1
    assert "WRONG" in out
    assert re.search(r"^WRONG: cold-backfill, cold, 20\d\d-\d\d-\d\d, .*: output_tokens is ", err, flags=re.MULTILINE)
    assert json.loads(home.bench_summary_path.read_bytes())["passed"] is False


def test_growth_is_kept_and_drawn_from_what_was_kept(run: Run, tmp_path: Path) -> None:
    kept, drawn, again = (tmp_path / name for name in ("growth.json", "growth.svg", "again.svg"))

    code, _, _ = run("growth", "--sizes", "0.1, 0.3", "--rounds", "1", "--no-memory", "--out", str(kept))
    assert code == 0
    result = msgspec.json.decode(kept.read_bytes(), type=BenchResult)
    assert [(one.name, one.corpus.bytes > 290_000) for one in result.scenarios] == [
        ("cold-backfill", False), ("warm-tail", False), ("cold-backfill", True), ("warm-tail", True),
    ]  # fmt: skip
    assert run("chart", "--from", str(kept), "--out", str(drawn))[0] == 0
    assert run("chart", "--out", str(again))[0] == 0  # the home's last growth run
    assert drawn.read_text().startswith("<svg ")
    assert drawn.read_bytes() == again.read_bytes()


def test_profile_is_a_document_and_a_table(run: Run, home: Home) -> None:
    code, out, _ = run("profile", "--size-mb", "0.2", "--rounds", "1")

    assert code == 0
    assert re.search(r"^newline walk ", out, flags=re.MULTILINE)
    assert "the limit (read and walk) is" in out
    (kept,) = home.bench.iterdir()
    assert msgspec.json.decode(kept.read_bytes(), type=ProfileResult).kind == "profile"


def test_kept_logs_stand_beside_their_truth(run: Run, tmp_path: Path) -> None:
    arguments = ("--size-mb", "0.1", "--rounds", "1", "--scenario", "cold-backfill", "--no-memory", "--keep")
    _, _, err = run("run", *arguments)

    (kept,) = (tmp_path / "work").iterdir()
    truth: dict[str, Any] = json.loads((kept / "truth.json").read_bytes())
    assert f"kept: {kept}" in err
    assert truth["bytes"] == sum(path.stat().st_size for path in (kept / "logs").rglob("*.jsonl"))
    assert sorted(path.name for path in kept.iterdir()) == ["logs", "truth.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("run", "--size-mb", "much"), 2, "--size-mb much: write a number of megabytes"),
        (("run", "--size-mb", "-3"), 2, "--size-mb -3: write a number"),
        (("run", "--size-mb", "nan"), 2, "--size-mb nan: write a number"),
        (("run", "--rounds", "0"), 2, "--rounds 0: write a number above 0"),
        (("run", "--out", "/dev/null/bench.json"), 4, "cannot be written in /dev/null"),
        (("run", "--out", "/"), 2, "--out /: is a folder"),
        (("growth", "--sizes", "1,,2"), 2, "--sizes : write a number"),
        (("chart", "--from", "/nowhere.json", "--out", "x.svg"), 4, "/nowhere.json: is not there"),
        (("chart", "--out", "x.svg"), 4, "holds no growth run"),
        (("run", "--scenario", "holiday"), 2, "invalid choice"),
        (("gate", "--tolerance", "lots"), 2, "--tolerance lots: write shares such as 0.2"),
        (("gate", "--tolerance", "0.2,nan"), 2, "--tolerance 0.2,nan: write shares"),
        (("gate", "--tolerance", "-1"), 2, "--tolerance -1: write shares"),
        (("gate", "--rounds", "0"), 2, "--rounds 0: write a number above 0"),
        (("gate", "--size-mb", "0"), 2, "--size-mb 0: write a number of megabytes"),
        (("gate", "--scenario", "day"), 2, "invalid choice"),
        (("gate", "--baseline", "/nowhere.json"), 4, "/nowhere.json: No such file or directory; `tokenledger bench"),
        (("gate", "--from", "/nowhere.json"), 4, "/nowhere.json: No such file or directory; make one with"),
        (("gate", "--record", "--strict"), 2, "--record measures and judges nothing"),
        (("gate", "--record", "--baseline", "/"), 2, "--baseline /: is a folder"),
        (("gate", "--record", "--baseline", "/dev/null/b.json"), 4, "cannot be written in /dev/null"),
        (("trend", "--window", "1"), 2, "--window 1: write a number from 2"),
        (("trend",), 3, "no recorded runs to compare; `tokenledger bench run` records one"),
        ((), 2, "required: ACTION"),
    ],
)
def test_refusals_are_one_line_with_a_remedy(run: Run, arguments: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = run(*arguments)

    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_disk_without_room_is_told_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner.shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 25_000_000))

    code, _, err = run("run", "--size-mb", "50")

    assert code == 4
    assert "has 25 MB free and this bench needs 85 MB" in err
    assert list((tmp_path / "work").iterdir()) == []


def test_result_of_something_else_is_refused(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"schema_version": 1}')

    code, _, err = run("chart", "--from", str(other), "--out", str(tmp_path / "x.svg"))

    assert code == 4
    assert f"{other}: is no bench result" in err


@pytest.mark.slow
def test_gate_passes_what_it_recorded_itself_and_keeps_the_verdict(run: Run, home: Home, tmp_path: Path) -> None:
    baselines = str(tmp_path / "baseline.json")
    small = ("--baseline", baselines, "--size-mb", "0.1", "--rounds", "1")
    assert run("gate", "--record", *small)[0] == 0

    code, out, err = run("gate", "--strict", "--tolerance", "20,20", *small)

    assert code == 0
    assert re.search(r"^cold-backfill +cold +cpu +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d +exact +ok$", out, flags=re.MULTILINE)
    assert "passed; ratios are to reading the same bytes" in out
    assert "FAILED" not in err
    kept = msgspec.json.decode(home.gate_summary_path.read_bytes(), type=GateResult)
    assert [(row.scenario, row.step) for row in kept.rows[::2]] == [
        ("cold-backfill", "cold"), ("warm-tail", "warm"), ("warm-tail", "tail"), ("burst", "poll"),
    ]  # fmt: skip
    assert [Path(path).parent for path in kept.result_paths] == [home.bench]


def test_gate_fails_with_a_table_what_a_baseline_of_faster_times_forbids(run: Run, tmp_path: Path) -> None:
    baselines, kept = tmp_path / "baseline.json", tmp_path / "run.json"
    one = ("--size-mb", "0.2", "--rounds", "1", "--scenario", "cold-backfill")
    assert run("run", *one, "--no-memory", "--out", str(kept))[0] == 0
    result = msgspec.json.decode(kept.read_bytes(), type=BenchResult)
    (step,) = result.scenarios[0].steps
    assert step.ratio is not None
    assert len(step.reference) == len(step.rounds) == 1
    step.ratio.cpu /= 2
    record(baselines, result)

    code, out, err = run("gate", "--from", str(kept), "--baseline", str(baselines), "--format", "json")

    verdict = msgspec.json.decode(out, type=GateResult)
    assert code == 1
    assert {(row.figure, row.verdict) for row in verdict.rows if row.step == "cold"} == {
        ("cpu", "regressed"),
        ("wall", "ok"),
    }
    assert verdict.result_paths == [str(kept)]
    assert re.search(r"^FAILED: cold-backfill, cold: processor time is .* times the reference", err, re.MULTILINE)


def test_gate_does_not_record_a_wrong_answer(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = usual_run({"burst": 2.0})
    wrong.passed = False
    monkeypatch.setattr(gate, "measure", lambda *_: wrong)

    code, _, err = run("gate", "--record", "--baseline", str(tmp_path / "baseline.json"))

    assert code == 1
    assert "nothing was recorded" in err
    assert not (tmp_path / "baseline.json").exists()


def test_result_without_ratios_cannot_be_judged(run: Run, tmp_path: Path) -> None:
    kept = Path(__file__).resolve().parents[2] / "docs" / "performance" / "growth.json"
    document = json.loads(kept.read_text("utf-8"))
    for scenario in document["scenarios"]:
        for step in scenario["steps"]:  # as results were before they had a reference
            del step["reference"], step["ratio"]
    before = tmp_path / "growth.json"
    before.write_text(json.dumps(document))

    code, _, err = run("gate", "--from", str(before))

    assert code == 4
    assert "holds no ratios to a reference; measure anew with this version" in err


def test_trend_of_recorded_runs_is_told_and_drawn(run: Run, home: Home, tmp_path: Path) -> None:
    home.bench.mkdir(parents=True)
    (home.bench / "20260101T000000000000Z.json").write_text("{")
    for day, ratio in enumerate((10.0, 10.0, 10.0, 10.0, 13.0), 1):
        keep(home, usual_run({"cold-backfill": ratio, "burst": 2.0}, at=f"2026-02-{day:02}T09:00:00Z"))
    drawn = tmp_path / "trend.svg"

    code, out, err = run("trend", "--svg", str(drawn))

    assert code == 1
    assert re.search(r"^cold-backfill +cold +5 .* 10\.00 +13\.00 +\+30\.0% +slower$", out, flags=re.MULTILINE)
    assert re.search(r"^burst +poll +5 .* \+0\.0% +ok$", out, flags=re.MULTILINE)
    assert "SLOWER: cold-backfill, cold: +30.0% against the runs before; 15% are allowed" in err
    assert "skipped files: 1 malformed" in err
    assert drawn.read_text().startswith("<svg ")

    code, out, err = run("trend", "--scenario", "burst", "--window", "3", "--format", "json")
    found = msgspec.json.decode(out, type=TrendResult)
    assert (code, found.passed, found.rows[0].runs, found.other_runs) == (0, True, 3, 2)
    assert "3 of 5 runs that a judgement needs" in err


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_help_with_its_examples(run: Run, action: str) -> None:
    code, out, _ = run(action, "--help")

    assert code == 0
    assert f"usage: tokenledger bench {action}" in out
    assert f"tokenledger bench {action} " in out.partition("examples:")[2] + " "


@pytest.mark.slow
def test_examples_of_the_help_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    smaller = {"--size-mb": "0.1", "--sizes": "0.1", "--rounds": "1", "--polls": "1"}
    lines = [shlex.split(line.partition("#")[0])[2:] for line in EXAMPLES["bench"].splitlines()[1:]]
    lines = [line for line in lines if line[0] not in ELSEWHERE]
    # a chart is drawn from what the example before it kept
    assert [line[0] for line in lines] == [
        *["run"] * 3, "growth", *["chart"] * 2, "profile", "clients", *["gate"] * 3, *["trend"] * 3,
    ]  # fmt: skip
    for line in lines:
        small = [smaller.get(line[place - 1], word) if place else word for place, word in enumerate(line)]
        quick = {"run": ["--polls", "1", "--no-memory"], "growth": ["--no-memory"]}.get(line[0], [])
        if line[0] == "gate" and "--record" not in line:  # one round of next to nothing is no measurement
            quick = ["--tolerance", "100,100", *([] if "--strict" in line else ["--scenario", "burst"])]
        sized = {"run": "--size-mb", "profile": "--size-mb", "clients": "--size-mb", "gate": "--size-mb"}.get(line[0])
        rounds = ["--rounds", "1"] if line[0] not in ("chart", "trend") else []
        more = [*quick, *rounds, *([sized, "0.1"] if sized else [])]
        # few runs were recorded, or the latest of them is no slower by chance
        assert run(*small, *more)[0] in ((0, 1) if line[0] == "trend" else (0,)), line
