"""Retention: by number and age, never what is needed, never through a link."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from assets.retention import retain as retention_op
from resources import LedgerHome
from tests.governance.conftest import Audit
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.contracts.retention import Kind, RetentionReport
from tokenledger_dagster.exports.pipeline_summary import make_summary, write_summary
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.governance.retention import Rule, retain, rules_of
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.ingest.manifest import writer_lock
from tokenledger_dagster.settings import load_settings

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MANY = Rule(1000, 36_500)
KINDS = get_args(Kind)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "test")


def rules(**given: Rule) -> dict[Kind, Rule]:
    return {kind: given.get(kind, MANY) for kind in KINDS}


def write(path: Path, text: str = "{}", days: float = 0) -> Path:
    """A file that was written some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    then = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (then, then))
    return path


def a_run(home: Home, days: float) -> Path:
    stamp = (NOW - timedelta(days=days)).strftime("%Y%m%d-%H%M%S")
    return write(home.runs / stamp / "pipeline-summary.json").parent


def names(report: RetentionReport, home: Home) -> dict[str, str]:
    """What goes, below the home, and why."""
    return {str(Path(one.path).relative_to(home.root)): one.reason for one in report.removals}


def everything(home: Home) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.root.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------ what goes


def test_what_is_too_old_or_one_too_many_goes(home: Home) -> None:
    for days in (1, 2, 3, 40):
        a_run(home, days)
    write(home.root / "reconcile-20260101-000000" / "reconcile-summary.json")
    write(home.root / "reconcile-20260530-000000-2" / "reconcile-summary.json")
    for number, days in enumerate((1, 2, 31)):
        write(home.root / "answers" / f"{number:032x}.json", days=days)
    for number, days in enumerate((1, 200)):
        write(home.aggregate_cache / f"costs-2026-02-{number:016x}.json", days=days)

    found = retain(
        home,
        rules(runs=Rule(2, 30), reconcile=Rule(9, 90), answers=Rule(9, 30), aggregates=Rule(9, 180)),
        now=NOW,
    )
    assert names(found, home) == {
        "runs/20260529-120000": "more than 2",
        "runs/20260422-120000": "more than 2",
        "reconcile-20260101-000000": "older than 90 days",
        "answers/00000000000000000000000000000002.json": "older than 30 days",
        "cache/aggregates/costs-2026-02-0000000000000001.json": "older than 180 days",
    }
    assert [(one.kind, one.found, one.going) for one in found.kinds] == [
        ("runs", 4, 2),
        ("reconcile", 2, 1),
        ("bench", 0, 0),
        ("answers", 3, 1),
        ("aggregates", 2, 1),
    ]


def test_nothing_is_removed_before_that_is_asked_for(home: Home) -> None:
    for days in (1, 2):
        a_run(home, days)
    before = everything(home)

    told = retain(home, rules(runs=Rule(1, 30)), now=NOW)
    assert (told.applied, [one.is_removed for one in told.removals]) == (False, [False])
    assert everything(home) == before

    done = retain(home, rules(runs=Rule(1, 30)), apply=True, now=NOW)
    assert names(done, home) == names(told, home)
    assert [path.name for path in home.runs.iterdir()] == ["20260531-120000"]
    assert retain(home, rules(runs=Rule(1, 30)), apply=True, now=NOW).removals == []


def test_the_latest_of_each_kind_stays_however_old(home: Home) -> None:
    a_run(home, 5000)
    write(home.root / "answers" / f"{0:032x}.json", days=5000)

    assert retain(home, {kind: Rule(1, 1) for kind in KINDS}, now=NOW).removals == []


def test_of_bench_results_the_latest_of_each_sort_stays(home: Home) -> None:
    for name, kind in (("20260101T000000000000Z", "growth"), ("20260102T000000000000Z", "run")):
        write(home.bench / f"{name}.json", json.dumps({"kind": kind}))
    write(home.bench / "20260103T000000000000Z.json", json.dumps({"kind": "run"}))
    write(home.bench / "20260104T000000000000Z.json", "\0 not even JSON")

    found = retain(home, rules(bench=Rule(1, 1)), now=NOW)
    assert names(found, home) == {"bench/20260102T000000000000Z.json": "more than 1"}


def test_what_is_pointed_at_stays(home: Home) -> None:
    pointed = make_summary(run_id="pointed", started=NOW.timestamp() - 86_400 * 50, now=NOW.timestamp())
    write_summary(home, pointed)
    for days in (1, 2):
        a_run(home, days)
    for stamp in ("20260101-000000", "20260102-000000", "20260103-000000"):
        write(home.root / f"reconcile-{stamp}" / "reconcile-summary.json")
    write_json_atomic(home.reconcile_summary_path, {"workdir": str(home.root / "reconcile-20260101-000000")})

    found = retain(home, rules(runs=Rule(1, 30), reconcile=Rule(1, 1)), now=NOW)
    assert names(found, home) == {
        "runs/20260530-120000": "more than 1",
        "reconcile-20260102-000000": "more than 1",
    }


def test_a_ledger_loses_nothing_that_it_needs(audit: Audit) -> None:
    home = audit.world.ledger
    write(home.root / "golden" / "2026-02.json", days=9999)
    write(home.prices / "0123.json", days=9999)
    write(home.root / "pricing.json.20200101-000000.bak", days=9999)
    before = everything(home)

    retain(home, {kind: Rule(1, 1) for kind in KINDS}, apply=True, now=datetime(2036, 1, 1, tzinfo=UTC))

    # the lock is taken, and nothing else is touched
    assert {**everything(home), str(home.lock_path): b""} == {**before, str(home.lock_path): b""}


# ------------------------------------------------------------------ hostile folders


@pytest.mark.parametrize(
    "name",
    [
        "20260101-000000.bak",
        "20260101-000000-x",
        "20261301-000000",
        "20260101-000000\n",
        " 20260101-000000",
        "..20260101-000000",
        "20260101-000000\u0660",
        "\uff12\uff10\uff12\uff1601\uff101-000000",
        "notes",
        "-rf",
    ],
)
def test_other_names_are_not_even_looked_at(home: Home, name: str) -> None:
    write(home.runs / name / "pipeline-summary.json")
    a_run(home, 1)

    found = retain(home, rules(runs=Rule(1, 1)), apply=True, now=NOW)
    assert (found.removals, found.left, found.problems) == ([], [], [])
    assert (home.runs / name / "pipeline-summary.json").exists()


def test_a_link_in_the_place_of_an_entry_is_left(home: Home, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "precious.txt", "mine").parent
    a_run(home, 1)
    (home.runs / "20260101-000000").symlink_to(outside)
    (home.root / "answers").mkdir()
    (home.root / "answers" / f"{0:032x}.json").symlink_to(outside / "precious.txt")
    write(home.root / "answers" / f"{1:032x}.json")

    found = retain(home, {kind: Rule(1, 1) for kind in KINDS}, apply=True, now=NOW)
    assert found.removals == []
    assert sorted(Path(one.path).name for one in found.left) == [f"{0:032x}.json", "20260101-000000"]
    assert (outside / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["runs", "cache", "cache/aggregates"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(home: Home, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    for number in range(3):
        write(outside / f"costs-2026-02-{number:016x}.json", days=900)
        write(outside / "aggregates" / f"costs-2026-02-{number:016x}.json", days=900)
        write(outside / f"2026010{number + 1}-000000" / "pipeline-summary.json")
    (home.root / place).parent.mkdir(exist_ok=True)
    (home.root / place).symlink_to(outside)
    before = sorted(outside.rglob("*"))

    found = retain(home, {kind: Rule(1, 1) for kind in KINDS}, apply=True, now=NOW)
    assert (found.removals, found.problems) == ([], [])
    assert [one.reason for one in found.left] == ["is a link or lies behind one; nothing is followed"]
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("intruder", ["folder", "link", "pipe"])
def test_a_run_that_holds_what_no_run_writes_is_left(home: Home, tmp_path: Path, intruder: str) -> None:
    a_run(home, 1)
    old = a_run(home, 90)
    outside = write(tmp_path / "precious.txt", "mine")
    if intruder == "folder":
        write(old / "notes" / "mine.txt")
    elif intruder == "link":
        (old / "mine").symlink_to(outside)
    else:
        os.mkfifo(old / "mine")

    found = retain(home, rules(runs=Rule(1, 1)), apply=True, now=NOW)
    assert [(one.path, one.reason) for one in found.left] == [(str(old), "holds, or is, what no run writes")]
    assert (old / "pipeline-summary.json").exists()
    assert outside.read_text() == "mine"


def test_what_cannot_be_removed_is_told_and_the_rest_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for days in (1, 2, 3):
        a_run(home, days)
    honest = os.rmdir

    def refuses(name: str, *, dir_fd: int | None = None) -> None:
        if name == "20260530-120000":
            raise PermissionError(13, "Permission denied")
        honest(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refuses)
    found = retain(home, rules(runs=Rule(1, 30)), apply=True, now=NOW)
    stays = home.runs / "20260530-120000"
    assert found.problems == [f"{stays}: Permission denied; check its permissions, or remove it yourself"]
    assert [one.is_removed for one in found.removals] == [False, True]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_cannot_be_read_is_told(home: Home) -> None:
    a_run(home, 90)
    home.runs.chmod(0)
    try:
        found = retain(home, rules(runs=Rule(1, 1)), apply=True, now=NOW)
    finally:
        home.runs.chmod(0o700)
    assert [one.partition(":")[0] for one in found.problems] == [str(home.runs)]


def test_a_file_in_the_place_of_a_folder_is_told(home: Home) -> None:
    home.runs.write_text("mine")

    found = retain(home, rules(runs=Rule(1, 1)), apply=True, now=NOW)
    assert found.problems == [f"{home.runs}: Not a directory; check its permissions, or remove it yourself"]


# ------------------------------------------------------------------ the command


def test_the_command_lists_first_and_removes_when_asked(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENLEDGER_HOME", str(home.root))
    monkeypatch.setenv("TOKENLEDGER_RETENTION_RUNS_COUNT", "1")
    for days in (1, 2):
        a_run(home, days)

    assert main(["retention"]) == 0
    out = capfd.readouterr().out
    assert "20260530-120000  more than 1" in out
    assert "nothing was removed" in out
    assert main(["retention", "--apply", "--format", "json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["schema_version"], told["applied"], told["removals"][0]["is_removed"]) == (1, True, True)
    assert len(list(home.runs.iterdir())) == 1


def test_while_another_process_writes_nothing_is_removed(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENLEDGER_HOME", str(home.root))
    monkeypatch.setattr("tokenledger_dagster.governance.retention._WAIT_SECONDS", 0)
    with writer_lock(home) as held:
        assert held
        assert main(["retention", "--apply"]) == 4
        assert main(["retention"]) == 0
    assert "another process is writing this ledger; try again" in capfd.readouterr().err


def test_rules_are_the_settings() -> None:
    found = rules_of(load_settings({"TOKENLEDGER_RETENTION_BENCH_DAYS": "7"}))
    assert found["bench"] == Rule(200, 7)
    assert set(found) == set(KINDS)


def test_the_op_removes_only_where_it_is_asked_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    monkeypatch.setenv("TOKENLEDGER_RETENTION_RUNS_COUNT", "1")
    for days in (1, 2):
        a_run(home, days)

    @dg.job(resource_defs={"home": LedgerHome(root=str(home.root))})
    def tidy() -> None:
        retention_op()

    silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert tidy.execute_in_process(run_config=silent).success
    assert len(list(home.runs.iterdir())) == 2
    asked = {"ops": {"retain": {"config": {"apply": True}}}}
    assert tidy.execute_in_process(run_config={**silent, **asked}).success
    assert len(list(home.runs.iterdir())) == 1
    shutil.rmtree(home.root)
